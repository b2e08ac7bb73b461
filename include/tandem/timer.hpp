/// Calls a function later, unless told not to.
#pragma once

#include <chrono>
#include <memory>
#include <utility>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/thread_body.hpp>
#include <tandem/thread.hpp>

namespace tandem {
namespace detail {
/// Wraps a body so that it runs after `delay`, or not at all if the thread is asked to stop before.
std::unique_ptr<ThreadBody> make_timer_body(Deadline::Clock::duration delay, std::unique_ptr<ThreadBody> body);
}  // namespace detail

/// Calls a function once, on a thread of its own, after an interval that begins with start(). Owner: move-only; its
/// destructor cancels it and waits for its end, or if it is a daemon lets it go.
///
///   tandem::Timer reminder(30s, [] { std::puts("still here"); });
///   reminder.start();
///   reminder.cancel();   // if it is not too late
///
/// Threads: every member may be called at once from any thread, except the destructor and moving.
/// Errors: as Thread; std::invalid_argument for a negative interval.
/// Units: the steady clock. The call comes no earlier than asked, and later if the machine is busy.
/// Cost: one thread, which sleeps meanwhile.
class Timer {
 public:
  template <class Rep, class Period, class F, class... Args>
  explicit Timer(std::chrono::duration<Rep, Period> interval, F&& fn, Args&&... args)
      : Timer(ThreadOptions(), interval, std::forward<F>(fn), std::forward<Args>(args)...) {}
  template <class Rep, class Period, class F, class... Args>
  Timer(ThreadOptions options, std::chrono::duration<Rep, Period> interval, F&& fn, Args&&... args)
      : thread_(detail::make_timer_body(delay_of(interval),
                                        detail::make_thread_body(std::forward<F>(fn), std::forward<Args>(args)...)),
                std::move(options)) {}

  /// Begins the interval. Throws StateError if called twice.
  void start() { thread_.start(); }
  /// Prevents the call if it has not begun; otherwise asks the function's stop token to stop. May be called at any
  /// time, also before start().
  void cancel() { thread_.request_stop(); }
  /// Waits until the function has returned or the timer was cancelled.
  void join() { thread_.join(); }
  /// As join(), but gives up after `timeout`: false.
  template <class Rep, class Period>
  [[nodiscard]] bool join_for(std::chrono::duration<Rep, Period> timeout) {
    return thread_.join_for(timeout);
  }
  /// Whether it is started and neither finished nor cancelled.
  [[nodiscard]] bool is_alive() const { return thread_.is_alive(); }
  /// The thread that waits and then calls the function.
  [[nodiscard]] Thread& thread() noexcept { return thread_; }

 private:
  template <class Rep, class Period>
  static detail::Deadline::Clock::duration delay_of(std::chrono::duration<Rep, Period> interval) {
    static_cast<void>(detail::Deadline::after(interval));  // Throws if it is negative.
    // About 30 years stand for ever. Compared in floating point because the integers of a coarse unit overflow.
    const std::chrono::duration<double> seconds = interval;
    if (seconds.count() >= 1e9) return std::chrono::seconds(1'000'000'000);
    return std::chrono::ceil<detail::Deadline::Clock::duration>(interval);
  }

  Thread thread_;
};

}  // namespace tandem
