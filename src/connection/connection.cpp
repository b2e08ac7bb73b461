#include <tandem/connection.hpp>

#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "connection/pipe_channel.hpp"
#include "connection/socket_channel.hpp"
#include "process/descriptors.hpp"

namespace tandem {
namespace detail {

Message::~Message() {
  for (const int fd : descriptors_)
    if (fd >= 0) ::close(fd);
}

void Message::check_is_value() const {
  if (!form_.is_value) throw WireError("recv() of a message that was sent by send_bytes(): use recv_bytes()");
}

void Message::check_is_bytes() const {
  if (form_.is_value) throw WireError("recv_bytes() of a message that was sent by send(): use recv()");
}

void Message::forget_taken(const Decoder& decoder) noexcept {
  for (std::size_t i = 0; i < descriptors_.size(); ++i)
    if (decoder.has_taken(i)) descriptors_[i] = -1;
}

}  // namespace detail

static_assert(Portable<Connection>);

detail::Channel& Connection::channel() const {
  if (!channel_) throw StateError("use of a Connection that is none");
  return *channel_;
}

detail::Encoder::Purpose Connection::begin_send() const {
  detail::Channel& used = channel();
  if (!used.direction().writable) throw StateError("send() on the receiving end of a one-way pipe");
  return used.purpose();
}

bool Connection::send_message(const detail::Outgoing& message, const detail::Deadline& deadline) {
  static_cast<void>(begin_send());
  return channel().send(message, deadline);
}

std::optional<detail::Message> Connection::receive(const detail::Deadline& deadline) {
  detail::Channel& used = channel();
  if (!used.direction().readable) throw StateError("recv() on the sending end of a one-way pipe");
  return used.receive(deadline);
}

std::optional<std::vector<std::byte>> Connection::take_bytes(const detail::Deadline& deadline) {
  std::optional<std::vector<std::byte>> bytes;
  if (const std::optional<detail::Message> message = receive(deadline)) {
    message->check_is_bytes();
    bytes.emplace(message->bytes().begin(), message->bytes().end());
  }
  return bytes;
}

std::size_t Connection::recv_bytes_into(std::span<std::byte> buffer, std::size_t offset) {
  if (offset > buffer.size())
    throw std::invalid_argument("recv_bytes_into() at offset " + std::to_string(offset) + " of a buffer of " +
                                std::to_string(buffer.size()) + " bytes");
  const std::optional<detail::Message> message = receive(detail::Deadline::never());
  message->check_is_bytes();
  const std::span<const std::byte> bytes = message->bytes();
  if (bytes.size() > buffer.size() - offset)
    throw BufferTooShort("a message of " + std::to_string(bytes.size()) + " bytes for a buffer with room for " +
                             std::to_string(buffer.size() - offset),
                         {bytes.begin(), bytes.end()});
  std::copy(bytes.begin(), bytes.end(), buffer.begin() + static_cast<std::ptrdiff_t>(offset));
  return bytes.size();
}

bool Connection::poll_until(const detail::Deadline& deadline) const {
  const detail::Channel& used = channel();
  if (!used.direction().readable) throw StateError("poll() on the sending end of a one-way pipe");
  return used.poll(deadline);
}

bool Connection::readable() const noexcept {
  return channel_ && channel_->direction().readable;
}

bool Connection::writable() const noexcept {
  return channel_ && channel_->direction().writable;
}

int Connection::fileno() const {
  return channel().pin()->get();
}

void Connection::close() noexcept {
  if (channel_) channel_->close();
}

bool Connection::closed() const noexcept {
  return !channel_ || channel_->closed();
}

void Connection::save(detail::Encoder& encoder) const {
  if (!channel_) {
    encoder(detail::ChannelKind::None);
  } else {
    channel_->save(encoder);
  }
}

void Connection::load(detail::Decoder& decoder) {
  detail::ChannelKind kind{};
  decoder(kind);
  switch (kind) {
    case detail::ChannelKind::None:
      channel_.reset();
      return;
    case detail::ChannelKind::Pipe:
      channel_ = detail::PipeChannel::load(decoder);
      return;
    case detail::ChannelKind::Socket:
      channel_ = detail::SocketChannel::load(decoder);
      return;
  }
  throw WireError("bytes that are no Connection");
}

std::pair<Connection, Connection> Pipe(Duplex duplex) {
  using detail::Channel;
  detail::SharedObjectPtr object = detail::PipeChannel::make_pipe_object();
  detail::SocketPair sockets = detail::make_socket_pair("a pipe between processes");
  const bool both = duplex == Duplex::Yes;
  const auto end = [&](detail::Fd& fd, Channel::Direction direction, unsigned number) {
    return detail::ChannelAccess::make(std::make_shared<detail::PipeChannel>(std::move(fd), direction, object, number));
  };
  return {end(sockets.mine, {true, both}, 0), end(sockets.theirs, {both, true}, 1)};
}

}  // namespace tandem
