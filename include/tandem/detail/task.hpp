/// A call that an executor is to make.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <typeinfo>
#include <utility>

#include <tandem/detail/future_state.hpp>
#include <tandem/executor_options.hpp>

namespace tandem::detail {

class ExecutorCore;

/// One call. It is part of the state of its result, which keeps it alive. A LocalTask runs in this process; others say
/// in their own way how they travel (see docs/internals/executor.md).
class Task {
 public:
  /// `function` is what it calls, for its default name; null if that is an object.
  Task(FutureState& state, const void* function) noexcept : state_(state), function_(function) {}
  virtual ~Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  FutureState& state() const noexcept { return state_; }
  /// Of its own, or those of its executor.
  const TaskOptions& options() const noexcept { return *options_; }
  /// For people: the option, or the function's name.
  std::string name() const;
  /// How often it was begun.
  unsigned attempts() const noexcept { return attempts_.load(std::memory_order_relaxed); }
  /// Names its core for as long as that exists, see find_executor().
  std::uint64_t executor() const noexcept { return executor_; }
  /// How many items it stands for in counters: those of a chunk of map().
  std::uint32_t items() const noexcept { return items_; }

  /// Calls beyond the first, within this attempt, of its items: for counters.
  virtual std::uint64_t retried_items() const noexcept { return 0; }
  /// Destroys callable and arguments, before the outcome is told: called by who runs it, or by who has cancelled it
  /// while it was pending.
  virtual void forget() noexcept = 0;
  /// Asks a run in this process to stop, if it takes a stop token.
  virtual void request_stop() noexcept {}
  /// For the default name.
  virtual const std::type_info& callable_type() const noexcept = 0;
  /// Whether it can be begun a second time.
  virtual bool repeatable() const noexcept = 0;

  // Written before it is submitted.
  void set_options(TaskOptions options) { own_options_ = std::make_unique<const TaskOptions>(std::move(options)); }
  void set_items(std::uint32_t items) noexcept { items_ = items; }
  /// What it calls in the end, for its default name.
  void set_function(const void* function) noexcept { function_ = function; }

 private:
  friend class ExecutorCore;
  friend class TaskClock;
  friend class TaskQueue;

  FutureState& state_;
  const void* function_;
  std::unique_ptr<const TaskOptions> own_options_;
  const TaskOptions* options_ = nullptr;  // Set when it is submitted.
  // Guarded by the mutex of the core.
  Task* next_ = nullptr;
  Task* previous_ = nullptr;
  bool queued_ = false;
  std::chrono::steady_clock::time_point deadline_at_{};  // Guarded by the mutex of the clock.
  std::atomic<unsigned> attempts_{0};                    // Written by who begins it.
  std::uint32_t items_ = 1;
  std::uint64_t executor_ = 0;
};

/// A call that is made in this process.
class LocalTask : public Task {
 public:
  using Task::Task;
  /// Makes the call and settles the result; the state is running. True if it failed and is to be run once more, at once
  /// and by the same thread: then it is still running, and whoever waits for it may count on that.
  virtual bool run(ExecutorCore& core) noexcept = 0;

 protected:
  // In run(): see ExecutorCore.
  static void finished(ExecutorCore& core, Task& task, FutureState::Outcome outcome) noexcept;
  /// `final_error`: no other attempt in any case.
  static bool failed(ExecutorCore& core, Task& task, std::exception_ptr error, bool final_error = false) noexcept;
  /// Whether this attempt may move the arguments away.
  bool last_attempt() const noexcept { return attempts() > options().retries; }
};

}  // namespace tandem::detail
