/// What executors have in common and that needs no types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include <tandem/detail/task.hpp>
#include <tandem/executor_options.hpp>
#include <tandem/future.hpp>

namespace tandem::detail {

class Encoder;
class ExecutorCore;

/// Hands a task to the executor, which may have to wait for room in its backlog. On an exception the task is not there.
void submit_task(ExecutorCore& core, Task& task, const std::optional<TaskOptions>& options);
/// An executor whose tasks run in threads. `initializer` may be empty. Throws std::invalid_argument for bad options.
std::shared_ptr<ExecutorCore> make_thread_executor(ExecutorOptions options, std::function<void()> initializer);
/// An executor whose tasks are RemoteTasks that run in processes. `initializer`: a call for run_call(); null for none.
std::shared_ptr<ExecutorCore> make_process_executor(ExecutorOptions options, const Encoder* initializer);
std::size_t worker_limit(const ExecutorCore& core) noexcept;
/// `own`, or those of the executor.
const TaskOptions& task_options(const ExecutorCore& core, const std::optional<TaskOptions>& own) noexcept;

/// Submits a call made by LocalCalls or its like; takes over the handle that it comes with.
template <class Call>
auto submit_call(ExecutorCore& core, const std::optional<TaskOptions>& options, std::uint32_t items, Call* call) {
  auto future = adopt_future(static_cast<typename Call::State*>(call));
  call->set_items(items);
  submit_task(core, *call, options);
  return future;
}

}  // namespace tandem::detail
