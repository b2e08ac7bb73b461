/// A worker process as its pool knows it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include <tandem/crash_report.hpp>
#include <tandem/detail/deadline.hpp>
#include <tandem/queue.hpp>

#include "executor/executor_core.hpp"
#include "executor/worker_messages.hpp"
#include "process/child.hpp"

namespace tandem::detail {

/// Guarded by the mutex of its place until its process has ended. Owner.
class PoolWorker {
 public:
  using Clock = std::chrono::steady_clock;
  /// How long a worker may be silent before what waits behind its task is taken back for others.
  static constexpr std::chrono::milliseconds kLongTask{5};
  struct Start {
    std::uint64_t id = 0;
    std::string name;
    const ExecutorOptions& options;
    tandem::Queue<ResultQueueItem> results;
    SharedObjectPtr budget;
    std::optional<ParcelRef> initializer;
  };

  /// Starts the process. Throws what Process::start() does.
  explicit PoolWorker(const Start& start);

  std::uint64_t id() const noexcept { return id_; }
  const std::string& name() const noexcept { return name_; }
  Child& child() const noexcept { return *child_; }

  // Tasks.
  /// Whether it may be given tasks.
  bool is_open() const noexcept { return !closed_; }
  bool is_free() const noexcept { return !closed_ && in_flight_.empty(); }
  bool is_idle() const noexcept { return in_flight_.empty(); }
  /// How many tasks it should be given now; 0 if it has enough.
  std::size_t room() const noexcept;
  /// Sends tasks. If they cannot be sent, the tasks are still in `tasks`.
  void send(std::vector<TaskPtr>& tasks);
  /// The task that a result is of, which is no longer in flight; null for one that was not sent. Learns how long tasks
  /// take.
  TaskPtr take_result(const ResultHead& head);
  /// The same task, still in flight.
  const Task* task(const ResultHead& head) const noexcept;
  /// Takes back what it has not begun, latest first.
  std::vector<TaskPtr> take_back();
  /// Whether others could run what waits behind the task that it runs.
  bool has_waiting() const noexcept { return in_flight_.size() > 1; }
  Clock::time_point heard() const noexcept { return heard_; }
  /// What waits behind it waits for longer than thought.
  void note_long_task() noexcept;
  /// The task that it has begun; null if there is none.
  Task* current() const noexcept;
  /// Since when it runs a task with a deadline; empty while that waits for the worker to begin it.
  std::optional<Clock::time_point> started() const noexcept;
  bool has(const Task& task) const noexcept;
  /// Whether it has begun another one behind this task, whose result has not come yet.
  bool has_ended(const Task& task) const noexcept;
  /// Calls `see` for all tasks that it was sent and that have no result yet.
  template <class See>
  void each_in_flight(See see) const {
    for (const InFlight& in_flight : in_flight_) see(*in_flight.task);
  }
  /// Gives it no more tasks; it leaves when it has run those that it has.
  void close() noexcept;

  // Its end.
  void note_ready() noexcept { ready_ = true; }
  bool was_ready() const noexcept { return ready_; }
  /// Sends SIGTERM now, and SIGKILL at kill_at().
  void terminate(std::chrono::milliseconds grace);
  void kill_if_due() noexcept;
  const Deadline& kill_at() const noexcept { return kill_at_; }
  /// What the task that it runs fails with if the worker's end is this pool's doing.
  void set_stop_error(std::exception_ptr error) noexcept { stop_error_ = std::move(error); }
  /// Once it has ended: what the task that it had begun fails with.
  std::exception_ptr death_of(const Task& task) const;
  CrashReport report() const;

 private:
  struct InFlight {
    std::uint64_t number;
    TaskPtr task;
  };
  void add_definition(std::vector<std::byte>& message, TaskBatch& batch, CodeNumber number);

  const std::uint64_t id_;
  const std::string name_;
  const std::optional<std::size_t> quota_;
  const SharedObjectPtr record_;
  tandem::Queue<TaskQueueItem> tasks_;
  ChildPtr child_;

  std::deque<InFlight> in_flight_;
  std::uint64_t last_number_ = 0;
  std::uint64_t round_ = 0;
  std::size_t sent_ = 0;     // Those that were not taken back.
  std::vector<bool> knows_;  // Numbers of code.
  std::vector<std::byte> message_;
  bool runs_alone_ = false;  // Nothing is to be sent behind the task in flight.
  bool ready_ = false;
  bool closed_ = false;
  double task_nanoseconds_ = 0;  // 0: unknown.
  Clock::time_point heard_;      // When it last had a result, or got work while it had none.
  Deadline kill_at_ = Deadline::never();
  std::exception_ptr stop_error_;
};

/// Whether nothing is to wait in a worker behind such a task, or before it: because its time is measured, or because it
/// has limits of its own.
bool runs_alone(const Task& task);

}  // namespace tandem::detail
