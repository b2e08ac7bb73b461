/// Messages in a stream of bytes, of which nothing is believed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <tandem/detail/message.hpp>

namespace tandem::detail {

/// In front of everything that passes through a socket. In the machine's byte order, as values are.
struct FrameHeader {
  static constexpr std::uint32_t kMagic = 0x4d444e54;  // "TNDM" where the lowest byte comes first.

  std::uint32_t magic = kMagic;
  std::uint32_t form = 0;  // A FrameForm.
  std::uint64_t size_bytes = 0;
};
static_assert(sizeof(FrameHeader) == 16, "as it is sent");

enum FrameForm : std::uint32_t {
  kBytesFrame = 0,
  kValueFrame = 1,
  // Of the handshake; see handshake.hpp.
  kHelloFrame = 16,
  kHelloWithKeyFrame,
  kChallengeFrame,
  kProofFrame,
  kWelcomeFrame,
  kRejectFrame,
};

/// Puts messages together from the bytes as they come. Takes memory for what has come, not for what is announced.
///
///   const auto room = reader.room();
///   if (reader.received(read(fd, room))) deliver(reader.take());
class FrameReader {
 public:
  explicit FrameReader(std::size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  /// Where the next bytes belong, never empty and never more than this message still needs.
  std::span<std::byte> room();
  /// Notes that so many have come; whether the message is complete. Throws WireError for what is no message or too
  /// long, AuthenticationError if the other side says that it turns this one away.
  bool received(std::size_t bytes);
  /// The message. The next one begins.
  Message take();
  /// Whether it is in the midst of a message.
  bool begun() const noexcept { return have_bytes_ != 0; }

 private:
  void check_header() const;

  const std::size_t limit_bytes_;
  FrameHeader header_;
  std::size_t have_bytes_ = 0;  // Of this message, with its header.
  std::shared_ptr<std::byte[]> payload_;
  std::size_t capacity_bytes_ = 0;
};

}  // namespace tandem::detail
