/// An end of a pipe between processes of the family.
#pragma once

#include "connection/channel.hpp"

namespace tandem::detail {

/// Passes messages through a socket that keeps them whole. Small ones are in the packet; large ones and those with
/// handles are parcels of the arena, and the packet names them. docs/internals/connection.md says why a kill does no
/// harm.
class PipeChannel final : public Channel {
 public:
  /// `end`: 0 or 1, which of the two.
  PipeChannel(Fd fd, Direction direction, SharedObjectPtr pipe, unsigned end)
      : Channel(std::move(fd), direction), pipe_(std::move(pipe)), end_(end) {}

  Encoder::Purpose purpose() const noexcept override { return Encoder::Purpose::Message; }
  bool send(const Outgoing& message, const Deadline& deadline) override;
  std::optional<Message> receive(const Deadline& deadline) override;
  void save(Encoder& encoder) const override;

  /// Reads what save() wrote behind the kind. Throws WireError.
  static std::shared_ptr<Channel> load(Decoder& decoder);
  /// The shared part of a new pipe.
  static SharedObjectPtr make_pipe_object();

 private:
  bool send_inline(const Outgoing& message, const Deadline& deadline);
  bool send_parcel(const Outgoing& message, const Deadline& deadline);
  [[noreturn]] void fail_to_send(int error);

  const SharedObjectPtr pipe_;
  const unsigned end_;
};

}  // namespace tandem::detail
