/// What an event looks like in the arena.
#pragma once

#include <atomic>
#include <cstdint>

#include <tandem/detail/shared_object.hpp>

namespace tandem::detail {

/// The body of an event: one word of which each change is one compare-and-swap, so that a kill, or a signal handler in
/// the midst of a call, finds it whole.
///
///   bit 0: set   bit 1: somebody may sleep   the others: how often it has been set, so that one who waits knows that
///   it was set meanwhile although it has been cleared since
///
/// Modelled in tests/model/event.pml.
struct EventState {
  static constexpr std::uint32_t kSet = 1;
  static constexpr std::uint32_t kSleepers = 2;
  static constexpr std::uint32_t kOnce = 4;

  std::atomic<std::uint32_t> word;

  std::uint32_t load() const noexcept { return word.load(std::memory_order_acquire); }
  /// Whether one who began to wait when the word was `first` may go on now that it is `now`.
  static bool passed(std::uint32_t first, std::uint32_t now) noexcept {
    return (now & kSet) != 0 || now / kOnce != first / kOnce;
  }
  /// Says that the caller is about to sleep on the word; the value to sleep on, or one with kSet.
  std::uint32_t announce_sleeper() noexcept;
  void set() noexcept;
  void clear() noexcept { word.fetch_and(~kSet, std::memory_order_relaxed); }
};
static_assert(sizeof(EventState) == 4, "layout in shared memory");

EventState& event_state_of(const SharedObjectPtr& object);

class WaitSource;
/// For wait(): ready while the event is set.
std::shared_ptr<WaitSource> event_wait_source(const SharedObjectPtr& event);

}  // namespace tandem::detail
