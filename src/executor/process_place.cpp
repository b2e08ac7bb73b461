#include "executor/process_place.hpp"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <stdexcept>
#include <utility>

#include <tandem/detail/remote_task.hpp>
#include <tandem/error.hpp>

#include "core/check.hpp"
#include "core/exception_text.hpp"
#include "core/kill_point.hpp"
#include "executor/cpu_budget.hpp"
#include "process/limits.hpp"
#include "wire/exceptions.hpp"

namespace tandem::detail {
namespace {

// How often the pool's thread looks by itself whether all is well.
constexpr std::chrono::seconds kLook{1};
constexpr std::size_t kMostResults = 1024;
// How soon it is tried again to hand out what could not be handed out.
constexpr std::chrono::milliseconds kFillAgain{100};
// How soon it is looked again whether a task with a deadline has begun, at the earliest.
constexpr std::chrono::milliseconds kStartLook{100};
// Workers that die one after the other before any of them is ready: what keeps them from it will not go away. Those
// that were killed may have met somebody who kills one now and then.
constexpr unsigned kMostFailedStarts = 10;
constexpr unsigned kMostKilledStarts = 100;

std::atomic<bool> take_back_always{false};

}  // namespace

void take_back_behind_long_tasks() noexcept {
  take_back_always.store(true, std::memory_order_relaxed);
}

void ProcessPlace::open(std::shared_ptr<ExecutorCore> core) {
  core_ = core.get();
  limit_ = core->worker_limit();
  const ExecutorOptions& options = core->options();
  if (options.gil) throw std::invalid_argument("processes share no Gil: the option is for a ThreadExecutor");
  if (options.terminate_grace < std::chrono::milliseconds::zero())
    throw std::invalid_argument("a grace time must not be negative");
  if (options.worker_memory_bytes == std::uint64_t{0})
    throw std::invalid_argument("a worker cannot have at most 0 bytes of memory");
  budget_ = cpu_budget_for_pool(limit_);
  tell_of_interrupts();
}

void ProcessPlace::check(const TaskOptions& options) const {
  check_limits(options);
}

void ProcessPlace::more_work() {
  MutexGuard guard(mutex_);
  if (!thread_) {
    thread_.emplace(ThreadOptions{.name = core_->name() + "-pool", .daemon = false},
                    [this, core = core_->shared_from_this()] { run(); });
    try {
      thread_->start();
    } catch (...) {
      thread_.reset();
      throw;
    }
  }
  fill();
}

PoolWorker* ProcessPlace::worker(std::uint64_t id) {
  const auto found =
      std::find_if(workers_.begin(), workers_.end(), [id](const WorkerPtr& worker) { return worker->id() == id; });
  return found == workers_.end() ? nullptr : found->get();
}

PoolWorker* ProcessPlace::free_worker() {
  const auto found =
      std::find_if(workers_.begin(), workers_.end(), [](const WorkerPtr& worker) { return worker->is_free(); });
  return found == workers_.end() ? nullptr : found->get();
}

PoolWorker* ProcessPlace::worker_with_room() {
  const auto found =
      std::find_if(workers_.begin(), workers_.end(), [](const WorkerPtr& worker) { return worker->room() > 0; });
  return found == workers_.end() ? nullptr : found->get();
}

bool ProcessPlace::start_worker() {
  // The lowest number that is not in use: "parser-0" again for the one that takes its place.
  std::size_t number = 0;
  std::string name;
  do name = core_->name() + "-" + std::to_string(number++);
  while (
      std::any_of(workers_.begin(), workers_.end(), [&](const WorkerPtr& worker) { return worker->name() == name; }));
  try {
    workers_.push_back(std::make_unique<PoolWorker>(
        PoolWorker::Start{++last_worker_, name, core_->options(), results_, budget_, initializer_}));
  } catch (...) {
    if (workers_.empty()) throw;
    return false;  // Those that there are will do.
  }
  return true;
}

void ProcessPlace::fill() {
  if (closing_ || given_up_) return;
  for (bool start_failed = false;;) {
    PoolWorker* chosen = free_worker();
    const bool is_free = chosen != nullptr;
    if (chosen == nullptr) chosen = worker_with_room();
    if (chosen != nullptr && send_to(*chosen, is_free)) continue;
    const bool may_start = !start_failed && workers_.size() < limit_;
    if (!is_free && !may_start) return core_->call_for_more_work(false);
    if (!is_free && core_->has_queued()) {
      // Behind the others, which have work while this takes its time.
      start_failed = !start_worker();
      continue;
    }
    // Another task may have come by now, which its submitter left to this.
    core_->call_for_more_work(true);
    if (!core_->has_queued()) return;
  }
}

bool ProcessPlace::send_to(PoolWorker& worker, bool is_free) {
  core_->take(std::max<std::size_t>(1, worker.room()), limit_, runs_alone, is_free, taken_);
  if (taken_.empty()) return false;
  try {
    worker.send(taken_);
  } catch (...) {
    while (!taken_.empty()) {
      core_->give_back(*taken_.back());
      taken_.pop_back();
    }
    throw;
  }
  return true;
}

void ProcessPlace::fill_or_break() noexcept {
  std::string reason;
  {
    MutexGuard guard(mutex_);
    fill_failed_ = false;
    try {
      return fill();
    } catch (const std::exception& error) {
      fill_failed_ = true;
      // The arena is full, say: what those workers have in hand gives memory back.
      if (!workers_.empty()) return;
      reason = error.what();
    }
  }
  broken_ = "the executor " + core_->name() + " has no worker and can have none: " + reason;
  core_->broke(broken_);
}

void ProcessPlace::run() {
  std::vector<ResultQueueItem> items;
  std::vector<Told> told;
  std::vector<WorkerPtr> gone;
  Clock::duration wait{};
  for (;;) {
    {
      MutexGuard guard(mutex_);
      wait = see_to_workers();
      if (all_gone()) return;
    }
    items = results_.get_many_for(kMostResults, wait);
    if (items.empty() && wait >= kLook) find_lost_workers();
    {
      MutexGuard guard(mutex_);
      take_in(items, told, gone);
    }
    // Told before others are begun: a callback may want to cancel them.
    for (Told& one : told) tell(one);
    for (const WorkerPtr& worker : gone) bury(*worker);
    fill_or_break();
    told.clear();
    gone.clear();
  }
}

void ProcessPlace::take_in(const std::vector<ResultQueueItem>& items, std::vector<Told>& told,
                           std::vector<WorkerPtr>& gone) {
  for (const ResultQueueItem& item : items) {
    const auto head = MessageReader(item.first).read<ResultHead>();
    PoolWorker* const from = worker(head.worker);
    if (from == nullptr) continue;
    switch (head.kind) {
      case ResultHead::kReady:
        from->note_ready();
        failed_starts_ = 0;
        break;
      case ResultHead::kInitializerFailed:
        from->close();
        told.push_back({nullptr, head, &item});
        break;
      case ResultHead::kGone: {
        const auto place = std::find_if(workers_.begin(), workers_.end(),
                                        [&](const WorkerPtr& worker) { return worker.get() == from; });
        // What it had not begun costs nothing but time.
        take_back(**place);
        gone.push_back(std::move(*place));
        workers_.erase(place);
        break;
      }
      case ResultHead::kWake:
        break;
      default:
        failed_starts_ = 0;
        note_result_in_trace(*from, head);
        if (TaskPtr task = from->take_result(head)) told.push_back({std::move(task), head, &item});
    }
  }
}

void ProcessPlace::tell(Told& told) noexcept {
  MessageReader reader(told.item->first);
  static_cast<void>(reader.read<ResultHead>());
  std::span<const std::byte> bytes = reader.rest();
  if (told.item->second) {
    const auto [begin, size] = parcel_bytes(*told.item->second->object());
    bytes = {begin, size};
  }
  std::exception_ptr error;
  try {
    if (told.head.kind == ResultHead::kValue) {
      if (!told.task->state().claim_running()) return;
      Decoder decoder(bytes);
      auto& task = static_cast<RemoteTask&>(*told.task);
      const FutureState::Outcome outcome = task.take_result(decoder);
      task.forget();
      return core_->finished(task, outcome);
    }
    if (told.head.kind == ResultHead::kOutOfMemory) {
      MessageReader numbers(bytes);
      const auto limit = numbers.read<std::uint64_t>();
      const auto peak = numbers.read<std::uint64_t>();
      error = std::make_exception_ptr(OutOfMemory("the task " + told.task->name() + " wanted more memory than the " +
                                                      std::to_string(limit) + " bytes that it may have; it had " +
                                                      std::to_string(peak) + " at the most",
                                                  limit, peak));
    } else {
      error = decode_exception(bytes);
    }
  } catch (const std::exception&) {
    error = std::current_exception();
  }
  if (told.task != nullptr) return core_->failed(*told.task, std::move(error));
  const ExceptionInfo info = describe_exception(error);
  broken_ = "the initializer of the executor " + core_->name() + " failed: " + info.type_name + ": " + info.what;
  core_->broke(broken_);
}

void ProcessPlace::bury(PoolWorker& worker) noexcept {
  if (Task* const task = worker.current()) {
    if (task->state().running()) note_in_trace(worker, *task, worker.heard());
    core_->failed(*task, worker.death_of(*task));
  }
  if (!worker.was_ready() && broken_.empty()) {
    const CrashReport report = worker.report();
    const bool was_killed = report.signal == SIGKILL || report.signal == SIGTERM;
    const bool by_initializer = initializer_ && !was_killed;
    if (by_initializer || ++failed_starts_ >= (was_killed ? kMostKilledStarts : kMostFailedStarts))
      broken_ = "the executor " + core_->name() + " has no workers: " + worker.name() +
                (by_initializer ? " died in its initializer: " : " died before it was ready, as others before it: ") +
                report.to_string();
  }
  TANDEM_KILL_POINT("pool.buried");
  // What came back when nobody can run it.
  if (!broken_.empty()) core_->broke(broken_);
}

ProcessPlace::Clock::duration ProcessPlace::see_to_workers() {
  const Clock::time_point now = Clock::now();
  Clock::duration wait = fill_failed_ ? Clock::duration(kFillAgain) : kLook;
  const bool others_can =
      take_back_always.load(std::memory_order_relaxed) || free_worker() != nullptr || workers_.size() < limit_;
  bool idle = true;
  for (const WorkerPtr& worker : workers_) {
    worker->kill_if_due();
    wait = worker->kill_at().left(wait);
    if (!worker->is_idle()) idle = false;
    // Also one that was given all that it may run.
    if (!worker->has_waiting() || !others_can) continue;
    const Clock::duration silent = now - worker->heard();
    if (silent < PoolWorker::kLongTask) {
      wait = std::min<Clock::duration>(wait, PoolWorker::kLongTask - silent);
    } else {
      worker->note_long_task();
      if (take_back(*worker)) wait = Clock::duration::zero();
    }
  }
  if (idle && !closing_ && !core_->is_open() && !core_->has_queued()) {
    closing_ = true;
    for (const WorkerPtr& worker : workers_) worker->close();
  }
  return std::max(wait, Clock::duration::zero());
}

bool ProcessPlace::take_back(PoolWorker& worker) {
  const std::vector<TaskPtr> tasks = worker.take_back();
  for (const TaskPtr& task : tasks) core_->give_back(*task);
  return !tasks.empty();
}

bool ProcessPlace::all_gone() {
  return closing_ && workers_.empty();
}

void ProcessPlace::find_lost_workers() {
  MutexGuard guard(mutex_);
  for (const WorkerPtr& worker : workers_) {
    if (worker->child().is_alive()) continue;
    ResultQueueItem item;
    append(item.first, ResultHead{worker->id(), 0, ResultHead::kGone, 0});
    try {
      results_.put(item);
    } catch (const std::system_error&) {
      // The arena is still full: next time.
    }
  }
}

void ProcessPlace::wake() noexcept {
  try {
    ResultQueueItem item;
    append(item.first, ResultHead{0, 0, ResultHead::kWake, 0});
    results_.put(item);
  } catch (const std::exception&) {
    // The arena is full: it looks by itself, a little later.
  }
}

void ProcessPlace::closed() noexcept {
  wake();
}

void ProcessPlace::note_in_trace(const PoolWorker& worker, const Task& task, Clock::time_point since) const noexcept {
  if (core_->trace() != nullptr) core_->trace()->ran(task, worker.name(), worker.child().pid().value_or(0), since);
}

void ProcessPlace::note_result_in_trace(const PoolWorker& worker, const ResultHead& head) const noexcept {
  const Task* const task = core_->trace() != nullptr ? worker.task(head) : nullptr;
  if (task == nullptr || !task->state().running()) return;
  // A result can tell some seconds at the most. One that took longer did not wait behind another.
  const bool tells_all = head.nanoseconds != std::numeric_limits<std::uint32_t>::max();
  note_in_trace(worker, *task, tells_all ? Clock::now() - std::chrono::nanoseconds(head.nanoseconds) : worker.heard());
}

void ProcessPlace::terminate(PoolWorker& worker) {
  worker.terminate(core_->options().terminate_grace);
  wake();
}

ProcessPlace::Clock::duration ProcessPlace::time_left(const Task& task, const PoolWorker& worker) const {
  const std::chrono::nanoseconds deadline = *task.options().deadline;
  const std::optional<Clock::time_point> started = worker.started();
  return started ? deadline - (Clock::now() - *started) : std::max<Clock::duration>(deadline, kStartLook);
}

void ProcessPlace::stop(Task& task, Why why) noexcept {
  bool settle = false;
  {
    MutexGuard guard(mutex_);
    const auto found =
        std::find_if(workers_.begin(), workers_.end(), [&](const WorkerPtr& worker) { return worker->has(task); });
    if (found == workers_.end()) {
      // It has ended, and the pool's thread is about to say how.
      settle = why != Why::Deadline && task.state().claim_running();
    } else if (const Clock::duration left = why == Why::Deadline ? time_left(task, **found) : Clock::duration::zero();
               left > Clock::duration::zero()) {
      // The time counts from its start, and the worker took some to come to it.
      core_->watch(task, left);
      TANDEM_KILL_POINT("pool.deadline_later");
    } else {
      PoolWorker& worker = **found;
      // First of all it must begin no other one, which would die in the place of this one.
      std::vector<TaskPtr> waiting = worker.take_back();
      // One that has ended, and whose result is on its way, is not what the worker runs now.
      const bool is_begun = worker.has(task) && !worker.has_ended(task);
      if (is_begun && task.state().running()) note_in_trace(worker, task, worker.heard());
      const bool again = why == Why::Deadline && task.attempts() <= task.options().retries;
      settle = (!again || !is_begun) && task.state().claim_running();
      for (const TaskPtr& other : waiting) core_->give_back(*other);
      if (is_begun && (settle || (again && task.state().running()))) {
        if (again) worker.set_stop_error(stop_error(task, why));
        terminate(worker);
      } else {
        wake();
      }
    }
  }
  if (!settle) return;
  task.forget();
  if (why != Why::Cancelled) task.state().write_error(stop_error(task, why));
  core_->finished(task, why == Why::Cancelled ? FutureState::Outcome::Cancelled : FutureState::Outcome::Error);
}

bool ProcessPlace::in_own_thread() const {
  MutexGuard guard(mutex_);
  return is_current(thread_);
}

bool ProcessPlace::join(const Deadline& deadline) {
  Thread* thread = nullptr;
  {
    MutexGuard guard(mutex_);
    if (!thread_) return true;
    thread = &*thread_;
  }
  return thread->join_for(deadline.left(std::chrono::hours(24 * 365)));
}

std::vector<GivenUpTask> ProcessPlace::give_up() {
  std::vector<GivenUpTask> given_up;
  std::vector<TaskPtr> running;
  {
    MutexGuard guard(mutex_);
    given_up_ = true;
    for (const WorkerPtr& worker : workers_) {
      take_back(*worker);
      // One that is not ready may be in its initializer for ever.
      if (!worker->was_ready()) terminate(*worker);
      worker->each_in_flight([&](Task& task) {
        if (!task.state().running()) return;
        given_up.push_back({{}, worker->name()});
        task.state().add_reference();
        running.emplace_back(&task);
      });
    }
  }
  for (const TaskPtr& task : running) stop(*task, Why::ShutDown);
  for (std::size_t at = 0; at < running.size(); ++at) given_up[at].name = running[at]->name();
  return given_up;
}

void ProcessPlace::run_here(Task& task) noexcept {
  TANDEM_CHECK(false, task.executor(), core_->id());  // No thread of this process runs tasks of this place.
}

std::optional<std::uint64_t> ProcessPlace::begun_items() const {
  std::uint64_t items = 0;
  MutexGuard guard(mutex_);
  for (const WorkerPtr& worker : workers_)
    if (const Task* const task = worker->current()) items += task->items();
  return items;
}

std::vector<WorkerInfo> ProcessPlace::workers() const {
  std::vector<WorkerInfo> all;
  std::vector<TaskPtr> running;
  {
    MutexGuard guard(mutex_);
    for (const WorkerPtr& worker : workers_) {
      if (!worker->child().is_alive()) continue;
      const pid_t pid = worker->child().pid().value_or(0);
      all.push_back({worker->name(), pid, pid, {}});
      Task* const task = worker->current();
      if (task != nullptr) task->state().add_reference();
      running.emplace_back(task);
    }
  }
  // Without the mutex: finding the name of a function may take the time of many tasks.
  for (std::size_t at = 0; at < all.size(); ++at)
    if (running[at] != nullptr) all[at].task = running[at]->name();
  return all;
}

}  // namespace tandem::detail
