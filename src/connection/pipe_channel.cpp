#include "connection/pipe_channel.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "connection/pipe_layout.hpp"
#include "core/kill_point.hpp"
#include "process/descriptors.hpp"

namespace tandem::detail {
namespace {

/// In front of each message in the socket.
struct PacketHeader {
  std::uint32_t form;         // PacketForm flags.
  std::uint32_t descriptors;  // How many were sent with it.
  std::uint64_t number;       // Of a parcel: its place in the order of the parcels of this direction, and
  ObjectId parcel;            // its name.
};
static_assert(sizeof(PacketHeader) == 32, "keeps what follows aligned to 16");

enum PacketForm : std::uint32_t { kValue = 1, kParcel = 2 };

/// Larger messages are not copied through the kernel, whose buffers hold some 200 KiB.
constexpr std::size_t kInlineBytes = 32 << 10;

int send_packet(int fd, const PacketHeader& header, std::span<const std::byte> bytes,
                std::span<const int> descriptors) {
  const iovec parts[] = {{const_cast<PacketHeader*>(&header), sizeof header},
                         {const_cast<std::byte*>(bytes.data()), bytes.size()}};
  return send_parts(fd, parts, descriptors, MSG_DONTWAIT);
}

bool means_full(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

bool means_peer_is_gone(int error) {
  return error == EPIPE || error == ECONNRESET || error == ENOTCONN || error == ECONNREFUSED;
}

/// A packet as it came out of the socket.
struct Packet {
  struct Buffer {
    alignas(16) std::byte bytes[kInlineBytes];
  };
  PacketHeader header{};
  std::shared_ptr<Buffer> buffer;
  std::size_t size_bytes = 0;  // Behind the header.
  std::vector<Fd> descriptors;
};

enum class Found { Packet, Nothing, End };

// Everything about a packet that others could have done wrong: whoever has the descriptor can write to it.
void check_packet(const Packet& packet, const Received& received) {
  if (received.lost_descriptors)
    throw_system_error(EMFILE, "descriptors that came with a message are lost: this process has too many open");
  if (received.size_bytes < static_cast<ssize_t>(sizeof(PacketHeader)) || received.cut_short ||
      (packet.header.form & ~(kValue | kParcel)) != 0)
    throw WireError("bytes in a pipe that no connection has sent");
  if (packet.header.descriptors != packet.descriptors.size())
    throw WireError("a message came with " + std::to_string(packet.descriptors.size()) + " of the " +
                    std::to_string(packet.header.descriptors) + " descriptors that it was sent with");
}

Found receive_packet(int fd, Packet& packet) {
  const iovec parts[] = {{&packet.header, sizeof packet.header}, {packet.buffer->bytes, sizeof packet.buffer->bytes}};
  Received received = receive_parts(fd, parts, packet.descriptors, MSG_DONTWAIT);
  // The other end was closed with something unread. That is told once, in front of what is still to be read here.
  if (received.error == ECONNRESET) received = receive_parts(fd, parts, packet.descriptors, MSG_DONTWAIT);
  if (received.error != 0) {
    if (means_full(received.error)) return Found::Nothing;
    if (means_peer_is_gone(received.error)) return Found::End;
    throw_system_error(received.error, "cannot receive from a pipe");
  }
  if (received.size_bytes == 0) return Found::End;
  check_packet(packet, received);
  packet.size_bytes = static_cast<std::size_t>(received.size_bytes) - sizeof packet.header;
  return Found::Packet;
}

std::vector<int> release_all(std::vector<Fd>& descriptors) {
  std::vector<int> numbers;
  numbers.reserve(descriptors.size());
  for (Fd& fd : descriptors) numbers.push_back(fd.release());
  return numbers;
}

Message message_of(Packet& packet, SharedObjectPtr parcel) {
  const Message::Form form{(packet.header.form & kValue) != 0, Decoder::Writer::Family};
  if (parcel == nullptr) {
    const std::span<const std::byte> bytes(packet.buffer->bytes, packet.size_bytes);
    return Message(form, bytes, std::move(packet.buffer), release_all(packet.descriptors));
  }
  const auto [bytes, size] = parcel_bytes(*parcel);
  return Message(form, {bytes, size}, std::move(parcel), release_all(packet.descriptors));
}

}  // namespace

SharedObjectPtr PipeChannel::make_pipe_object() {
  return make_pipe_state();
}

void PipeChannel::save(Encoder& encoder) const {
  const PinnedFd fd = pin();
  encoder(ChannelKind::Pipe, direction().readable, direction().writable, end_);
  encoder.refer(pipe_);
  encoder.describe_descriptor(fd->get());
}

std::shared_ptr<Channel> PipeChannel::load(Decoder& decoder) {
  Direction direction;
  unsigned end = 0;
  decoder(direction.readable, direction.writable, end);
  if (end > 1) throw WireError("bytes that are no end of a pipe");
  SharedObjectPtr pipe = decoder.refer(ObjectKind::Pipe);
  return std::make_shared<PipeChannel>(Fd(decoder.take_descriptor()), direction, std::move(pipe), end);
}

bool PipeChannel::send(const Outgoing& message, const Deadline& deadline) {
  if (message.descriptors.size() > kMaxDescriptors)
    throw std::invalid_argument("a message with " + std::to_string(message.descriptors.size()) +
                                " descriptors: at most " + std::to_string(kMaxDescriptors) + " can travel together");
  for (const SharedObjectPtr& object : message.objects)
    if (object == pipe_)
      throw WireError("an end of a pipe cannot be sent through that pipe: unread, it would keep itself alive");
  const bool is_small = message.bytes.size() <= kInlineBytes && message.objects.empty();
  return is_small ? send_inline(message, deadline) : send_parcel(message, deadline);
}

bool PipeChannel::send_inline(const Outgoing& message, const Deadline& deadline) {
  PacketHeader header{};
  header.form = message.is_value ? kValue : 0U;
  header.descriptors = static_cast<std::uint32_t>(message.descriptors.size());
  for (;;) {
    const PinnedFd fd = pin();
    TANDEM_KILL_POINT("connection.send.sending");
    const int error = send_packet(fd->get(), header, message.bytes, message.descriptors);
    TANDEM_KILL_POINT("connection.send.sent");
    if (error == 0) return true;
    if (error == EMSGSIZE || error == ENOBUFS) return send_parcel(message, deadline);  // Small buffers on this system.
    if (!means_full(error)) fail_to_send(error);
    if (!wait_until_ready(fd->get(), POLLOUT, deadline) && deadline.passed()) return false;
  }
}

bool PipeChannel::send_parcel(const Outgoing& message, const Deadline& deadline) {
  // Not even begun when it cannot end well: copying may be the larger part of the work.
  if (deadline.passed() && !wait_until_ready(pin()->get(), POLLOUT, deadline)) return false;
  const SharedObjectPtr parcel =
      make_parcel(message.bytes.data(), message.bytes.size(), {message.objects.begin(), message.objects.end()});
  TANDEM_KILL_POINT("connection.send.parcel");
  PipeDirection& direction = pipe_state(pipe_).directions[end_];
  PacketHeader header{};
  header.form = kParcel | (message.is_value ? kValue : 0U);
  header.descriptors = static_cast<std::uint32_t>(message.descriptors.size());
  header.parcel = parcel->id();
  for (;;) {
    const PinnedFd fd = pin();
    int error = 0;
    {
      const SendingTurn turn(direction);
      header.number = turn.append(parcel->id());
      TANDEM_KILL_POINT("connection.send.sending");
      error = send_packet(fd->get(), header, {}, message.descriptors);
      TANDEM_KILL_POINT("connection.send.sent");
      if (error != 0) turn.take_back(header.number);
    }
    if (error == 0) return true;
    if (!means_full(error)) fail_to_send(error);
    if (!wait_until_ready(fd->get(), POLLOUT, deadline) && deadline.passed()) return false;
  }
}

void PipeChannel::fail_to_send(int error) {
  if (!means_peer_is_gone(error)) throw_system_error(error, "cannot send through a pipe");
  // Nobody will receive what is on its way.
  drop_all(pipe_state(pipe_).directions[end_]);
  throw BrokenPipe("send() through a pipe whose other end is closed everywhere");
}

std::optional<Message> PipeChannel::receive(const Deadline& deadline) {
  PipeDirection& direction = pipe_state(pipe_).directions[1 - end_];
  Packet packet;
  packet.buffer = std::make_shared_for_overwrite<Packet::Buffer>();
  for (;;) {
    const PinnedFd fd = pin();
    SharedObjectPtr parcel;
    Found found = Found::Nothing;
    {
      // Under the lock, for the order: see ReceivingTurn.
      const ReceivingTurn turn(direction);
      found = receive_packet(fd->get(), packet);
      TANDEM_KILL_POINT("connection.recv.received");
      if (found == Found::Packet && (packet.header.form & kParcel) != 0)
        parcel = turn.take(packet.header.number, packet.header.parcel);
    }
    TANDEM_KILL_POINT("connection.recv.taken");
    if (found == Found::Packet) {
      bury_zombies();
      return message_of(packet, std::move(parcel));
    }
    if (found == Found::End) throw EndOfStream("recv() from a pipe that is drained and whose other end is closed");
    if (!wait_until_ready(fd->get(), POLLIN, deadline) && deadline.passed()) return std::nullopt;
    sweep_family_if_due();
  }
}

}  // namespace tandem::detail
