/// The untyped inside of an executor: the queue of its tasks, its state, its counters.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/executor_base.hpp>
#include <tandem/detail/task.hpp>
#include <tandem/executor_options.hpp>

#include "core/mutex.hpp"
#include "executor/place.hpp"
#include "executor/task_clock.hpp"
#include "executor/task_queue.hpp"
#include "executor/task_trace.hpp"
#include "ipc/futex.hpp"

namespace tandem::detail {

struct DropTask {
  void operator()(Task* task) const noexcept { task->state().drop_reference(); }
};
/// Keeps a task, and with it the state of its result, alive.
using TaskPtr = std::unique_ptr<Task, DropTask>;

/// One executor. Kept alive by the executor, by its workers and by the results of its maps.
///
/// Tasks know their core by a number only (find_executor()), so that the many of them do not count references to it: it
/// is needed by a task only if that is cancelled, which is seldom.
class ExecutorCore : public std::enable_shared_from_this<ExecutorCore> {
 public:
  /// Throws std::invalid_argument for options that make no sense.
  static std::shared_ptr<ExecutorCore> make(ExecutorOptions options, std::unique_ptr<Place> place);
  /// What make() checks that is the same for every place: for who has much to do before he has his place. Throws
  /// std::invalid_argument.
  static void check(const ExecutorOptions& options);
  ~ExecutorCore();

  // For the executor.
  void submit(Task& task);
  /// Gives how many tasks were cancelled.
  std::size_t close(Backlog backlog);
  ShutdownReport shutdown(Backlog backlog, const Deadline& deadline);
  ExecutorCounters counters();
  std::vector<WorkerInfo> workers() const;
  const ExecutorOptions& options() const noexcept { return options_; }
  std::size_t worker_limit() const noexcept { return *options_.workers; }
  /// "Executor-3", or the option.
  const std::string& name() const noexcept { return options_.name_prefix; }
  std::uint64_t id() const noexcept { return id_; }
  /// Throws StateError in a process that was forked off the executor's.
  void check_process() const;
  bool in_own_process() const noexcept;
  /// Whether the calling thread runs a task of this executor, or a callback for it: then it cannot wait for its end.
  bool in_own_thread() const;

  // For places.
  /// The next task, now running; waits for one. Null when the executor is closed and has none left, and for ever then,
  /// unless one that is running is to be tried again; or when the deadline has passed. `taken` is set to it before
  /// anybody can find that it is not queued any more.
  TaskPtr next(const Deadline& deadline, std::atomic<Task*>* taken = nullptr);
  /// For places that have workers of their own way to wait: appends up to `most` tasks, now running, but no more than
  /// one in `sharers` of those that wait, rounded up. A task for which `alone` holds is taken only if it
  /// `may_be_alone`, as the first, and then nothing behind it.
  void take(std::size_t most, std::size_t sharers, bool (*alone)(const Task& task), bool may_be_alone,
            std::vector<TaskPtr>& tasks);
  /// Puts a task that was taken and has not been begun after all back to the front; nothing if it is settled by now.
  void give_back(Task& task) noexcept;
  /// For a place that has given up: ends what was given back since, or is to be tried again, as what waited then.
  /// Without a lock of the place: callbacks run.
  void end_backlog() noexcept;
  /// Whether Place::more_work() is to be called. After `true` was said, it is called for every task that was submitted
  /// later than has_queued() was asked.
  void call_for_more_work(bool wanted) noexcept { growing_.store(wanted, std::memory_order_seq_cst); }
  bool has_queued();
  bool is_open() const noexcept { return open_.load(std::memory_order_seq_cst); }
  /// Null if there is none. A place tells it where a task runs.
  TaskTrace* trace() const noexcept { return trace_.get(); }
  /// The deadline of a task that has been handed out, but not been run for so long: it is looked at again after `time`.
  void watch(Task& task, std::chrono::nanoseconds time);
  /// Counts and settles, after claim_running() was won and, for Outcome::Value or Error, the result is written.
  void finished(Task& task, FutureState::Outcome outcome) noexcept;
  /// Puts a task whose attempt failed back for another one, or claims it and settles it with the error. `final_error`:
  /// no other attempt in any case.
  void failed(Task& task, std::exception_ptr error, bool final_error = false) noexcept;
  /// The same where the thread that ran it can run it again: whether it is to do so. Not through the queue: somebody
  /// who waits for it in a full pool would have nobody to run it.
  bool failed_here(Task& task, std::exception_ptr error, bool final_error) noexcept;
  /// Places that start workers for tasks (Place::more_work()) say when there is one more that is free; next() notes
  /// when it gets a task.
  void worker_is_free() noexcept { free_workers_.fetch_add(1, std::memory_order_relaxed); }
  void worker_is_gone() noexcept { free_workers_.fetch_sub(1, std::memory_order_relaxed); }
  /// The initializer of a worker failed: all that is not begun, and all that will come, fails.
  void broke(std::exception_ptr reason) noexcept;
  /// The same for another reason, which the text gives.
  void broke(const std::string& text) noexcept;

  // For tasks.
  /// A pending task was claimed by who cancels it.
  void withdraw(Task& task) noexcept;
  void stop(Task& task, Place::Why why) noexcept { place_->stop(task, why); }
  bool run_here(Task& task) noexcept;

