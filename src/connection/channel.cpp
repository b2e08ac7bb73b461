#include "connection/channel.hpp"

#include <poll.h>

#include <ctime>

#include "core/blocking.hpp"
#include "ipc/futex.hpp"

namespace tandem::detail {
namespace {

bool is_ready(int fd, short events, std::chrono::nanoseconds most) {
  pollfd look{fd, events, 0};
  const timespec limit{static_cast<time_t>(most.count() / 1'000'000'000),
                       static_cast<long>(most.count() % 1'000'000'000)};
  // Interrupted by a signal it is not ready, and the caller looks at its deadline and comes again.
  return ::ppoll(&look, 1, &limit, nullptr) > 0;
}

}  // namespace

bool wait_until_ready(int fd, short events, const Deadline& deadline) {
  const std::chrono::nanoseconds left = deadline.left(kLongestSleep);
  if (left.count() == 0) return is_ready(fd, events, left);
  const BlockingSection blocking;
  return is_ready(fd, events, left);
}

bool Channel::poll(const Deadline& deadline) const {
  for (;;) {
    const PinnedFd fd = pin();
    if (wait_until_ready(fd->get(), POLLIN, deadline)) return true;
    if (deadline.passed()) return false;
  }
}

PinnedFd Channel::pin() const {
  const MutexGuard guard(mutex_);
  if (!fd_) throw StateError("use of a connection that is closed in this process");
  return fd_;
}

void Channel::close() noexcept {
  PinnedFd last;  // Closed without the mutex.
  const MutexGuard guard(mutex_);
  last = std::move(fd_);
}

bool Channel::closed() const noexcept {
  const MutexGuard guard(mutex_);
  return fd_ == nullptr;
}

}  // namespace tandem::detail
