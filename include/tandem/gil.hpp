/// A lock under which one of many threads runs at a time, as in an interpreter with a global lock.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>

namespace tandem {
namespace detail {
class GilCore;

/// Gives the Gil up for a scope if the calling thread holds it.
class GilRelease {
 public:
  explicit GilRelease(GilCore& core);
  ~GilRelease();
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  GilCore* const core_;  // Null if there was nothing to release.
};
}  // namespace detail

/// Lets one of its threads run at a time, and has them take turns. Handle: copies refer to one lock. Stays in its
/// process: it cannot be sent to another.
///
///   tandem::Gil gil;
///   tandem::Thread t(tandem::ThreadOptions{.gil = gil}, work);
///   void work() { for (...) { step(); tandem::checkpoint(); } }
///
/// For code that is not thread-safe but mostly waits, and for measuring what such a lock costs. A thread that waits for
/// the Gil longer than the switch interval asks the holder to give way, which it does at its next checkpoint(): then
/// the thread that has waited longest gets it before the holder can take it back. Every wait in Tandem releases it and
/// takes it back afterwards; unlocked() does that around any other call that blocks.
///
/// Threads: every member may be called at once from any thread. A thread runs under at most one Gil.
/// Memory ordering: what a thread did under the Gil happens before what the next one does under it.
/// Fork: in a forked process it is held only if the thread that called fork() held it.
/// Errors: std::system_error: resource_deadlock_would_occur if a thread that runs under a Gil locks it or another
/// again, operation_not_permitted if one unlocks what it does not hold.
/// Cost: checkpoint() is one load while nobody asks. A thread that waits wakes to ask once, not at intervals.
/// Source: the switch interval and the forced switch are those of CPython 3.2 and later.
class Gil {
 public:
  static constexpr std::chrono::milliseconds kDefaultSwitchInterval{5};

  Gil();
  /// Throws std::invalid_argument unless the interval is above zero.
  template <class Rep, class Period>
  explicit Gil(std::chrono::duration<Rep, Period> switch_interval) : Gil() {
    set_switch_interval(switch_interval);
  }

  /// Waits until the calling thread may run. Meets Lockable, so that std::lock_guard works.
  void lock();
  /// Takes the Gil if it is free. False also if the calling thread has it.
  [[nodiscard]] bool try_lock();
  void unlock();
  /// Gives way if another thread has asked for it. Does nothing if the calling thread does not hold this Gil.
  void checkpoint();
  /// Calls `fn()` without the Gil, and returns what it returns: for calls that block or that run long without touching
  /// what the Gil guards. Takes the Gil back also if `fn` throws. May be nested; simply calls `fn` if the calling
  /// thread does not hold this Gil.
  template <class F>
  decltype(auto) unlocked(F&& fn) {
    detail::GilRelease release(*core_);
    return std::invoke(std::forward<F>(fn));
  }

  /// Whether the calling thread holds it now.
  [[nodiscard]] bool held() const noexcept;
  /// How long a thread waits before it asks the holder to give way; 5 ms unless set.
  [[nodiscard]] std::chrono::nanoseconds switch_interval() const noexcept;
  /// Sets it for waits that begin from now on. Throws std::invalid_argument unless it is above zero.
  template <class Rep, class Period>
  void set_switch_interval(std::chrono::duration<Rep, Period> interval) {
    if (!(interval > interval.zero())) throw std::invalid_argument("a switch interval must be above zero");
    // About 30 years stand for ever. Compared in floating point because the integers of a coarse unit overflow.
    const std::chrono::duration<double> seconds = interval;
    set_interval(seconds.count() >= 1e9 ? std::chrono::seconds(1'000'000'000)
                                        : std::chrono::ceil<std::chrono::nanoseconds>(interval));
  }

  /// Whether both refer to one lock.
  friend bool operator==(const Gil&, const Gil&) = default;

 private:
  void set_interval(std::chrono::nanoseconds interval) noexcept;

  std::shared_ptr<detail::GilCore> core_;
};

/// Gives way if the calling thread runs under a Gil and another thread has asked for it; otherwise does nothing. For
/// loops that compute: at least once a millisecond is a good measure.
void checkpoint();

}  // namespace tandem
