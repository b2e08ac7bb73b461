#include "executor/place.hpp"

#include <tandem/error.hpp>
#include <tandem/thread_info.hpp>

namespace tandem::detail {

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
