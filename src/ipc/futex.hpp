/// Sleeping on a word of shared memory, for threads of any process of the family.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include <tandem/detail/deadline.hpp>

namespace tandem::detail {

/// The longest that anybody sleeps without looking again. It makes good a wake-up that died with the process that was
/// woken, and a death that nobody reported; it is also how soon a death is acted on. Shorter would be polling.
inline constexpr std::chrono::milliseconds kLongestSleep{100};

/// Sleeps while `word` is `expected`, until a wake-up, the deadline or kLongestSleep, whichever is first. False if the
/// deadline has passed; true says only "look again". Never private: the word may be in memory shared with others.
bool futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, const Deadline& deadline);

/// The same on the lower half of a word of 64 bits.
bool futex_wait(std::atomic<std::uint64_t>& word, std::uint64_t expected, const Deadline& deadline);

/// A word that a thread sleeps on, and the value that it sleeps for.
struct FutexWait {
  std::atomic<std::uint32_t>* word;
  std::uint32_t expected;
};
/// The most words that one thread can sleep on: the kernel's limit.
inline constexpr std::size_t kMostFutexes = 128;
/// As futex_wait(), on up to kMostFutexes words at once: a wake-up on any of them ends it. On a kernel without
/// futex_waitv(2), older than Linux 5.16, only a wake-up on the first one does; a change of the others is found when
/// the round is over.
bool futex_wait_any(std::span<const FutexWait> words, const Deadline& deadline);

/// Wakes up to `count` sleepers; returns how many there were.
int futex_wake(std::atomic<std::uint32_t>& word, int count);
int futex_wake(std::atomic<std::uint64_t>& word, int count);

/// How many of the calling thread's next waits begin with sleep, because spinning has lately cost others their time.
extern constinit thread_local unsigned waits_without_spinning;
/// Lets others run that want this core. False if they ran for so long that the machine must be busy.
bool yield_to_others() noexcept;

/// Looks for a while, and lets others run in between, before a sleep whose wake-up may come at once; whether `ready()`
/// held. Bounded by about 10 us, a fifth of what it takes to wake a core that has gone to sleep. Who is waited for may
/// want this same core, so that only looking would keep it from coming: it gets the core between the looks. If others
/// take the core for long instead, the thread does not spin for some time.
template <class Ready>
bool spin_briefly(Ready ready) {
  constexpr int kYields = 12, kPauses = 20, kMostPauses = 8;
  constexpr unsigned kWaitsWithoutSpinning = 32;
  if (waits_without_spinning > 0) {
    --waits_without_spinning;
    return ready();
  }
  for (int yields = 0, between = 1;; ++yields) {
    // More and more rarely: each look takes the line of the cache from who is to change it.
    for (int pauses = 0; pauses < kPauses;
         between = pauses < kPauses / 2 ? between : std::min(2 * between, kMostPauses)) {
      if (ready()) return true;
      for (int pause = 0; pause < between; ++pause, ++pauses) __builtin_ia32_pause();
    }
    if (yields == kYields) return ready();
    if (yield_to_others()) continue;
    if (ready()) return true;
    waits_without_spinning = kWaitsWithoutSpinning;
    return false;
  }
}

/// A place in shared memory where threads wait for a condition. All zeros is its start.
///
///   while (!condition) { auto ticket = point.prepare(); if (condition) break; point.sleep(ticket, deadline); ... }
///   make the condition true; a locked instruction; if (point.announce()) point.wake_one();
///
/// If a lock guards the condition, as in most uses, both sides hold it around all but sleep() and wake_...(), and need
/// neither the second look nor the locked instruction. Without one, each side makes its own store visible before it
/// looks at the other's: on this processor any locked instruction does that.
///
/// One system call wakes one sleeper, and the flag is lowered by the waker, so that a burst of announcements wakes
/// once. Whoever has slept raises the flag again (resume()), because others may sleep behind it, whether it leaves
/// something for them now or somebody announces it later: otherwise they would sleep out their round.
/// Killed peers: a waker or a sleeper killed anywhere in between costs the others at most kLongestSleep.
/// Modelled in tests/model/wait_point.pml, as LockedQueue uses it, and in ring.pml, without a lock; the steps have the
/// names of these functions.
class WaitPoint {
 public:
  using Ticket = std::uint32_t;

  /// Says that the caller is about to sleep, unless the condition holds by now.
  Ticket prepare() noexcept {
    // In this order: an announcement that lowers the flag again, for something that another one takes before the second
    // look, changes what the ticket is of. Otherwise the caller would sleep and the flag be down.
    const Ticket ticket = signal_.load();
    sleeping_.exchange(1);
    return ticket;
  }
  /// Sleeps as futex_wait() does. Without the lock.
  bool sleep(Ticket ticket, const Deadline& deadline) { return futex_wait(signal_, ticket, deadline); }
  /// Whether a wake-up is needed now that the condition may hold.
  [[nodiscard]] bool announce() noexcept {
    if (sleeping_.load() == 0 || sleeping_.exchange(0) == 0) return false;
    // SYNC(wait-point): the ticket is read before the second look and this changes it behind what made the condition
    // true, so that a sleeper which has looked but not yet slept finds another value and does not sleep through the
    // announcement.
    signal_.fetch_add(1);
    return true;
  }
  /// By one who has slept, before it looks again: says that others may still do.
  void resume() noexcept { sleeping_.exchange(1); }
  /// The same, and whether to wake the next: by one who leaves with more to take.
  [[nodiscard]] bool pass_on() noexcept {
    resume();
    return announce();
  }
  /// What sleep() sleeps on, for who sleeps on several.
  std::atomic<std::uint32_t>& word() noexcept { return signal_; }
  void wake_one() { futex_wake(signal_, 1); }
  void wake_all();

 private:
  std::atomic<std::uint32_t> signal_;
  std::atomic<std::uint32_t> sleeping_;
};
static_assert(sizeof(WaitPoint) == 8, "two futex words, as laid out in shared memory");

}  // namespace tandem::detail
