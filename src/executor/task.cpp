#include <tandem/detail/task.hpp>

#include <unordered_map>

#include "executor/executor_core.hpp"
#include "executor/executors.hpp"
#include "thread/body_name.hpp"

namespace tandem::detail {

namespace {

// Finding it reads the program's symbols, which takes up to a second: a thread that asks does it once for each
// function.
const std::string& known_function_name(const void* function) {
  static thread_local std::unordered_map<const void*, std::string> known;
  const auto found = known.find(function);
  return found != known.end() ? found->second : known.emplace(function, function_name(function)).first->second;
}

}  // namespace

std::string Task::name() const {
  if (options_ != nullptr && !options_->name.empty()) return options_->name;
  std::string name = function_ != nullptr ? known_function_name(function_) : class_name(callable_type());
  return name.empty() ? "task" : name;
}

void LocalTask::finished(ExecutorCore& core, Task& task, FutureState::Outcome outcome) noexcept {
  core.finished(task, outcome);
}
bool LocalTask::failed(ExecutorCore& core, Task& task, std::exception_ptr error, bool final_error) noexcept {
  return core.failed_here(task, std::move(error), final_error);
}

bool in_worker() noexcept {
  return WorkerScope::current() != nullptr;
}
void check_task_process(const Task& task) {
  if (const std::shared_ptr<ExecutorCore> core = find_executor(task.executor())) core->check_process();
}
void withdraw_task(Task& task) noexcept {
  const std::shared_ptr<ExecutorCore> core = find_executor(task.executor());
  if (core != nullptr && core->in_own_process()) core->withdraw(task);
  task.forget();
}
bool stop_task(Task& task) noexcept {
  const std::shared_ptr<ExecutorCore> core = find_executor(task.executor());
  if (core == nullptr || !core->in_own_process()) return false;
  core->stop(task, Place::Why::Cancelled);
  return true;
}
bool run_task_here(Task& task) noexcept {
  ExecutorCore* const core = WorkerScope::current();
  return core != nullptr && core->id() == task.executor() && core->run_here(task);
}

}  // namespace tandem::detail
