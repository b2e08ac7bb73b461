/// Where tasks run: the one interface between an executor and the workers behind it.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/task.hpp>
#include <tandem/executor_options.hpp>
#include <tandem/thread.hpp>

namespace tandem::detail {

class ExecutorCore;

/// Workers that take tasks from an ExecutorCore: threads, processes, other machines.
///
/// The core has the queue; a place takes from it (ExecutorCore::next(), take()) when it has a worker that is free, so
/// that a task whose turn has not come can be cancelled for nothing. A task that it took is in state running; what
/// came of it the place says once: after state().claim_running() by core.finished(), which settles, or by
/// core.failed(), which begins another attempt or settles. LocalTask::run() does that itself. Whatever runs in the
/// place's own threads holds the core by a shared_ptr.
///
/// Threads: every member may be called from any thread. None is called with the mutex of the core held.
class Place {
 public:
  virtual ~Place() = default;

  /// Called once, before any other. What can be refused is refused here, before any side effect.
  virtual void open(std::shared_ptr<ExecutorCore> core) = 0;
  /// Throws std::invalid_argument for what a task here cannot have, as a limit that cannot be kept.
  virtual void check(const TaskOptions& options) const = 0;
  /// There are more tasks than free workers (ExecutorCore::worker_is_free()): called after a submit, unless
  /// ExecutorCore::call_for_more_work(false) was said last. Starts a worker if there may be another one, or hands tasks
  /// out. Throws std::system_error if there is no worker at all and none can be started.
  virtual void more_work() = 0;
  /// The executor was closed, or is broken: called once or more, after what is left has changed.
  virtual void closed() noexcept {}
  /// Why stop() is called.
  enum class Why { Cancelled, Deadline, ShutDown };
  /// Ends a running task: settles it with the error that `why` stands for, unless it is settled by now, and sees to it
  /// that its worker gets free.
  virtual void stop(Task& task, Why why) noexcept = 0;
  /// Whether the calling thread is one that a join() waits for and that runs no tasks: it runs callbacks of futures.
  virtual bool in_own_thread() const { return false; }
  /// Waits until every worker is gone, once the core is closed; false if the deadline passes.
  virtual bool join(const Deadline& deadline) = 0;
  /// Behind a join() that took too long: gives back what was taken and is not begun, begins nothing any more, stops all
  /// that is running, and says what that was.
  virtual std::vector<GivenUpTask> give_up() = 0;
  /// How many items are being worked on, if a place takes more tasks than it begins; the others count as queued.
  virtual std::optional<std::uint64_t> begun_items() const { return std::nullopt; }
  /// Who is there.
  virtual std::vector<WorkerInfo> workers() const = 0;
  /// Runs a task that is in state running, in the calling thread, which is inside of a task of this core (see
  /// WorkerScope): so that a task can wait for another one in a full pool. Only threads have such scopes.
  virtual void run_here(Task& task) noexcept = 0;
};

/// What Place::check() refuses where tasks run in processes.
void check_limits(const TaskOptions& options);

/// What a task fails with that is stopped for its deadline, or because its executor gives up.
std::exception_ptr stop_error(const Task& task, Place::Why why);

/// Whether the calling thread is this one, which a place may not have yet.
bool is_current(const std::optional<Thread>& thread);

}  // namespace tandem::detail
