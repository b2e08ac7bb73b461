#include "ipc/futex.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <climits>
#include <ctime>

#include "core/blocking.hpp"
#include "core/check.hpp"

namespace tandem::detail {

constinit thread_local unsigned waits_without_spinning = 0;

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

// Absolute, as futex_waitv(2) takes it.
timespec clock_time_in(std::chrono::nanoseconds left) {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  const long long nanoseconds = time.tv_nsec + left.count();
  time.tv_sec += static_cast<time_t>(nanoseconds / 1'000'000'000);
  time.tv_nsec = static_cast<long>(nanoseconds % 1'000'000'000);
  return time;
}

std::atomic<bool> has_futex_waitv{true};

}  // namespace

bool futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, const Deadline& deadline) {
  return wait_at(&word, expected, deadline);
}
bool futex_wait(std::atomic<std::uint64_t>& word, std::uint64_t expected, const Deadline& deadline) {
  static_assert(std::endian::native == std::endian::little, "the lower half of a word is what its address points to");
  return wait_at(&word, static_cast<std::uint32_t>(expected), deadline);
}
bool futex_wait_any(std::span<const FutexWait> words, const Deadline& deadline) {
  TANDEM_CHECK(!words.empty() && words.size() <= kMostFutexes, words.size(), kMostFutexes);
  if (words.size() > 1 && has_futex_waitv.load(std::memory_order_relaxed)) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.left(kLongestSleep));
    if (left.count() <= 0) return false;
    const timespec until = clock_time_in(left);
    futex_waitv waiters[kMostFutexes] = {};
    for (std::size_t i = 0; i < words.size(); ++i) {
      waiters[i].val = words[i].expected;
      waiters[i].uaddr = reinterpret_cast<std::uintptr_t>(words[i].word);
      waiters[i].flags = FUTEX_32;
    }
    const BlockingSection blocking;
    const long result = ::syscall(SYS_futex_waitv, waiters, words.size(), 0, &until, CLOCK_MONOTONIC);
    if (result >= 0 || errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT) return !deadline.passed();
    // EPERM: filters of system calls that are older than this one.
    TANDEM_CHECK(errno == ENOSYS || errno == EPERM, errno, words.size());
    has_futex_waitv.store(false, std::memory_order_relaxed);
  }
  for (const FutexWait& wait : words)
    if (wait.word->load(std::memory_order_relaxed) != wait.expected) return !deadline.passed();
  return futex_wait(*words[0].word, words[0].expected, deadline);
}

int futex_wake(std::atomic<std::uint32_t>& word, int count) {
  return wake_at(&word, count);
}
int futex_wake(std::atomic<std::uint64_t>& word, int count) {
  return wake_at(&word, count);
}

bool yield_to_others() noexcept {
  // Longer than who is waited for needs to do its part; much shorter than a time slice of a program that computes.
  constexpr std::chrono::microseconds kLong{100};
  const auto start = Deadline::Clock::now();
  ::sched_yield();
  return Deadline::Clock::now() - start < kLong;
}

void WaitPoint::wake_all() {
  futex_wake(signal_, INT_MAX);
}

}  // namespace tandem::detail
