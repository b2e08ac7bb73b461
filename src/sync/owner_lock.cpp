#include "sync/owner_lock.hpp"

#include <climits>

#include "core/kill_point.hpp"
#include "ipc/family.hpp"
#include "ipc/futex.hpp"

namespace tandem::detail {

// In the model: Load, Break, Look, Flag.
OwnerLock::Result OwnerLock::acquire(const Deadline& deadline, Abandoned abandoned, OwnedBy owned_by) {
  for (bool slept = false;;) {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    if (word == kBroken) return Result::Refused;
    if (is_free(word)) {
      const bool is_abandoned = (word & kAbandoned) != 0;
      if (is_abandoned && abandoned == Abandoned::Break) {
        word_.compare_exchange_strong(word, kBroken, std::memory_order_relaxed);
        wake(INT_MAX);
        continue;
      }
      if (is_abandoned && abandoned == Abandoned::Refuse) return Result::Refused;
      if (!take_free(word, slept)) continue;
      TANDEM_KILL_POINT("lock.taken");
      return is_abandoned ? Result::GotAbandoned : Result::Got;
    }
    // Also by those who only try: otherwise who polls would never learn that nobody is left to release it.
    if (look_.due()) {
      abandon_if_dead(word, owned_by);
      if (word_.load(std::memory_order_relaxed) != word) continue;
    }
    const bool gives_up = deadline.passed();
    if (gives_up && !slept) return Result::TimedOut;
    // Also by one who has slept and gives up: the wake-up that it may have got was meant for any of the sleepers.
    if ((word & kSleepers) == 0 && !word_.compare_exchange_strong(word, word | kSleepers, std::memory_order_relaxed))
      continue;
    if (gives_up) return Result::TimedOut;
    sleep(word | kSleepers, deadline);
    slept = true;
  }
}

// In the model: Take.
bool OwnerLock::take_free(std::uint64_t word, bool slept) {
  const std::uint64_t mine = Owner::self().word() | word | (slept ? kSleepers : 0);
  // SYNC(owner-lock)
  return word_.compare_exchange_strong(word, mine, std::memory_order_acquire);
}

// In the model: Enqueue, Sleep.
void OwnerLock::sleep(std::uint64_t word, const Deadline& deadline) {
  TANDEM_KILL_POINT("lock.sleep");
  // Another owner with the same lower half is not told from this one: then the sleep ends with the wake-up of its
  // release, or with the round.
  static_cast<void>(futex_wait(word_, word, deadline));
  sweep_family_if_due();
  TANDEM_KILL_POINT("lock.woken");
}

// In the model: Abandon, WakeAll.
void OwnerLock::abandon_if_dead(std::uint64_t word, OwnedBy owned_by) {
  const bool is_dead =
      owned_by == OwnedBy::Process ? Owner(word).process_is_dead() : Owner(word).life() != Owner::Life::Alive;
  if (!is_dead) return;
  // What the dead one wrote is visible to whoever learns of its death from the kernel.
  const Owner dead(word);
  do {
    if (Owner(word) != dead) return;  // Another did the same, or somebody released it.
  } while (!word_.compare_exchange_weak(word, kAbandoned, std::memory_order_relaxed));
  TANDEM_KILL_POINT("lock.abandoned");
  wake(INT_MAX);
}

// In the model: Release, WakeOne, WakeEach.
bool OwnerLock::release_slowly() {
  std::uint64_t word = word_.load(std::memory_order_relaxed);
  do {
    if (is_free(word) || word == kBroken) return false;
    // SYNC(owner-lock)
  } while (!word_.compare_exchange_weak(word, word & kAbandoned, std::memory_order_release, std::memory_order_relaxed));
  if ((word & kSleepers) != 0) {
    TANDEM_KILL_POINT("lock.released");
    // Each of those who wait for an abandoned lock has something to hear.
    wake((word & kAbandoned) != 0 ? INT_MAX : 1);
  }
  return true;
}

void OwnerLock::wake(int count) {
  futex_wake(word_, count);
}

}  // namespace tandem::detail
