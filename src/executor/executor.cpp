#include <tandem/executor.hpp>

#include <utility>

#include <tandem/error.hpp>

#include "core/log.hpp"
#include "executor/executor_core.hpp"
#include "executor/process_place.hpp"
#include "executor/thread_place.hpp"
#include "executor/worker_usage.hpp"

namespace tandem {
namespace detail {

void submit_task(ExecutorCore& core, Task& task, const std::optional<TaskOptions>& options) {
  if (options) task.set_options(*options);
  core.submit(task);
}

std::size_t worker_limit(const ExecutorCore& core) noexcept {
  return core.worker_limit();
}

const TaskOptions& task_options(const ExecutorCore& core, const std::optional<TaskOptions>& own) noexcept {
  return own ? *own : core.options().task;
}

std::shared_ptr<ExecutorCore> make_thread_executor(ExecutorOptions options, std::function<void()> initializer) {
  return ExecutorCore::make(std::move(options), std::make_unique<ThreadPlace>(std::move(initializer)));
}

std::shared_ptr<ExecutorCore> make_process_executor(ExecutorOptions options, const Encoder* initializer) {
  std::optional<ParcelRef> call;
  if (initializer != nullptr)
    call.emplace(make_parcel(initializer->bytes().data(), initializer->bytes().size(), initializer->objects()));
  return ExecutorCore::make(std::move(options), std::make_unique<ProcessPlace>(std::move(call)));
}

}  // namespace detail

std::string ShutdownReport::to_string() const {
  std::string text = std::to_string(cancelled) + (cancelled == 1 ? " task" : " tasks") + " cancelled, " +
                     std::to_string(given_up.size()) + " given up";
  const char* between = ": ";
  for (const GivenUpTask& task : given_up) {
    text += between + task.name + " (in " + task.worker + ")";
    between = ", ";
  }
  return text;
}

AnyExecutor& AnyExecutor::operator=(AnyExecutor&& other) noexcept {
  if (this != &other) {
    end_quietly();
    core_ = std::move(other.core_);
  }
  return *this;
}

AnyExecutor::~AnyExecutor() {
  end_quietly();
}

void AnyExecutor::end_quietly() noexcept {
  if (core_ == nullptr || !core_->in_own_process()) return;
  // The last one to let go of an executor may be a task of its own, or what goes on behind one, which cannot wait for
  // itself.
  if (core_->in_own_thread()) {
    core_->close(Backlog::Run);
    return;
  }
  const ExecutorCounters counters = core_->counters();
  if (counters.queued + counters.running > 0)
    detail::log_line(LogLevel::Info,
                     "the executor {} is destroyed with {} tasks waiting and {} running: it waits for them",
                     core_->name(), counters.queued, counters.running);
  core_->shutdown(Backlog::Run, detail::Deadline::never());
}

detail::ExecutorCore& AnyExecutor::core() const {
  return *shared_core();
}
const std::shared_ptr<detail::ExecutorCore>& AnyExecutor::shared_core() const {
  if (core_ == nullptr) throw StateError("this executor was moved from");
  return core_;
}

std::size_t AnyExecutor::close(Backlog backlog) {
  return core().close(backlog);
}
ShutdownReport AnyExecutor::end(Backlog backlog, const detail::Deadline& deadline) {
  return core().shutdown(backlog, deadline);
}
std::vector<WorkerInfo> AnyExecutor::workers() const {
  std::vector<WorkerInfo> all = core().workers();
  // Those of another machine have said it themselves.
  for (WorkerInfo& worker : all)
    if (worker.pid != 0) detail::add_usage(worker);
  return all;
}
ExecutorCounters AnyExecutor::counters() const {
  return core().counters();
}

}  // namespace tandem
