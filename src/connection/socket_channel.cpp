#include "connection/socket_channel.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <string>

#include "core/blocking.hpp"
#include "ipc/futex.hpp"

namespace tandem::detail {
namespace {

bool means_not_now(ssize_t result) {
  return result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

bool means_peer_is_gone(int error) {
  return error == EPIPE || error == ECONNRESET || error == ENOTCONN || error == ETIMEDOUT;
}

ssize_t send_some(int fd, std::span<const iovec> parts) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  return retry_on_signal([&] { return ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL); });
}

}  // namespace

/// A thread's turn at one of the two mutexes, which another may hold for as long as it waits. Owner, for one scope.
class SocketChannel::Turn {
 public:
  Turn(const Channel& channel, std::timed_mutex& mutex, const Deadline& deadline) : lock_(mutex, std::try_to_lock) {
    while (!lock_ && !deadline.passed()) {
      {
        const BlockingSection blocking;
        static_cast<void>(lock_.try_lock_for(deadline.left(kLongestSleep)));
      }
      static_cast<void>(channel.pin());  // Closed meanwhile?
    }
  }
  explicit operator bool() const { return lock_.owns_lock(); }

 private:
  std::unique_lock<std::timed_mutex> lock_;
};

bool SocketChannel::send(const Outgoing& message, const Deadline& deadline) {
  const Turn turn(*this, sending_, deadline);
  if (!turn) return false;
  FrameHeader header;
  header.form = message.is_value ? kValueFrame : kBytesFrame;
  header.size_bytes = message.bytes.size();
  const std::span<const std::byte> head = std::as_bytes(std::span(&header, 1));
  std::size_t done = 0;
  while (done < head.size() + message.bytes.size()) {
    if (const char* const why = broken_.load(std::memory_order_relaxed)) throw BrokenPipe(why);
    const PinnedFd fd = pin();
    const std::span<const std::byte> first = head.subspan(std::min(done, head.size()));
    const std::span<const std::byte> rest = message.bytes.subspan(done - std::min(done, head.size()));
    const iovec parts[] = {{const_cast<std::byte*>(first.data()), first.size()},
                           {const_cast<std::byte*>(rest.data()), rest.size()}};
    const ssize_t sent = send_some(fd->get(), parts);
    if (sent >= 0) {
      done += static_cast<std::size_t>(sent);
    } else if (!means_not_now(sent)) {
      const int error = errno;
      if (!means_peer_is_gone(error)) throw_system_error(error, "cannot send through a socket");
      throw BrokenPipe("send() through a socket whose other side is closed");
    } else if (!wait_until_ready(fd->get(), POLLOUT, deadline) && deadline.passed()) {
      if (done == 0) return false;
      break_off("this connection ended when the time for sending a message was over in its midst");
    }
  }
  return true;
}

std::optional<Message> SocketChannel::receive(const Deadline& deadline) {
  const Turn turn(*this, receiving_, deadline);
  if (!turn) return std::nullopt;
  for (;;) {
    if (const char* const why = broken_.load(std::memory_order_relaxed)) throw EndOfStream(why);
    const PinnedFd fd = pin();
    const std::span<std::byte> room = reader_.room();
    const ssize_t came = retry_on_signal([&] { return ::recv(fd->get(), room.data(), room.size(), MSG_DONTWAIT); });
    if (means_not_now(came)) {
      if (!wait_until_ready(fd->get(), POLLIN, deadline) && deadline.passed()) return std::nullopt;
      continue;
    }
    if (came < 0 && !means_peer_is_gone(errno)) throw_errno("cannot receive from a socket");
    if (came <= 0)
      throw EndOfStream(reader_.begun() ? "the other side of a socket was closed in the midst of a message"
                                        : "recv() from a socket that is drained and whose other side is closed");
    try {
      if (reader_.received(static_cast<std::size_t>(came))) return reader_.take();
    } catch (...) {
      // Where the next message begins is not known.
      static_cast<void>(::shutdown(fd->get(), SHUT_RDWR));
      broken_.store("this connection ended with a message that is none", std::memory_order_relaxed);
      throw;
    }
  }
}

void SocketChannel::break_off(const char* why) {
  static_cast<void>(::shutdown(pin()->get(), SHUT_RDWR));
  broken_.store(why, std::memory_order_relaxed);
  throw BrokenPipe(why);
}

void SocketChannel::save(Encoder& encoder) const {
  const PinnedFd fd = pin();
  {
    const std::unique_lock<std::timed_mutex> lock(receiving_, std::try_to_lock);
    if (!lock || reader_.begun())
      throw StateError("a connection over a socket cannot be sent while a message is being received from it");
  }
  encoder(ChannelKind::Socket, static_cast<std::uint64_t>(limit_bytes_));
  encoder.describe_descriptor(fd->get());
}

std::shared_ptr<Channel> SocketChannel::load(Decoder& decoder) {
  std::uint64_t limit_bytes = 0;
  decoder(limit_bytes);
  return std::make_shared<SocketChannel>(Fd(decoder.take_descriptor()), limit_bytes);
}

}  // namespace tandem::detail
