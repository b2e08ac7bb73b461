#include "connection/socket.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "connection/channel.hpp"
#include "core/blocking.hpp"
#include "process/descriptors.hpp"

namespace tandem::detail {
namespace {

Fd make_socket(const SocketAddress& address, int flags) {
  Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!fd) throw_errno("cannot make a socket for " + address.text());
  return above_standard(std::move(fd), "a socket");
}

void set_option(int fd, int level, int name) {
  const int on = 1;
  static_cast<void>(::setsockopt(fd, level, name, &on, sizeof on));
}

// That an option cannot be set costs speed, not correctness.
void tune(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY);  // A message is sent at once.
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE);  // A machine that is gone without a word is noticed, in hours.
}

void set_time_to_connect(int fd, std::chrono::microseconds time) {
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(time.count() / 1'000'000);
  limit.tv_usec = static_cast<suseconds_t>(time.count() % 1'000'000);
  static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
}

/// Connects as connect(2), with a limit; gives an errno value.
int connect_before(int fd, const SocketAddress& address, const Deadline& deadline) {
  // connect() itself keeps the time, for both families: a Unix socket that does not wait does not say when there is
  // room for it either.
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::microseconds>(deadline.left(std::chrono::hours(1)));
    if (left.count() == 0) return ETIMEDOUT;
    set_time_to_connect(fd, left);
    const BlockingSection blocking;
    if (::connect(fd, address.get(), address.length) == 0) return 0;
    if (errno != EINTR) break;
    if (address.family() != AF_UNIX) break;  // It goes on, and poll() tells when it has ended.
  }
  if (address.family() == AF_UNIX) return errno == EAGAIN ? ETIMEDOUT : errno;
  if (errno == EINPROGRESS) return ETIMEDOUT;
  if (errno != EINTR) return errno;
  while (!wait_until_ready(fd, POLLOUT, deadline))
    if (deadline.passed()) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 ? errno : error;
}

}  // namespace

Fd listen_at(const SocketAddress& address, int backlog) {
  Fd fd = make_socket(address, SOCK_NONBLOCK);
  // So that a program that is started again need not wait for the connections of the last one to be forgotten.
  if (address.family() != AF_UNIX) set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR);
  if (::bind(fd.get(), address.get(), address.length) != 0) throw_errno("cannot bind to " + address.text());
  if (::listen(fd.get(), backlog) != 0) {
    const int error = errno;
    if (!address.path().empty()) ::unlink(address.path().c_str());
    throw_system_error(error, "cannot listen at " + address.text());
  }
  return fd;
}

Fd accept_one(int listener, int& error) {
  for (;;) {
    Fd fd(retry_on_signal([&] { return ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); }));
    error = fd ? 0 : errno;
    if (fd) {
      fd = above_standard(std::move(fd), "a connection");
      tune(fd.get());
      return fd;
    }
    if (error == EAGAIN || error == EWOULDBLOCK) error = 0;
    // Errors of one connection, not of the listener: it was gone before it was accepted.
    const bool is_of_one = error == ECONNABORTED || error == EPROTO || error == ENETDOWN || error == EHOSTUNREACH ||
                           error == ENETUNREACH || error == EHOSTDOWN || error == ENONET || error == ENOPROTOOPT;
    if (!is_of_one) return fd;
  }
}

Fd connect_to(const SocketAddress& address, const Deadline& deadline) {
  Fd fd = make_socket(address, 0);
  if (const int error = connect_before(fd.get(), address, deadline))
    throw_system_error(error, "cannot connect to " + address.text());
  set_time_to_connect(fd.get(), std::chrono::microseconds(0));
  tune(fd.get());
  return fd;
}

bool peer_is_of_this_user(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == ::geteuid();
}

}  // namespace tandem::detail
