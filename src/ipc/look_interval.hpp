/// Sharing the work of looking for the dead.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include <tandem/detail/deadline.hpp>

#include "ipc/futex.hpp"

namespace tandem::detail {

/// Says when somebody has just looked for the dead, so that a hundred who wait for one thing do not ask the kernel a
/// hundred times when one would do. In shared memory; all zeros is its start. A hint: who is killed before it has
/// looked leaves the look to the next.
class LookInterval {
 public:
  /// Whether it is time to look; then the others need not for a while. That is short beside kLongestSleep, after which
  /// each looks again: so a death is noticed by who waits at most that little later than if everybody looked.
  bool due() noexcept {
    constexpr auto kInterval = static_cast<std::uint64_t>(std::chrono::nanoseconds(kLongestSleep).count()) / 10;
    const auto now = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
    std::uint64_t last = last_ns_.load(std::memory_order_relaxed);
    if (now - last < kInterval) return false;
    return last_ns_.compare_exchange_strong(last, now, std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> last_ns_;  // On the steady clock.
};
static_assert(sizeof(LookInterval) == 8, "layout in shared memory");

}  // namespace tandem::detail
