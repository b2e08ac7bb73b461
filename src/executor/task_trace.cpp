#include "executor/task_trace.hpp"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/exception_text.hpp"
#include "process/this_process.hpp"

namespace tandem::detail {

std::unique_ptr<TaskTrace> TaskTrace::make(const ExecutorOptions& options) {
  std::string path = options.trace.native();
  if (const char* const wanted = std::getenv("TANDEM_TRACE"); path.empty() && wanted != nullptr) path = wanted;
  if (path.empty()) return nullptr;
  // Processes that this one starts write into the same file.
  const bool is_first = !this_process_info().parent.has_value();
  return std::make_unique<TaskTrace>(TraceFile::open(path, is_first), options.name_prefix);
}

TaskTrace::TaskTrace(std::shared_ptr<TraceFile> file, std::string executor)
    : file_(std::move(file)), executor_(std::move(executor)) {}

std::string TaskTrace::about(const Task& task) const {
  return fmt::format(R"("executor":{},"items":{},"attempt":{})", json_string(executor_), task.items(), task.attempts());
}

void TaskTrace::note(const Task& task, std::string_view worker, std::int64_t thread, Clock::time_point since,
                     bool write) {
  MutexGuard guard(mutex_);
  if (named_.insert(thread).second) file_->name_thread(thread, worker);
  running_.insert_or_assign(&task, Run{thread, since, write});
  if (write) file_->write('B', task.name(), "task", since, thread, fmt::format(R"("args":{{{}}})", about(task)));
}

void TaskTrace::begun(const Task& task, std::string_view worker, std::int64_t thread) noexcept {
  try {
    note(task, worker, thread, Clock::now(), true);
  } catch (const std::exception&) {
    // It is missing in the trace.
  }
}

void TaskTrace::ran(const Task& task, std::string_view worker, std::int64_t thread, Clock::time_point since) noexcept {
  try {
    note(task, worker, thread, since, false);
  } catch (const std::exception&) {
    // It is missing in the trace.
  }
}

void TaskTrace::ended(const Task& task, std::string_view outcome, const std::exception_ptr& error) noexcept {
  try {
    const Clock::time_point now = Clock::now();
    std::string end = fmt::format(R"("outcome":{})", json_string(outcome));
    if (error) {
      const ExceptionInfo info = describe_exception(error);
      end += ",\"error\":" + json_string(info.type_name + ": " + info.what);
    }
    MutexGuard guard(mutex_);
    const auto run = running_.extract(&task);
    if (!run) {
      file_->write('i', task.name(), "task", now, 0, fmt::format(R"("s":"p","args":{{{},{}}})", about(task), end));
    } else if (run.mapped().is_written) {
      file_->write('E', task.name(), "task", now, run.mapped().thread, fmt::format(R"("args":{{{}}})", end));
    } else {
      const auto time = std::max(now - run.mapped().since, Clock::duration::zero());
      file_->write('X', task.name(), "task", run.mapped().since, run.mapped().thread,
                   fmt::format(R"("dur":{},"args":{{{},{}}})", trace_time(time), about(task), end));
    }
  } catch (const std::exception&) {
    // It is missing in the trace.
  }
}

}  // namespace tandem::detail
