/// The instant at which a wait gives up.
#pragma once

#include <algorithm>
#include <chrono>
#include <stdexcept>

namespace tandem::detail {

/// A point on the steady clock, or never, or at once (which does not even read the clock). Value.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  static Deadline never() noexcept { return Deadline(Clock::time_point::max()); }
  static Deadline now() noexcept { return Deadline(Clock::time_point::min()); }
  /// Throws std::invalid_argument for a negative duration. A duration too long for the clock means never.
  template <class Rep, class Period>
  static Deadline after(std::chrono::duration<Rep, Period> timeout) {
    if (!(timeout >= timeout.zero())) throw std::invalid_argument("a timeout must not be negative");
    // Compared in floating point: the integers of a coarse unit overflow when they are turned into nanoseconds.
    const std::chrono::duration<double> seconds = timeout;
    if (seconds >= kForever) return never();
    return Deadline(Clock::now() + std::chrono::ceil<Clock::duration>(timeout));
  }

  bool is_never() const noexcept { return at_ == Clock::time_point::max(); }
  bool is_now() const noexcept { return at_ == Clock::time_point::min(); }
  bool passed() const { return is_now() || (!is_never() && Clock::now() >= at_); }
  /// Time left, at most `limit` and never negative.
  Clock::duration left(Clock::duration limit) const {
    if (is_never()) return limit;
    if (is_now()) return Clock::duration::zero();
    return std::clamp(at_ - Clock::now(), Clock::duration::zero(), limit);
  }

 private:
  explicit Deadline(Clock::time_point at) noexcept : at_(at) {}
  // About 30 years: far below what the clock can hold, far above what anybody waits.
  static constexpr std::chrono::duration<double> kForever{1e9};

  Clock::time_point at_;
};

}  // namespace tandem::detail
