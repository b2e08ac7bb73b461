#include "connection/handshake.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cstring>
#include <string_view>
#include <system_error>
#include <vector>

namespace tandem::detail {
namespace {

void fill_randomly(Handshake::Number& number) {
  if (::RAND_bytes(reinterpret_cast<unsigned char*>(number.data()), static_cast<int>(number.size())) != 1)
    throw std::system_error(std::make_error_code(std::errc::io_error), "cannot get random numbers for a handshake");
}

}  // namespace

Handshake::Number Handshake::prove(Role role, const std::string& key, const Number& of_client,
                                   const Number& of_listener) {
  std::string text = role == Role::Client ? "tandem 1 client" : "tandem 1 listener";
  for (const Number* number : {&of_client, &of_listener})
    text.append(reinterpret_cast<const char*>(number->data()), number->size());
  Number proof;
  unsigned size = 0;
  if (::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(),
             reinterpret_cast<unsigned char*>(proof.data()), &size) == nullptr ||
      size != proof.size())
    throw std::system_error(std::make_error_code(std::errc::io_error), "cannot compute the proof of a handshake");
  return proof;
}

Handshake::Handshake(Role role, const std::optional<std::string>& key) : role_(role), key_(key) {
  if (role_ == Role::Listener) {
    fill_randomly(of_listener_);
    return;
  }
  fill_randomly(of_client_);
  put(key_ ? kHelloWithKeyFrame : kHelloFrame, &of_client_);
  step_ = key_ ? Step::Challenge : Step::Done;
}

void Handshake::put(FrameForm form, const Number* number) {
  FrameHeader header;
  header.form = form;
  header.size_bytes = number != nullptr ? number->size() : 0;
  std::memcpy(output_.data(), &header, sizeof header);
  if (number != nullptr) std::memcpy(output_.data() + sizeof header, number->data(), number->size());
  output_bytes_ = sizeof header + static_cast<std::size_t>(header.size_bytes);
  sent_bytes_ = 0;
}

std::span<std::byte> Handshake::room() {
  if (step_ == Step::Done || step_ == Step::Failed) return {};
  // First the header alone, for a rejection has nothing behind it.
  const std::size_t wanted = input_bytes_ < sizeof(FrameHeader) ? sizeof(FrameHeader) : kFrameBytes;
  return {input_.data() + input_bytes_, wanted - input_bytes_};
}

void Handshake::received(std::size_t bytes) {
  input_bytes_ += bytes;
  if (input_bytes_ < sizeof(FrameHeader)) return;
  FrameHeader header;
  std::memcpy(&header, input_.data(), sizeof header);
  if (header.magic != FrameHeader::kMagic) return fail("the other side does not speak as Tandem does");
  if (role_ == Role::Client && header.form == kRejectFrame)
    return fail("the listener turned this connection away: it has another key, or none");
  const FrameForm expected = step_ == Step::Hello       ? (key_ ? kHelloWithKeyFrame : kHelloFrame)
                             : step_ == Step::Challenge ? kChallengeFrame
                             : step_ == Step::Proof     ? kProofFrame
                                                        : kWelcomeFrame;
  if (header.form != expected || header.size_bytes != kNumberBytes)
    return fail(step_ == Step::Hello ? "the client has a key and the listener has none, or the other way round"
                                     : "the other side sent what does not belong here");
  if (input_bytes_ == kFrameBytes) take_frame();
}

void Handshake::take_frame() {
  input_bytes_ = 0;
  const std::byte* const number = input_.data() + sizeof(FrameHeader);
  switch (step_) {
    case Step::Hello:
      std::memcpy(of_client_.data(), number, kNumberBytes);
      if (key_) put(kChallengeFrame, &of_listener_);
      step_ = key_ ? Step::Proof : Step::Done;
      return;
    case Step::Challenge: {
      std::memcpy(of_listener_.data(), number, kNumberBytes);
      const Number proof = prove(Role::Client, *key_, of_client_, of_listener_);
      put(kProofFrame, &proof);
      step_ = Step::Welcome;
      return;
    }
    case Step::Proof: {
      if (!proves(Role::Client)) return fail("the client does not have the key");
      const Number proof = prove(Role::Listener, *key_, of_client_, of_listener_);
      put(kWelcomeFrame, &proof);
      step_ = Step::Done;
      return;
    }
    case Step::Welcome:
      if (!proves(Role::Listener)) return fail("the listener does not have the key");
      step_ = Step::Done;
      return;
    case Step::Done:
    case Step::Failed:
      return;
  }
}

bool Handshake::proves(Role role) const {
  const Number expected = prove(role, *key_, of_client_, of_listener_);
  // In a time that does not tell how much of it is right.
  return ::CRYPTO_memcmp(expected.data(), input_.data() + sizeof(FrameHeader), kNumberBytes) == 0;
}

void Handshake::fail(const char* why) {
  failure_ = why;
  step_ = Step::Failed;
  output_bytes_ = sent_bytes_ = 0;
  if (role_ == Role::Listener) put(kRejectFrame, nullptr);
}

}  // namespace tandem::detail
