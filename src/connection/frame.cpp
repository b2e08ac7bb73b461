#include "connection/frame.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include <tandem/error.hpp>

namespace tandem::detail {
namespace {

// What is taken at first for a message that is announced to be longer; most are shorter.
constexpr std::size_t kFirstBytes = 64 << 10;

}  // namespace

std::span<std::byte> FrameReader::room() {
  if (have_bytes_ < sizeof header_) return std::as_writable_bytes(std::span(&header_, 1)).subspan(have_bytes_);
  const std::size_t have = have_bytes_ - sizeof header_;
  if (have == capacity_bytes_) {
    const std::size_t capacity = std::min<std::size_t>(header_.size_bytes, std::max(kFirstBytes, 2 * capacity_bytes_));
    auto grown = std::make_shared_for_overwrite<std::byte[]>(capacity);
    if (have != 0) std::memcpy(grown.get(), payload_.get(), have);
    payload_ = std::move(grown);
    capacity_bytes_ = capacity;
  }
  return {payload_.get() + have, capacity_bytes_ - have};
}

bool FrameReader::received(std::size_t bytes) {
  const bool had_header = have_bytes_ >= sizeof header_;
  have_bytes_ += bytes;
  if (have_bytes_ < sizeof header_) return false;
  if (!had_header) check_header();
  return have_bytes_ - sizeof header_ == header_.size_bytes;
}

void FrameReader::check_header() const {
  if (header_.magic != FrameHeader::kMagic) throw WireError("bytes from a socket that are no message of Tandem");
  if (header_.form == kRejectFrame)
    throw AuthenticationError("the listener turned this connection away: it wants a key, or another user");
  if (header_.form > kValueFrame) throw WireError("a message of an unknown form from a socket");
  if (header_.size_bytes > limit_bytes_)
    throw WireError("a message of " + std::to_string(header_.size_bytes) + " bytes from a socket, which may be " +
                    std::to_string(limit_bytes_) + " long (message_limit_bytes)");
}

Message FrameReader::take() {
  const Message::Form form{header_.form == kValueFrame, Decoder::Writer::Stranger};
  const std::span<const std::byte> bytes(payload_.get(), have_bytes_ - sizeof header_);
  have_bytes_ = 0;
  capacity_bytes_ = 0;
  return Message(form, bytes, std::move(payload_));
}

}  // namespace tandem::detail
