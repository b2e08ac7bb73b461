#include "ipc/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <climits>
#include <ctime>

#include "core/blocking.hpp"
#include "core/check.hpp"

namespace tandem::detail {

namespace {

bool wait_at(void* word, std::uint32_t expected, const Deadline& deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.left(kLongestSleep));
  if (left.count() <= 0) return false;
  timespec time{};
  time.tv_sec = static_cast<time_t>(left.count() / 1'000'000'000);
  time.tv_nsec = static_cast<long>(left.count() % 1'000'000'000);
  {
    BlockingSection blocking;
    const long result = ::syscall(SYS_futex, word, FUTEX_WAIT, expected, &time, nullptr, 0);
    TANDEM_CHECK(result == 0 || errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT, errno, expected);
  }
  return !deadline.passed();
}

int wake_at(void* word, int count) {
  const long woken = ::syscall(SYS_futex, word, FUTEX_WAKE, count, nullptr, nullptr, 0);
  TANDEM_CHECK(woken >= 0, errno, count);
  return static_cast<int>(woken);
}

}  // namespace

bool futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, const Deadline& deadline) {
  return wait_at(&word, expected, deadline);
}
bool futex_wait(std::atomic<std::uint64_t>& word, std::uint64_t expected, const Deadline& deadline) {
  static_assert(std::endian::native == std::endian::little, "the lower half of a word is what its address points to");
  return wait_at(&word, static_cast<std::uint32_t>(expected), deadline);
}
int futex_wake(std::atomic<std::uint32_t>& word, int count) {
  return wake_at(&word, count);
}
int futex_wake(std::atomic<std::uint64_t>& word, int count) {
  return wake_at(&word, count);
}

void WaitPoint::wake_all() {
  futex_wake(signal_, INT_MAX);
}

}  // namespace tandem::detail
