/// Threads of this process as a place where tasks run.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include <tandem/thread.hpp>

#include "core/mutex.hpp"
#include "executor/place.hpp"

namespace tandem::detail {

class ThreadPlace final : public Place {
 public:
  /// `initializer` may be empty.
  explicit ThreadPlace(std::function<void()> initializer) : initializer_(std::move(initializer)) {}

  void open(std::shared_ptr<ExecutorCore> core) override;
  void check(const TaskOptions& options) const override;
  void more_work() override;
  void stop(Task& task, Why why) noexcept override;
  bool join(const Deadline& deadline) override;
  std::vector<GivenUpTask> give_up() override;
  std::vector<WorkerInfo> workers() const override;
  void run_here(Task& task) noexcept override;

 private:
  struct Worker {
    std::optional<Thread> thread;
    // SYNC(current-task): a worker clears this before it drops its task, and then waits for the mutex if somebody is
    // looking. All of it is sequentially consistent: either the one who looks finds nothing, or the worker finds it.
    std::atomic<Task*> current{nullptr};
  };
  /// A task that a worker runs while another one, which it runs, waits for it. Lies on the worker's stack.
  struct Nested {
    const Worker* worker;
    Task* task;
    Nested* next = nullptr;
  };
  void start_worker() TANDEM_REQUIRES(mutex_);
  void run(Worker& self, const std::shared_ptr<ExecutorCore>& core);
  void forget_current(Worker& self) noexcept;
  /// Calls `see(worker, task)` for all that run, of each worker the outermost first, and with null for who runs none.
  template <class See>
  void each_current(See see) const;

  const std::function<void()> initializer_;
  std::weak_ptr<ExecutorCore> core_;
  std::size_t limit_ = 0;
  mutable std::atomic<int> looking_{0};  // Who looks at what workers run.
  mutable Mutex mutex_;
  std::list<Worker> workers_ TANDEM_GUARDED_BY(mutex_);
  Nested* nested_ TANDEM_GUARDED_BY(mutex_) = nullptr;  // Of each worker in the order in which they were begun.
  static thread_local Worker* self_;
};

}  // namespace tandem::detail
