#include "executor/place.hpp"

#include <chrono>
#include <cstdint>
#include <stdexcept>

#include <tandem/error.hpp>
#include <tandem/thread_info.hpp>

namespace tandem::detail {

void check_limits(const TaskOptions& options) {
  if (options.memory_limit_bytes == std::uint64_t{0})
    throw std::invalid_argument("a task cannot have at most 0 bytes of memory");
  if (options.cpu_time_limit && *options.cpu_time_limit <= std::chrono::nanoseconds::zero())
    throw std::invalid_argument("a task's CPU time limit must be above zero");
}

std::exception_ptr stop_error(const Task& task, Place::Why why) {
  if (why == Place::Why::Deadline)
    return std::make_exception_ptr(DeadlineExceeded("the task " + task.name() + " ran for longer than its deadline"));
  return std::make_exception_ptr(
      ExecutorShutDown("the task " + task.name() + " was running when its executor gave up"));
}

bool is_current(const std::optional<Thread>& thread) {
  return thread && thread->id() == current_thread().id();
}

}  // namespace tandem::detail
