/// The untyped inside of a Gil.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include <tandem/detail/deadline.hpp>
#include "core/blocking.hpp"
#include "core/mutex.hpp"

namespace tandem::detail {

/// One Gil: who holds it, who waits for it in which order, and whether the holder is asked to give way.
///
/// A thread that waits sleeps on a word of its own, so that each hand-over wakes the one thread that it is for. The
/// first of them keeps the time: once it has waited for the interval while nobody else got the Gil it sets the request,
/// and then it sleeps without a limit. The holder that finds the request passes the Gil on directly, still held, to the
/// first of those who wait: nobody can come between, least of all the one who gave way. A holder that leaves unasked
/// frees it instead, for whoever comes first.
class GilCore final : public BlockingHooks {
 public:
  GilCore();
  ~GilCore();
  GilCore(const GilCore&) = delete;
  GilCore& operator=(const GilCore&) = delete;

  void lock();
  bool try_lock();
  void unlock();
  void checkpoint() {
    // Relaxed: seen late it costs one more round of the caller's loop. What follows is decided under the mutex.
    if (asked_.load(std::memory_order_relaxed)) [[unlikely]]
      give_way();
  }
  bool held_here() const noexcept;
  /// Whether the calling thread runs under this Gil, be it released at the moment or not.
  bool runs_here() const noexcept;
  std::chrono::nanoseconds interval() const noexcept {
    return std::chrono::nanoseconds(interval_.load(std::memory_order_relaxed));
  }
  void set_interval(std::chrono::nanoseconds interval) noexcept {
    interval_.store(interval.count(), std::memory_order_relaxed);
  }

  void before_wait() override;
  void after_wait() override;

  // Called by the handlers of fork().
  void before_fork() TANDEM_NO_THREAD_SAFETY_ANALYSIS { mutex_.lock(); }
  void after_fork_in_parent() TANDEM_NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }
  void after_fork_in_child() TANDEM_NO_THREAD_SAFETY_ANALYSIS;

 private:
  /// A thread that waits; lives on its stack, in the list below.
  struct Waiter {
    const void* thread;
    Waiter* next = nullptr;
    std::uint64_t timing_turn = 0;  // The turn during which it keeps the time; 0 if it does not.
    Deadline ask_at = Deadline::never();
    std::atomic<std::uint32_t> wake{0};
  };

  void take();
  void drop();
  void give_way();
  void wait_for_turn(Waiter& self) TANDEM_EXCLUDES(mutex_);
  void begin_turn(const void* thread) TANDEM_REQUIRES(mutex_);
  void append(Waiter& waiter) TANDEM_REQUIRES(mutex_);
  void remove(Waiter& waiter) TANDEM_REQUIRES(mutex_);
  void hand_to_first() TANDEM_REQUIRES(mutex_);
  void have_first_keep_time() TANDEM_REQUIRES(mutex_);
  static void wake(Waiter& waiter);

  Mutex mutex_;
  const void* holder_ TANDEM_GUARDED_BY(mutex_) = nullptr;  // The address of something thread_local.
  Waiter* first_ TANDEM_GUARDED_BY(mutex_) = nullptr;
  Waiter* last_ TANDEM_GUARDED_BY(mutex_) = nullptr;
  std::uint64_t turn_ TANDEM_GUARDED_BY(mutex_) = 0;  // Counts how often the Gil was taken.
  std::atomic<bool> asked_{false};                    // Written under the mutex.
  std::atomic<std::chrono::nanoseconds::rep> interval_;
};

/// Releases the Gil that the calling thread still holds at the end of its body, if any.
void release_gil_of_this_thread() noexcept;

}  // namespace tandem::detail
