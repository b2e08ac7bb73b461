#include "connection/handshake_io.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "connection/channel.hpp"
#include "core/system.hpp"

namespace tandem::detail {

Progress advance(Handshake& handshake, int fd) {
  for (;;) {
    if (const auto bytes = handshake.to_send(); !bytes.empty()) {
      const ssize_t sent =
          retry_on_signal([&] { return ::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL); });
      if (sent >= 0) {
        handshake.sent(static_cast<std::size_t>(sent));
        continue;
      }
      // A rejection that does not get through is none the less one.
      if (!handshake.failure().empty()) return Progress::Failed;
      return errno == EAGAIN || errno == EWOULDBLOCK ? Progress::Waiting : Progress::Failed;
    }
    if (!handshake.failure().empty()) return Progress::Failed;
    if (handshake.done()) return Progress::Done;
    const std::span<std::byte> room = handshake.room();
    const ssize_t came = retry_on_signal([&] { return ::recv(fd, room.data(), room.size(), MSG_DONTWAIT); });
    if (came < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Progress::Waiting;
    if (came <= 0) return Progress::Failed;
    handshake.received(static_cast<std::size_t>(came));
  }
}

void run_handshake(Handshake& handshake, int fd, const Deadline& deadline, const std::string& address) {
  for (;;) {
    switch (advance(handshake, fd)) {
      case Progress::Done:
        return;
      case Progress::Failed:
        if (!handshake.failure().empty()) throw AuthenticationError(handshake.failure() + " (" + address + ")");
        throw AuthenticationError("the other side ended the connection in the midst of the handshake (" + address +
                                  ")");
      case Progress::Waiting:
        break;
    }
    const short events = handshake.to_send().empty() ? POLLIN : POLLOUT;
    if (!wait_until_ready(fd, events, deadline) && deadline.passed())
      throw_system_error(ETIMEDOUT, "cannot come to terms with the listener at " + address);
  }
}

}  // namespace tandem::detail
