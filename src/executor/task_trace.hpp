/// What an executor writes into a trace: every task, where it ran, from when to when, and how it ended.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include <tandem/detail/task.hpp>
#include <tandem/executor_options.hpp>

#include "core/mutex.hpp"
#include "core/trace_file.hpp"

namespace tandem::detail {

/// The trace of one executor. Owner. A task has an event of its own for each attempt, and one if it is cancelled
/// before.
///
/// Threads: every member may be called from any thread. What cannot be written is missing.
class TaskTrace {
 public:
  using Clock = TraceFile::Clock;
  /// Null if no trace is wanted, by option or by TANDEM_TRACE. Throws std::system_error.
  static std::unique_ptr<TaskTrace> make(const ExecutorOptions& options);
  TaskTrace(std::shared_ptr<TraceFile> file, std::string executor);

  /// A worker begins an attempt now. `thread`: the number of the worker's thread, or of its process.
  void begun(const Task& task, std::string_view worker, std::int64_t thread) noexcept;
  /// An attempt that ends now has begun then: for places that hear of both at once, before ended().
  void ran(const Task& task, std::string_view worker, std::int64_t thread, Clock::time_point since) noexcept;
  /// It has ended, or will not be begun. `error`: null if there is none.
  void ended(const Task& task, std::string_view outcome, const std::exception_ptr& error) noexcept;

 private:
  struct Run {
    std::int64_t thread;
    Clock::time_point since;
    bool is_written;  // Its begin.
  };
  void note(const Task& task, std::string_view worker, std::int64_t thread, Clock::time_point since, bool write);
  std::string about(const Task& task) const;

  const std::shared_ptr<TraceFile> file_;
  const std::string executor_;
  Mutex mutex_;
  std::unordered_map<const Task*, Run> running_ TANDEM_GUARDED_BY(mutex_);
  std::unordered_set<std::int64_t> named_ TANDEM_GUARDED_BY(mutex_);
};

}  // namespace tandem::detail
