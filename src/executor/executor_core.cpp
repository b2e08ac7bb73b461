#include "executor/executor_core.hpp"

#include <algorithm>
#include <climits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <tandem/cpu.hpp>
#include <tandem/error.hpp>

#include "core/blocking.hpp"
#include "core/exception_text.hpp"
#include "core/kill_point.hpp"
#include "core/log.hpp"
#include "executor/executors.hpp"
#include "thread/thread_registry.hpp"

namespace tandem::detail {
namespace {

// More than any machine runs at once; what is larger is a negative number that was turned into an unsigned one.
constexpr std::size_t kMostWorkers = 65536;

thread_local WorkerScope* t_worker = nullptr;

ExecutorOptions named(ExecutorOptions options, std::uint64_t id) {
  if (options.name_prefix.empty()) options.name_prefix = "Executor-" + std::to_string(id);
  return options;
}

/// For traces.
std::string_view name_of(FutureState::Outcome outcome) {
  return outcome == FutureState::Outcome::Value   ? "done"
         : outcome == FutureState::Outcome::Error ? "failed"
                                                  : "cancelled";
}

void check_task(const TaskOptions& options) {
  if (options.deadline && *options.deadline <= std::chrono::nanoseconds::zero())
    throw std::invalid_argument("a task's deadline must be above zero");
}

}  // namespace

void ExecutorCore::check(const ExecutorOptions& options) {
  if (options.workers && (*options.workers == 0 || *options.workers > kMostWorkers))
    throw std::invalid_argument("an executor cannot have " + std::to_string(*options.workers) + " workers, only 1 to " +
                                std::to_string(kMostWorkers));
  if (options.backlog_limit == std::size_t{0})
    throw std::invalid_argument("a backlog limit of 0 lets no task in: it must be at least 1");
  if (options.backlog_wait < std::chrono::nanoseconds::zero() && options.backlog_wait)
    throw std::invalid_argument("a time to wait for room in the backlog must not be negative");
  if (options.tasks_per_child == std::size_t{0})
    throw std::invalid_argument("a worker cannot be replaced after 0 tasks, only after 1 or more");
  check_task(options.task);
}

std::shared_ptr<ExecutorCore> ExecutorCore::make(ExecutorOptions options, std::unique_ptr<Place> place) {
  if (!options.workers) options.workers = cpu_count();
  check(options);
  place->check(options.task);
  const std::shared_ptr<ExecutorCore> core(new ExecutorCore(std::move(options), std::move(place)));
  register_executor(core);
  core->place_->open(core);
  return core;
}

ExecutorCore::ExecutorCore(ExecutorOptions options, std::unique_ptr<Place> place)
    : id_(next_executor_id()),
      fork_generation_(ThreadRegistry::instance().fork_generation()),
      options_(named(std::move(options), id_)),
      trace_(TaskTrace::make(options_)),
      place_(std::move(place)) {}

ExecutorCore::~ExecutorCore() {
  forget_executor(id_);
}

bool ExecutorCore::in_own_process() const noexcept {
  return fork_generation_ == ThreadRegistry::instance().fork_generation();
}
bool ExecutorCore::in_own_thread() const {
  return WorkerScope::current() == this || place_->in_own_thread();
}
void ExecutorCore::check_process() const {
  if (!in_own_process())
    throw StateError("the executor " + name() + " belongs to the process that this one was forked off");
}
void ExecutorCore::refuse() {
  MutexGuard guard(mutex_);
  if (broken_) std::rethrow_exception(broken_);
  throw ExecutorShutDown("the executor " + name() + " was shut down: it takes no more tasks");
}

void ExecutorCore::submit(Task& task) {
  check_process();
  if (task.own_options_) {
    check_task(*task.own_options_);
    place_->check(*task.own_options_);
  }
  task.options_ = task.own_options_ ? task.own_options_.get() : &options_.task;
  if (task.options_->retries > 0 && !task.repeatable())
    throw std::invalid_argument("a task whose callable or arguments cannot be copied cannot be tried again");
  task.executor_ = id_;
  if (!open_.load(std::memory_order_relaxed)) refuse();
  if (task.options_->deadline) clock_.start(*this);
  if (options_.backlog_limit && WorkerScope::current() != this) {
    put_in_queue(task);
  } else {
    put_in_inbox(task);
  }
  if (sleeping_.load(std::memory_order_seq_cst)) ring();
  if (!open_.load(std::memory_order_seq_cst) && take_back(task)) refuse();
  if (growing_.load(std::memory_order_seq_cst)) grow(task);
}

bool ExecutorCore::take_back(Task& task) noexcept {
  if (!task.state().claim_pending()) return false;
  TaskPtr held;
  {
    MutexGuard guard(mutex_);
    if (remove(task)) held.reset(&task);
    submitted_ -= task.items();
  }
  task.forget();
  task.state().settle(FutureState::Outcome::Cancelled);
  return true;
}

void ExecutorCore::grow(Task& task) {
  {
    MutexGuard guard(mutex_);
    take_in();
    if (static_cast<std::ptrdiff_t>(queue_.size()) <= free_workers_.load(std::memory_order_relaxed)) return;
  }
  try {
    place_->more_work();
  } catch (...) {
    if (take_back(task)) throw;  // Otherwise somebody was there to begin it after all.
  }
}

void ExecutorCore::take_in() {
  Task* latest = inbox_.exchange(nullptr, std::memory_order_seq_cst);
  Task* first = nullptr;
  while (latest != nullptr) {
    Task* const before = latest->next_;
    latest->next_ = first;
    first = latest;
    latest = before;
  }
  if (submitted_ == 0 && first != nullptr) begun_ = std::chrono::steady_clock::now();
  while (first != nullptr) {
    Task* const task = first;
    first = task->next_;
    queue_.push_back(*task);
    submitted_ += task->items();
    queued_ += task->items();
  }
}

void ExecutorCore::ring() noexcept {
  if (!sleeping_.exchange(false, std::memory_order_seq_cst)) return;
  bell_.fetch_add(1, std::memory_order_relaxed);
  futex_wake(bell_, 1);
}

void ExecutorCore::wake_all() noexcept {
  bell_.fetch_add(1, std::memory_order_seq_cst);
  futex_wake(bell_, INT_MAX);
  {
    MutexGuard guard(mutex_);
    static_cast<void>(room_.announce());
  }
  room_.wake_all();
}

void ExecutorCore::put_in_inbox(Task& task) noexcept {
  task.state().add_reference();
  task.next_ = inbox_.load(std::memory_order_relaxed);
  while (!inbox_.compare_exchange_weak(task.next_, &task, std::memory_order_seq_cst, std::memory_order_relaxed))
    continue;
}

void ExecutorCore::put_in_queue(Task& task) {
  const Deadline deadline = options_.backlog_wait ? Deadline::after(*options_.backlog_wait) : Deadline::never();
  for (bool slept = false;; slept = true) {
    WaitPoint::Ticket ticket = 0;
    {
      MutexGuard guard(mutex_);
      take_in();
      if (queue_.size() < *options_.backlog_limit || !open_.load(std::memory_order_relaxed)) {
        if (slept) room_.resume();
        put_in_inbox(task);
        take_in();
        return;
      }
      ticket = room_.prepare();
    }
    if (deadline.passed())
      throw BacklogFull("the executor " + name() + " has " + std::to_string(*options_.backlog_limit) +
                        " tasks waiting, which is its limit");
    BlockingSection blocking;
    room_.sleep(ticket, deadline);
  }
}

TaskPtr ExecutorCore::next(const Deadline& deadline, std::atomic<Task*>* taken) {
  for (bool slept = false;;) {
    TaskPtr task;
    std::uint32_t ticket = 0;
    bool begun = false, more = false, room = false;
    {
      MutexGuard guard(mutex_);
      if (slept) --waiting_;
      if (queue_.empty()) take_in();
      task.reset(queue_.pop_front());
      if (task != nullptr) {
        begun = begin(*task);
        if (begun) {
          free_workers_.fetch_sub(1, std::memory_order_relaxed);
          if (taken != nullptr) taken->store(task.get());
        }
        more = slept && pass_on();
        room = options_.backlog_limit && room_.announce();
      } else {
        if (deadline.passed()) return nullptr;
        ticket = bell_.load(std::memory_order_relaxed);
        sleeping_.store(true, std::memory_order_seq_cst);
        if (inbox_.load(std::memory_order_seq_cst) == nullptr && !open_.load(std::memory_order_seq_cst)) return nullptr;
        ++waiting_;
      }
    }
    slept = task == nullptr;
    if (more) ring();
    if (room) room_.wake_one();
    if (slept) {
      wait_for_task(ticket, deadline);
    } else if (begun) {
      watch(*task);
      return task;
    }
  }
}

bool ExecutorCore::pass_on() {
  if (waiting_ == 0) return false;
  // Who has slept was woken for all that sleep: it wakes the next one, or the next task does.
  sleeping_.store(true, std::memory_order_seq_cst);
  return !queue_.empty() || inbox_.load(std::memory_order_seq_cst) != nullptr;
}

void ExecutorCore::wait_for_task(std::uint32_t ticket, const Deadline& deadline) {
  const auto something_to_do = [this, ticket] {
    return inbox_.load(std::memory_order_relaxed) != nullptr || bell_.load(std::memory_order_relaxed) != ticket;
  };
  BlockingSection blocking;
  if (!spin_briefly(something_to_do)) futex_wait(bell_, ticket, deadline);
}

bool ExecutorCore::begin(Task& task) {
  if (!task.state().start()) return false;  // Cancelled, and about to be withdrawn.
  task.attempts_.fetch_add(1, std::memory_order_relaxed);
  queued_ -= task.items();
  return true;
}

void ExecutorCore::watch(Task& task, std::chrono::nanoseconds time) {
  TANDEM_KILL_POINT("executor.watch");
  clock_.watch(task, time);
  // Who settled it meanwhile has told the clock so, too early: it would keep the result until the time is over.
  if (!task.state().running()) clock_.forget(task);
}

bool ExecutorCore::remove(Task& task) {
  take_in();
  queued_ -= task.items();
  return queue_.remove(task);
}

void ExecutorCore::wake_submitter() noexcept {
  if (!options_.backlog_limit) return;
  bool wake = false;
  {
    MutexGuard guard(mutex_);
    wake = room_.announce();
  }
  if (wake) room_.wake_one();
}

void ExecutorCore::take(std::size_t most, std::size_t sharers, bool (*alone)(const Task& task), bool may_be_alone,
                        std::vector<TaskPtr>& tasks) {
  const std::size_t before = tasks.size();
  bool wake_submitter = false;
  {
    MutexGuard guard(mutex_);
    take_in();
    most = std::min(most, (queue_.size() + sharers - 1) / sharers);
    while (tasks.size() - before < most && !queue_.empty()) {
      const bool is_alone = alone(*queue_.first());
      if (is_alone && (!may_be_alone || tasks.size() > before)) break;
      TaskPtr task(queue_.pop_front());
      if (!begin(*task)) continue;
      tasks.push_back(std::move(task));
      if (is_alone) break;
    }
    wake_submitter = options_.backlog_limit && room_.announce();
  }
  if (wake_submitter) room_.wake_all();  // Several may have room now.
  for (std::size_t at = before; at < tasks.size(); ++at) watch(*tasks[at]);
}

void ExecutorCore::give_back(Task& task) noexcept {
  if (task.options().deadline) clock_.forget(task);
  MutexGuard guard(mutex_);
  if (!task.state().unstart()) return;
  --task.attempts_;
  task.state().add_reference();
  queue_.push_front(task);
  queued_ += task.items();
}

void ExecutorCore::end_backlog() noexcept {
  std::exception_ptr broken;
  {
    MutexGuard guard(mutex_);
    broken = broken_;
  }
  if (broken != nullptr) {
    broke(describe_exception(broken).what);
  } else {
    static_cast<void>(close(Backlog::Cancel));
  }
}

bool ExecutorCore::has_queued() {
  if (inbox_.load(std::memory_order_seq_cst) != nullptr) return true;
  MutexGuard guard(mutex_);
  return !queue_.empty();
}

void ExecutorCore::finished(Task& task, FutureState::Outcome outcome) noexcept {
  std::atomic<std::uint64_t>& count = outcome == FutureState::Outcome::Value   ? done_
                                      : outcome == FutureState::Outcome::Error ? failed_
                                                                               : cancelled_;
  count.fetch_add(task.items(), std::memory_order_relaxed);
  if (const std::uint64_t again = task.retried_items(); again > 0) retried_.fetch_add(again, std::memory_order_relaxed);
  if (task.options().deadline) clock_.forget(task);
  if (trace_ != nullptr) trace_->ended(task, name_of(outcome), task.state().error());
  // The worker comes back at once: who waited for this result needs no other worker for the next task. Not if it may be
  // long in a callback.
  if (!task.state().has_continuations()) WorkerScope::free_of(task);
  task.state().settle(outcome);
}

void ExecutorCore::failed(Task& task, std::exception_ptr error, bool final_error) noexcept {
  if (!final_error && task.attempts() <= task.options().retries) {
    if (task.options().deadline) clock_.forget(task);
    MutexGuard guard(mutex_);
    if (broken_ == nullptr && !given_up_.load() && task.state().unstart()) {
      if (trace_ != nullptr) trace_->ended(task, "retried", error);
      task.state().add_reference();
      queue_.push_back(task);
      queued_ += task.items();
      retried_.fetch_add(task.items(), std::memory_order_relaxed);
      return;  // The place asks for the next one now.
    }
  }
  fail(task, std::move(error));
}

bool ExecutorCore::failed_here(Task& task, std::exception_ptr error, bool final_error) noexcept {
  if (final_error || task.attempts() > task.options().retries || given_up_.load() || !task.state().running()) {
    fail(task, std::move(error));
    return false;
  }
  if (task.options().deadline) clock_.forget(task);
  if (trace_ != nullptr) trace_->ended(task, "retried", error);
  retried_.fetch_add(task.items(), std::memory_order_relaxed);
  task.attempts_.fetch_add(1, std::memory_order_relaxed);
  watch(task);
  return true;
}

void ExecutorCore::fail(Task& task, std::exception_ptr error) noexcept {
  task.forget();
  if (!task.state().claim_running()) return;
  task.state().write_error(without_exit_request(std::move(error)));
  finished(task, FutureState::Outcome::Error);
}

void ExecutorCore::withdraw(Task& task) noexcept {
  TaskPtr held;
  {
    MutexGuard guard(mutex_);
    if (remove(task)) held.reset(&task);
    cancelled_.fetch_add(task.items(), std::memory_order_relaxed);
  }
  wake_submitter();
  if (trace_ != nullptr) trace_->ended(task, name_of(FutureState::Outcome::Cancelled), nullptr);
}

bool ExecutorCore::run_here(Task& task) noexcept {
  TaskPtr held;
  {
    MutexGuard guard(mutex_);
    if (!begin(task)) return false;
    take_in();
    if (queue_.remove(task)) held.reset(&task);
  }
  wake_submitter();
  watch(task);
  place_->run_here(task);
  return true;
}

std::vector<TaskPtr> ExecutorCore::claim_queued() {
  std::vector<TaskPtr> claimed;
  claimed.reserve(queue_.size());
  for (Task* task = queue_.first(); task != nullptr; task = TaskQueue::after(*task)) {
    if (!task->state().claim_pending()) continue;  // Somebody cancels it at this moment.
    task->state().add_reference();
    claimed.emplace_back(task);
  }
  return claimed;
}

std::size_t ExecutorCore::close(Backlog backlog) {
  check_process();
  std::vector<TaskPtr> claimed;
  {
    MutexGuard guard(mutex_);
    open_.store(false, std::memory_order_seq_cst);
    take_in();
    if (backlog == Backlog::Cancel) claimed = claim_queued();
  }
  for (const TaskPtr& task : claimed) {
    withdraw(*task);
    task->forget();
    task->state().settle(FutureState::Outcome::Cancelled);
  }
  wake_all();
  place_->closed();
  return claimed.size();
}

ShutdownReport ExecutorCore::shutdown(Backlog backlog, const Deadline& deadline) {
  check_process();
  if (in_own_thread())
    throw StateError("a task of the executor " + name() +
                     ", or a callback of its result, shuts it down: it would wait " + "for itself");
  ShutdownReport report;
  report.cancelled = close(backlog);
  if (!given_up_.load() && !place_->join(deadline)) {
    given_up_.store(true);  // Nothing comes back to be tried again from here on.
    report.cancelled += close(Backlog::Cancel);
    report.given_up = place_->give_up();
    report.cancelled += close(Backlog::Cancel);  // What workers had and had not begun.
  }
  clock_.stop();
  return report;
}

void ExecutorCore::broke(std::exception_ptr reason) noexcept {
  const ExceptionInfo info = describe_exception(reason);
  broke("the initializer of the executor " + name() + " failed: " + info.type_name + ": " + info.what);
}

void ExecutorCore::broke(const std::string& text) noexcept {
  std::vector<TaskPtr> claimed;
  bool first = false;
  {
    MutexGuard guard(mutex_);
    first = broken_ == nullptr;
    if (first) broken_ = std::make_exception_ptr(BrokenExecutor(text));
    open_.store(false, std::memory_order_seq_cst);
    take_in();
    claimed = claim_queued();
  }
  if (first) log_line(LogLevel::Error, "{}", text);
  for (const TaskPtr& task : claimed) {
    {
      MutexGuard guard(mutex_);
      if (remove(*task)) task->state().drop_reference();  // Not the last: `claimed` has another.
    }
    task->forget();
    task->state().write_error(std::make_exception_ptr(BrokenExecutor(text)));
    finished(*task, FutureState::Outcome::Error);
  }
  wake_all();
  place_->closed();
}

std::vector<WorkerInfo> ExecutorCore::workers() const {
  check_process();
  return place_->workers();
}

ExecutorCounters ExecutorCore::counters() {
  check_process();
  ExecutorCounters counters;
  const std::optional<std::uint64_t> begun = place_->begun_items();
  // Nothing is begun under the mutex, so what has ended was begun: the difference is never negative, and never more
  // than there are workers.
  MutexGuard guard(mutex_);
  take_in();
  counters.submitted = submitted_;
  counters.queued = queued_;
  counters.retried = retried_.load(std::memory_order_acquire);
  counters.done = done_.load(std::memory_order_acquire);
  counters.failed = failed_.load(std::memory_order_acquire);
  counters.cancelled = cancelled_.load(std::memory_order_acquire);
  counters.running = counters.submitted - counters.queued - counters.done - counters.failed - counters.cancelled;
  if (begun && counters.running > *begun) {
    counters.queued += counters.running - *begun;
    counters.running = *begun;
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begun_;
  if (counters.submitted > 0 && time.count() > 0)
    counters.per_second = static_cast<double>(counters.done + counters.failed) / time.count();
  return counters;
}

WorkerScope::WorkerScope(ExecutorCore& core) noexcept : core_(core), outer_(std::exchange(t_worker, this)) {}
WorkerScope::~WorkerScope() {
  t_worker = outer_;
}
ExecutorCore* WorkerScope::current() noexcept {
  return t_worker == nullptr ? nullptr : &t_worker->core_;
}
void WorkerScope::free_of(const Task& task) noexcept {
  if (t_worker == nullptr || t_worker->task_ != &task) return;
  t_worker->task_ = nullptr;
  t_worker->core_.worker_is_free();
}
}  // namespace tandem::detail
