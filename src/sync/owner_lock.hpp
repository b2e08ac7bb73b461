/// The word of a Lock: who holds it, and what becomes of it when that process dies.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <tandem/detail/deadline.hpp>

#include "ipc/look_interval.hpp"
#include "ipc/owner.hpp"

namespace tandem::detail {

/// A lock in shared memory, owned by a process or by a thread. All zeros is a free one.
///
/// Its word is free (0, or kAbandoned), held (an Owner, perhaps with flags), or kBroken. Taking it is one
/// compare-and-swap that writes the owner's name, so a process killed at any instruction either had it, and then the
/// others find its name, or had not.
///
///   free --acquire--> held --release--> free          held --its process dies--> abandoned --acquire--> held,
///   abandoned
///
/// Who waits sets kSleepers and sleeps on the lower half of the word. Who releases takes the flag away and wakes one,
/// who sets it again when it has got the lock, because others may sleep behind it. A wake-up that died with its
/// process, of the waker or of the woken, is made good when the others look again after kLongestSleep. Modelled in
/// tests/model/owner_lock.pml.
class OwnerLock {
 public:
  static constexpr std::uint64_t kSleepers = 1;
  static constexpr std::uint64_t kAbandoned = 2;
  static constexpr std::uint64_t kBroken = Owner::kNobody;
  static_assert((kSleepers | kAbandoned) == Owner::kFlags, "two flags beside the owner");

  enum class Result { Got, GotAbandoned, TimedOut, Refused };
  /// What to do with an abandoned lock: take it, leave it as it is, or break it for ever.
  enum class Abandoned { Take, Refuse, Break };
  /// Whether a thread's end is a death too.
  enum class OwnedBy { Process, Thread };

  /// Takes it if it is free and not abandoned.
  bool take_at_once() {
    std::uint64_t free = 0;
    // SYNC(owner-lock): acquire here and release in release(): what the last owner wrote is seen by the next.
    return word_.compare_exchange_strong(free, Owner::self().word(), std::memory_order_acquire,
                                         std::memory_order_relaxed);
  }
  Result acquire(const Deadline& deadline, Abandoned abandoned, OwnedBy owned_by);
  /// Frees it, whoever holds it. False if nobody does.
  bool release() {
    // Most often it is this thread's and nobody sleeps. Not looking first saves waiting for the answer.
    std::uint64_t mine = Owner::self().word();
    if (word_.compare_exchange_strong(mine, 0, std::memory_order_release, std::memory_order_relaxed)) return true;
    return release_slowly();
  }
  /// Takes the mark of abandonment away.
  void set_repaired() noexcept { word_.fetch_and(~kAbandoned, std::memory_order_relaxed); }

  /// Abandons it if its owner is dead; asks no more often than need be.
  void look_if_due(OwnedBy owned_by) {
    if (const std::uint64_t now = word(); !is_free(now) && now != kBroken && look_.due())
      abandon_if_dead(now, owned_by);
  }

  std::uint64_t word() const noexcept { return word_.load(std::memory_order_relaxed); }
  bool held_here() const { return Owner(word()) == Owner::self(); }
  static bool is_free(std::uint64_t word) noexcept { return (word & ~Owner::kFlags) == 0; }

 private:
  bool release_slowly();
  bool take_free(std::uint64_t word, bool slept);
  void sleep(std::uint64_t word, const Deadline& deadline);
  void abandon_if_dead(std::uint64_t word, OwnedBy owned_by);
  void wake(int count);

  std::atomic<std::uint64_t> word_;
  LookInterval look_;
};
static_assert(sizeof(OwnerLock) == 16, "layout in shared memory");

}  // namespace tandem::detail
