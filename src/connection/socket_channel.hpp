/// An end of a connection over a socket, to a process that need not be of the family.
#pragma once

#include <mutex>

#include "connection/channel.hpp"
#include "connection/frame.hpp"

namespace tandem::detail {

/// Passes messages through a stream of bytes: see frame.hpp. What comes is that of a stranger.
class SocketChannel final : public Channel {
 public:
  SocketChannel(Fd fd, std::size_t limit_bytes)
      : Channel(std::move(fd), Direction()), limit_bytes_(limit_bytes), reader_(limit_bytes) {}

  Encoder::Purpose purpose() const noexcept override { return Encoder::Purpose::Stranger; }
  bool send(const Outgoing& message, const Deadline& deadline) override;
  std::optional<Message> receive(const Deadline& deadline) override;
  void save(Encoder& encoder) const override;
  /// Reads what save() wrote behind the kind.
  static std::shared_ptr<Channel> load(Decoder& decoder);

 private:
  class Turn;
  /// Ends the connection for both sides: what was begun cannot be completed or made sense of.
  void break_off(const char* why);

  const std::size_t limit_bytes_;
  std::timed_mutex sending_;  // Held while a message is sent, so that others wait for their turn.
  mutable std::timed_mutex receiving_;
  FrameReader reader_;                        // Guarded by receiving_.
  std::atomic<const char*> broken_{nullptr};  // Why; null if it is not.
};

}  // namespace tandem::detail
