/// Tells when running tasks have passed their deadlines.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include <tandem/detail/task.hpp>

namespace tandem::detail {

class ExecutorCore;

/// One for each executor. Has a thread from start() on. Owner.
class TaskClock {
 public:
  TaskClock();
  ~TaskClock() { stop(); }
  TaskClock(const TaskClock&) = delete;
  TaskClock& operator=(const TaskClock&) = delete;

  /// To be called before a task with a deadline is taken. Throws std::system_error if there can be no thread.
  void start(ExecutorCore& core);
  /// Has core.stop(task, Deadline) called when the time is over; keeps the task alive until then, or until forget().
  void watch(Task& task, std::chrono::nanoseconds time);
  /// The attempt has ended. Does nothing if it is not watched.
  void forget(Task& task) noexcept;
  /// Ends the thread; nothing is told any more.
  void stop() noexcept;

 private:
  struct Inside;  // The thread's too: what it tells may destroy the core, and this with it.
  const std::shared_ptr<Inside> inside_;
};

}  // namespace tandem::detail
