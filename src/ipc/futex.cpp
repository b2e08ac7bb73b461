#include "ipc/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <ctime>

#include "core/blocking.hpp"
#include "core/check.hpp"

namespace tandem::detail {

bool futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, const Deadline& deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.left(kLongestSleep));
  if (left.count() <= 0) return false;
  timespec time{};
  time.tv_sec = static_cast<time_t>(left.count() / 1'000'000'000);
  time.tv_nsec = static_cast<long>(left.count() % 1'000'000'000);
  {
    BlockingSection blocking;
    const long result =
        ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT, expected, &time, nullptr, 0);
    TANDEM_CHECK(result == 0 || errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT, errno, expected);
  }
  return !deadline.passed();
}

int futex_wake(std::atomic<std::uint32_t>& word, int count) {
  const long woken =
      ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE, count, nullptr, nullptr, 0);
  TANDEM_CHECK(woken >= 0, errno, count);
  return static_cast<int>(woken);
}

void WaitPoint::wake_all() {
  futex_wake(signal_, INT_MAX);
}

}  // namespace tandem::detail