 private:
  ExecutorCore(ExecutorOptions options, std::unique_ptr<Place> place);
  void put_in_inbox(Task& task) noexcept;
  /// For an executor with a limit: waits for room first.
  void put_in_queue(Task& task);
  /// Makes a task that was queued one that runs; false if it is cancelled.
  bool begin(Task& task) TANDEM_REQUIRES(mutex_);
  /// Starts the clock of a task that has begun.
  void watch(Task& task) {
    if (task.options().deadline) watch(task, *task.options().deadline);
  }
  /// Claims and settles a task with its error.
  void fail(Task& task, std::exception_ptr error) noexcept;
  /// Takes a task that was claimed while pending out of the queue and its counter. Whether the queue had a reference,
  /// which is the caller's then: a worker may have dropped the task instead.
  bool remove(Task& task) TANDEM_REQUIRES(mutex_);
  /// There is room in the backlog.
  void wake_submitter() noexcept;
  /// For a worker that was woken and has its task: whether to wake another one.
  bool pass_on() TANDEM_REQUIRES(mutex_);
  /// Claims all that are queued, so that from here on no worker begins one, and has a reference to each: the caller
  /// settles them without the mutex. They stay queued until remove().
  std::vector<TaskPtr> claim_queued() TANDEM_REQUIRES(mutex_);
  /// Moves what is in the inbox to the queue.
  void take_in() TANDEM_REQUIRES(mutex_);
  /// Wakes a worker, if one sleeps that nobody has woken yet.
  void ring() noexcept;
  /// Behind a change of `open_`.
  void wake_all() noexcept;
  void grow(Task& task);
  /// Withdraws a task for its submitter; false if somebody has begun or cancelled it.
  bool take_back(Task& task) noexcept;
  void wait_for_task(std::uint32_t ticket, const Deadline& deadline);
  /// Throws the reason why no task is taken any more.
  [[noreturn]] void refuse();

  const std::uint64_t id_;
  const std::uint32_t fork_generation_;
  ExecutorOptions options_;
  const std::unique_ptr<TaskTrace> trace_;
  const std::unique_ptr<Place> place_;
  TaskClock clock_;

  // SYNC(inbox): a submitter puts its task here and then looks at `sleeping_` and `open_`; who is about to sleep, or to
  // close, writes those first and then looks here. All of it is sequentially consistent, so one of the two sees the
  // other: no task is left here with everybody asleep or gone.
  alignas(64) std::atomic<Task*> inbox_{nullptr};  // The latest first; its tasks are not counted yet.
  std::atomic<bool> open_{true};                   // Neither closed nor broken.
  std::atomic<bool> sleeping_{false};              // Whether a worker is to be woken by the next task.
  std::atomic<bool> growing_{true};                // Whether the place may start more workers.
  std::atomic<std::uint32_t> bell_{0};             // What workers sleep on.

  alignas(64) Mutex mutex_;
  TaskQueue queue_ TANDEM_GUARDED_BY(mutex_);
  std::size_t waiting_ TANDEM_GUARDED_BY(mutex_) = 0;  // Workers that sleep.
  std::atomic<std::ptrdiff_t> free_workers_{0};        // Those that have no task; counted down under the mutex.
  std::chrono::steady_clock::time_point begun_ TANDEM_GUARDED_BY(mutex_);  // When the first task was seen.
  std::uint64_t submitted_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::uint64_t queued_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::exception_ptr broken_ TANDEM_GUARDED_BY(mutex_);
  WaitPoint room_{};  // For room in the backlog: prepared and announced under the mutex, slept on without it.

  std::atomic<bool> given_up_{false};  // A shutdown did not wait for all: none will.

  // Apart from what submitters write. Counters only.
  alignas(64) std::atomic<std::uint64_t> done_{0};
  std::atomic<std::uint64_t> failed_{0};
  std::atomic<std::uint64_t> cancelled_{0};
  std::atomic<std::uint64_t> retried_{0};
};

/// A thread that runs tasks of a core, while it does: those that they wait for can be run here too. Owner.
class WorkerScope {
 public:
  explicit WorkerScope(ExecutorCore& core) noexcept;
  ~WorkerScope();
  WorkerScope(const WorkerScope&) = delete;
  WorkerScope& operator=(const WorkerScope&) = delete;

  /// It runs a task that next() gave. To be followed by free_of().
  void busy_with(const Task& task) noexcept { task_ = &task; }
  /// If the calling thread is busy with this task: it is no more, or is about to be.
  static void free_of(const Task& task) noexcept;
  /// The core whose tasks the calling thread runs; null if it runs none.
  static ExecutorCore* current() noexcept;

 private:
  ExecutorCore& core_;
  WorkerScope* const outer_;
  const Task* task_ = nullptr;
};

// Held while the process forks.
void lock_continuations();
void unlock_continuations();

// What a state needs of the core that its task belongs to, if that is still there.
/// Whether the calling thread runs tasks at all.
bool in_worker() noexcept;
/// Throws StateError in a process that was forked off that of the task's executor: nobody will run it.
void check_task_process(const Task& task);
void withdraw_task(Task& task) noexcept;
/// False if there is nobody who could.
bool stop_task(Task& task) noexcept;
bool run_task_here(Task& task) noexcept;

}  // namespace tandem::detail
