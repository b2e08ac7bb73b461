/// Processes as a place where tasks run.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tandem/queue.hpp>
#include <tandem/thread.hpp>

#include "core/mutex.hpp"
#include "executor/executor_core.hpp"
#include "executor/place.hpp"
#include "executor/pool_worker.hpp"
#include "executor/worker_messages.hpp"

namespace tandem::detail {

/// Each worker has a queue of tasks, and all of them put their results into one. The thread that submits hands a task
/// to a worker that is free; whatever else is to be done is done by one thread, which waits for results: among them is
/// what tells it of a worker's end, behind all that this one had to say.
///
/// How many tasks a worker is given ahead depends on how long they take: so many that it is not without work while a
/// result travels, and so few that none waits long behind another. What waits behind a task that takes longer than
/// thought is taken back if somebody else can run it.
class ProcessPlace final : public Place {
 public:
  explicit ProcessPlace(std::optional<ParcelRef> initializer) : initializer_(std::move(initializer)) {}

  void open(std::shared_ptr<ExecutorCore> core) override;
  void check(const TaskOptions& options) const override;
  void more_work() override;
  void closed() noexcept override;
  void stop(Task& task, Why why) noexcept override;
  bool in_own_thread() const override;
  bool join(const Deadline& deadline) override;
  std::vector<GivenUpTask> give_up() override;
  std::optional<std::uint64_t> begun_items() const override;
  std::vector<WorkerInfo> workers() const override;
  void run_here(Task& task) noexcept override;

 private:
  using Clock = std::chrono::steady_clock;
  using WorkerPtr = std::unique_ptr<PoolWorker>;

  /// What is to be told of a task, when no lock is held.
  struct Told {
    TaskPtr task;  // Null: an initializer failed.
    ResultHead head;
    const ResultQueueItem* item = nullptr;
  };

  void run();
  /// Finds out what the results stand for.
  void take_in(const std::vector<ResultQueueItem>& items, std::vector<Told>& told, std::vector<WorkerPtr>& gone)
      TANDEM_REQUIRES(mutex_);
  void tell(Told& told) noexcept;
  void bury(PoolWorker& worker) noexcept;
  /// Hands out what waits. Throws std::system_error if there is no worker and none can be started.
  void fill() TANDEM_REQUIRES(mutex_);
  /// Whether there was a task for it.
  bool send_to(PoolWorker& worker, bool is_free) TANDEM_REQUIRES(mutex_);
  /// As fill(), in the pool's own thread, where nobody is there to be thrown at.
  void fill_or_break() noexcept;
  /// What is due, and how long it is until something else is.
  Clock::duration see_to_workers() TANDEM_REQUIRES(mutex_);
  bool all_gone() TANDEM_REQUIRES(mutex_);
  void find_lost_workers();

  PoolWorker* free_worker() TANDEM_REQUIRES(mutex_);
  PoolWorker* worker_with_room() TANDEM_REQUIRES(mutex_);
  PoolWorker* worker(std::uint64_t id) TANDEM_REQUIRES(mutex_);
  /// False if it cannot be started. Throws what Process::start() does if there is no other one.
  bool start_worker() TANDEM_REQUIRES(mutex_);
  /// Whether there was something.
  bool take_back(PoolWorker& worker) TANDEM_REQUIRES(mutex_);
  /// How long a task with a deadline may still run; zero or less if that is over.
  Clock::duration time_left(const Task& task, const PoolWorker& worker) const TANDEM_REQUIRES(mutex_);
  void terminate(PoolWorker& worker) TANDEM_REQUIRES(mutex_);
  void note_in_trace(const PoolWorker& worker, const Task& task, Clock::time_point since) const noexcept;
  void note_result_in_trace(const PoolWorker& worker, const ResultHead& head) const noexcept;
  void wake() noexcept;

  const std::optional<ParcelRef> initializer_;
  ExecutorCore* core_ = nullptr;  // Whose place this is.
  std::size_t limit_ = 0;
  SharedObjectPtr budget_;
  tandem::Queue<ResultQueueItem> results_;

  mutable Mutex mutex_;
  std::vector<WorkerPtr> workers_ TANDEM_GUARDED_BY(mutex_);
  std::uint64_t last_worker_ TANDEM_GUARDED_BY(mutex_) = 0;
  bool closing_ TANDEM_GUARDED_BY(mutex_) = false;   // The workers were told to leave.
  bool given_up_ TANDEM_GUARDED_BY(mutex_) = false;  // Nothing is handed out any more.
  std::optional<Thread> thread_ TANDEM_GUARDED_BY(mutex_);
  std::vector<TaskPtr> taken_ TANDEM_GUARDED_BY(mutex_);  // For fill().

  // Of the pool's thread alone.
  std::string broken_;  // Why no worker can be had.
  unsigned failed_starts_ = 0;
  bool fill_failed_ = false;
};

/// From now on what waits in a worker behind a task of 5 ms or more goes back into its executor's queue even if no
/// other worker could begin it: in all pools of this process. So an agent can send it elsewhere.
void take_back_behind_long_tasks() noexcept;

}  // namespace tandem::detail
