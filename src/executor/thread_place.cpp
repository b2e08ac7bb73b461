#include "executor/thread_place.hpp"

#include <stdexcept>
#include <string>
#include <utility>

#include <tandem/error.hpp>
#include <tandem/process.hpp>

#include "executor/executor_core.hpp"

namespace tandem::detail {
namespace {

/// The calling thread is about to run it.
void begin_in_trace(const ExecutorCore& core, const Task& task) {
  if (core.trace() == nullptr) return;
  const ThreadInfo self = current_thread();
  core.trace()->begun(task, self.name(), self.native_id().value_or(0));
}

void run_in_this_thread(ExecutorCore& core, Task& task) {
  do begin_in_trace(core, task);
  while (static_cast<LocalTask&>(task).run(core));
}

}  // namespace

thread_local ThreadPlace::Worker* ThreadPlace::self_ = nullptr;

void ThreadPlace::open(std::shared_ptr<ExecutorCore> core) {
  core_ = core;
  limit_ = core->worker_limit();
}

void ThreadPlace::check(const TaskOptions& options) const {
  if (options.memory_limit_bytes)
    throw std::invalid_argument("a thread cannot have a memory limit of its own: use a ProcessExecutor");
  if (options.cpu_time_limit)
    throw std::invalid_argument("a thread cannot be ended by a CPU time limit: use a ProcessExecutor");
}

void ThreadPlace::more_work() {
  MutexGuard guard(mutex_);
  if (workers_.size() >= limit_) return;
  try {
    start_worker();
  } catch (...) {
    if (workers_.empty()) throw;  // Otherwise those that there are will do.
  }
}

void ThreadPlace::start_worker() {
  const std::shared_ptr<ExecutorCore> core = core_.lock();
  ThreadOptions options{.name = core->name() + "-" + std::to_string(workers_.size()), .daemon = false};
  options.gil = core->options().gil;
  Worker& worker = workers_.emplace_back();
  core->worker_is_free();
  try {
    worker.thread.emplace(std::move(options), [this, &worker, core] { run(worker, core); });
    worker.thread->start();
  } catch (...) {
    workers_.pop_back();
    core->worker_is_gone();
    throw;
  }
  if (workers_.size() >= limit_) core->call_for_more_work(false);
}

void ThreadPlace::run(Worker& self, const std::shared_ptr<ExecutorCore>& core) {
  if (initializer_) {
    try {
      initializer_();
    } catch (...) {
      core->broke(std::current_exception());
      return;
    }
  }
  WorkerScope scope(*core);
  self_ = &self;
  while (const TaskPtr task = core->next(Deadline::never(), &self.current)) {
    scope.busy_with(*task);
    run_in_this_thread(*core, *task);
    WorkerScope::free_of(*task);
    forget_current(self);
    checkpoint();
  }
}

void ThreadPlace::forget_current(Worker& self) noexcept {
  self.current.store(nullptr);
  if (looking_.load() != 0) MutexGuard wait_for_those_who_look(mutex_);
}

template <class See>
void ThreadPlace::each_current(See see) const {
  MutexGuard guard(mutex_);
  looking_.fetch_add(1);
  for (const Worker& worker : workers_) {
    see(worker, worker.current.load());
    for (const Nested* nested = nested_; nested != nullptr; nested = nested->next)
      if (nested->worker == &worker) see(worker, nested->task);
  }
  looking_.fetch_sub(1);
}

void ThreadPlace::run_here(Task& task) noexcept {
  Nested here{self_, &task};
  {
    MutexGuard guard(mutex_);
    Nested** end = &nested_;
    while (*end != nullptr) end = &(*end)->next;
    *end = &here;
  }
  run_in_this_thread(*WorkerScope::current(), task);
  MutexGuard guard(mutex_);
  Nested** at = &nested_;
  while (*at != &here) at = &(*at)->next;
  *at = here.next;
}

void ThreadPlace::stop(Task& task, Why why) noexcept {
  const std::shared_ptr<ExecutorCore> core = core_.lock();
  if (!task.state().claim_running()) return;
  if (why != Why::Cancelled) task.state().write_error(stop_error(task, why));
  core->finished(task, why == Why::Cancelled ? FutureState::Outcome::Cancelled : FutureState::Outcome::Error);
  task.request_stop();
}

bool ThreadPlace::join(const Deadline& deadline) {
  // None is added: the core is closed. They are not held by the mutex, for who looks at them meanwhile.
  std::vector<Thread*> threads;
  {
    MutexGuard guard(mutex_);
    for (Worker& worker : workers_) threads.push_back(&*worker.thread);
  }
  for (Thread* const thread : threads) {
    if (deadline.is_never()) {
      thread->join();
    } else if (!thread->join_for(deadline.left(Deadline::Clock::duration::max()))) {
      return false;
    }
  }
  return true;
}

std::vector<GivenUpTask> ThreadPlace::give_up() {
  std::vector<GivenUpTask> given_up;
  std::vector<TaskPtr> running;
  each_current([&](const Worker& worker, Task* task) {
    if (task == nullptr || !task->state().running()) return;
    given_up.push_back({{}, worker.thread->name()});
    task->state().add_reference();
    running.emplace_back(task);
  });
  for (const TaskPtr& task : running) stop(*task, Why::ShutDown);
  // Without the mutex: finding the name of a function may take the time of many tasks.
  for (std::size_t at = 0; at < running.size(); ++at) given_up[at].name = running[at]->name();
  return given_up;
}

std::vector<WorkerInfo> ThreadPlace::workers() const {
  std::vector<WorkerInfo> all;
  std::vector<TaskPtr> running;  // Of each the innermost.
  const Worker* last = nullptr;
  each_current([&](const Worker& worker, Task* task) {
    if (!worker.thread->is_alive()) return;
    if (task != nullptr) task->state().add_reference();
    if (std::exchange(last, &worker) == &worker) {
      running.back().reset(task);
      return;
    }
    running.emplace_back(task);
    all.push_back({worker.thread->name(), current_process().pid, worker.thread->native_id().value_or(0), {}});
  });
  // Without the mutex, as in give_up().
  for (std::size_t at = 0; at < all.size(); ++at)
    if (running[at] != nullptr) all[at].task = running[at]->name();
  return all;
}

}  // namespace tandem::detail
