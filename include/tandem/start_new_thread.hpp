/// The low level below Thread: tasks that run on a thread of their own and that nobody need keep.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/thread_body.hpp>
#include <tandem/thread_info.hpp>

namespace tandem {

/// Waits for a task of start_new_thread(). Handle: copies refer to one task; dropping it does nothing to the task.
///
/// Threads: every member may be called at once from any thread.
class ThreadHandle {
 public:
  /// A handle for a task that is yet to be started with it.
  ThreadHandle();

  /// Waits until the task has ended; returns at once if it has, any number of times. Throws StateError before its start
  /// and in the task itself.
  void join() const { static_cast<void>(wait(detail::Deadline::never())); }
  /// As join(), but gives up after `timeout`: false. Throws std::invalid_argument for a negative one.
  template <class Rep, class Period>
  [[nodiscard]] bool join_for(std::chrono::duration<Rep, Period> timeout) const {
    return wait(detail::Deadline::after(timeout));
  }
  /// Whether the task was started and has ended.
  [[nodiscard]] bool done() const;
  /// The id that current_thread() has in the task; empty before its start.
  [[nodiscard]] std::optional<std::uint64_t> id() const;

 private:
  template <class F, class... Args>
    requires(!std::same_as<std::remove_cvref_t<F>, ThreadHandle>)
  friend ThreadHandle start_new_thread(F&& fn, Args&&... args);
  template <class F, class... Args>
  friend ThreadHandle start_new_thread(ThreadHandle& handle, F&& fn, Args&&... args);
  void start(std::unique_ptr<detail::ThreadBody> body);
  bool wait(const detail::Deadline& deadline) const;

  detail::ThreadRecordPtr record_;
};

/// Runs `fn(args...)` on a new thread, with copies of the arguments. Leaving main does not wait for it. An exception
/// that leaves it goes to the hook of excepthook.hpp, with no Thread. Throws std::system_error if the system refuses,
/// StateError once the process has waited for its threads at its end.
template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, ThreadHandle>)
ThreadHandle start_new_thread(F&& fn, Args&&... args) {
  ThreadHandle handle;
  handle.start(detail::make_thread_body(std::forward<F>(fn), std::forward<Args>(args)...));
  return handle;
}
/// The same with a handle that exists already. Throws StateError if it was used before.
template <class F, class... Args>
ThreadHandle start_new_thread(ThreadHandle& handle, F&& fn, Args&&... args) {
  handle.start(detail::make_thread_body(std::forward<F>(fn), std::forward<Args>(args)...));
  return handle;
}

/// How many threads Tandem has started that have not ended.
[[nodiscard]] std::size_t thread_count();

/// The smallest stack that a thread may be given. What a body can use of it is less by the program's thread_local data.
inline constexpr std::size_t kMinStackBytes = 32 * 1024;
/// The stack size in bytes of threads started from now on without one of their own; 0 is the system's default.
[[nodiscard]] std::size_t stack_size();
/// Sets it and returns the one before. Throws std::invalid_argument for sizes below kMinStackBytes other than 0, and
/// for sizes above 1 TiB, which a negative number turns into.
std::size_t set_stack_size(std::size_t bytes);

}  // namespace tandem
