/// How the two sides of a socket find out whether both have the key.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "connection/frame.hpp"

namespace tandem::detail {

/// One side's part, without the sending and receiving. It takes no memory but itself.
///
///   client                                     listener
///     hello, with or without a key; number c  ->
///                                             <-  challenge: number l          (with a key only, from here on)
///     proof: HMAC(key, "client", c, l)        ->
///                                             <-  welcome: HMAC(key, "listener", c, l)
///
/// Each side's proof covers a random number of the other, so it cannot be replayed, and names its role, so it cannot be
/// reflected. The listener proves nothing before the client has. What comes too early, too late, or is of another form
/// is a failure, and the listener answers each failure with the same rejection.
class Handshake {
 public:
  enum class Role { Client, Listener };
  static constexpr std::size_t kNumberBytes = 32;
  using Number = std::array<std::byte, kNumberBytes>;

  /// Throws std::system_error if the system gives no random numbers.
  Handshake(Role role, const std::optional<std::string>& key);

  /// What must be sent now; empty if nothing.
  std::span<const std::byte> to_send() const { return {output_.data() + sent_bytes_, output_bytes_ - sent_bytes_}; }
  void sent(std::size_t bytes) { sent_bytes_ += bytes; }
  /// Where the next bytes of the other side belong; empty if none is expected.
  std::span<std::byte> room();
  void received(std::size_t bytes);

  /// Both sides are known to each other, or need not be. to_send() may still have something.
  bool done() const noexcept { return step_ == Step::Done; }
  /// Why it has failed; empty if it has not. to_send() may still have the rejection.
  const std::string& failure() const noexcept { return failure_; }

  /// The proof of one side.
  static Number prove(Role role, const std::string& key, const Number& of_client, const Number& of_listener);

 private:
  enum class Step { Hello, Challenge, Proof, Welcome, Done, Failed };
  static constexpr std::size_t kFrameBytes = sizeof(FrameHeader) + kNumberBytes;

  void put(FrameForm form, const Number* number);
  void take_frame();
  void fail(const char* why);
  bool proves(Role role) const;

  const Role role_;
  const std::optional<std::string> key_;
  Number of_client_{};
  Number of_listener_{};
  Step step_ = Step::Hello;
  std::string failure_;
  std::array<std::byte, kFrameBytes> input_{};
  std::size_t input_bytes_ = 0;
  std::array<std::byte, kFrameBytes> output_{};
  std::size_t output_bytes_ = 0;
  std::size_t sent_bytes_ = 0;
};

}  // namespace tandem::detail
