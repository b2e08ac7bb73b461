/// Work cut into parts: the typed skin that compare() drives without knowing its types.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <tandem/executor.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>
#include <tandem/thread.hpp>
#include <tandem/wire.hpp>

namespace tandem {
class ClusterExecutor;
}

namespace tandem::detail {

/// Of tandem::cluster, which this library does not know: only who has a ClusterExecutor calls it.
void check_can_leave(const RemoteTask& task);

/// Has agents of this program enter it for a client, as what a ClusterExecutor is given is. Always true.
bool note_remote_entry(RemoteEntry entry) noexcept;
template <RemoteEntry kEntry>
inline const bool kComparedEntry = note_remote_entry(kEntry);

/// The core of an executor, which only executors see otherwise.
struct CoreOf : AnyExecutor {
  static ExecutorCore& of(const AnyExecutor& executor) { return (executor.*(&CoreOf::core))(); }
};

/// A ClusterExecutor, or none. Value; refers to it.
class ComparedCluster {
 public:
  ComparedCluster() = default;
  template <std::same_as<ClusterExecutor> Executor>
  ComparedCluster(Executor& executor) noexcept : executor_(&executor), check_(&check_can_leave) {}  // NOLINT: implicit.

  explicit operator bool() const noexcept { return executor_ != nullptr; }
  std::size_t worker_limit() const { return executor_->worker_limit(); }
  /// Throws WireError for a task that cannot leave this machine.
  template <class Call>
  auto submit(Call* call) const {
    try {
      check_(*call);
    } catch (...) {
      static_cast<FutureState&>(*call).drop_reference();
      throw;
    }
    return submit_call(CoreOf::of(*executor_), std::nullopt, 1, call);
  }

 private:
  const AnyExecutor* executor_ = nullptr;
  void (*check_)(const RemoteTask&) = nullptr;
};

inline std::int64_t steady_now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Closed when a worker that is done may end. Until then it waits, so that all workers' memory can be seen at one time.
using Gate = std::optional<Queue<bool>>;

/// One run of the work, cut for some number of workers.
class SplitWork {
 public:
  virtual ~SplitWork() = default;

  virtual std::size_t parts() const = 0;
  /// Runs every part in the calling thread.
  virtual void run_here() = 0;
  /// Makes, but does not start, the worker that runs one part.
  virtual Thread thread(ThreadOptions options, std::size_t part) = 0;
  virtual Process process(ProcessOptions options, std::size_t part, const Gate& gate) = 0;
  /// For more parts than workers: has a pool run each of them, the next one by the worker that is free.
  virtual void submit(ThreadExecutor& executor) = 0;
  virtual void submit(ProcessExecutor& executor) = 0;
  virtual void submit(const ComparedCluster& cluster) = 0;
  /// Waits for all that were submitted, and takes their reports. What they failed with otherwise is in failure().
  virtual void take_submitted() = 0;
  /// Cancels all that were submitted, and ends those that run.
  virtual void stop_submitted() noexcept = 0;
  /// Null if a part has its report.
  virtual std::exception_ptr failure(std::size_t part) const = 0;

  /// Takes one worker's report; false if none came in time.
  virtual bool take_report(std::chrono::milliseconds timeout) = 0;
  /// Takes what reports are left, once every worker has ended.
  virtual void take_last_reports() = 0;

  /// When the part began that was the `count`-th to begin.
  virtual std::int64_t begun_ns(std::size_t count) const = 0;
  /// What went wrong in a part; empty if it has its result, or if its worker ended without a word.
  virtual const std::string& error(std::size_t part) const = 0;
  virtual bool has_result(std::size_t part) const = 0;
  /// The answer; every part must have its result.
  virtual std::string combine() = 0;
};

using Splitter = std::function<std::unique_ptr<SplitWork>(std::size_t workers)>;

/// What a worker says at the end of its part.
template <class Result>
struct PartReport {
  std::uint64_t part = 0;
  std::int64_t begun_ns = 0;
  std::optional<Result> result;
  /// Why there is no result.
  std::string error;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(part, begun_ns, result, error);
  }
};

template <class Part, class Task, class Result>
PartReport<Result> run_part(const Part& part, const Task& task, std::uint64_t index) {
  PartReport<Result> report{index, steady_now_ns(), std::nullopt, {}};
  try {
    report.result.emplace(part(task));
  } catch (const std::exception& error) {
    report.error = error.what();
    if (report.error.empty()) report.error = "it threw an exception without a text";
  }
  return report;
}

/// The body of a worker.
template <class Part, class Task, class Result>
void work_part(const Part& part, const Task& task, std::uint64_t index, Queue<PartReport<Result>> reports, Gate gate) {
  reports.put(run_part<Part, Task, Result>(part, task, index));
  if (!gate) return;
  for ([[maybe_unused]] bool never_put : *gate) continue;
}

template <class Part, class Task, class Result>
class TypedSplitWork final : public SplitWork {
 public:
  using Combine = std::function<std::string(std::vector<Result>)>;

  TypedSplitWork(Part part, std::vector<Task> tasks, Combine combine)
      : part_(std::move(part)),
        tasks_(std::move(tasks)),
        combine_(std::move(combine)),
        reports_of_(tasks_.size()),
        failures_(tasks_.size()) {}

  std::size_t parts() const override { return tasks_.size(); }
  void run_here() override {
    for (std::size_t part = 0; part < tasks_.size(); ++part)
      keep(run_part<Part, Task, Result>(part_, tasks_[part], part));
  }
  Thread thread(ThreadOptions options, std::size_t part) override {
    return Thread(std::move(options), work_part<Part, Task, Result>, part_, tasks_[part], std::uint64_t{part}, queue_,
                  Gate());
  }
  Process process(ProcessOptions options, std::size_t part, const Gate& gate) override {
    return Process(std::move(options), work_part<Part, Task, Result>, part_, tasks_[part], std::uint64_t{part}, queue_,
                   gate);
  }
  void submit(ThreadExecutor& executor) override { submit_to(executor); }
  void submit(ProcessExecutor& executor) override { submit_to(executor); }
  void submit(const ComparedCluster& cluster) override {
    for (std::size_t part = 0; part < tasks_.size(); ++part)
      submitted_.push_back(cluster.submit(noted(
          RemoteCalls::make(run_part<Part, Task, Result>, part_, tasks_[part], static_cast<std::uint64_t>(part)))));
  }
  void take_submitted() override {
    for (std::size_t part = 0; part < submitted_.size(); ++part) {
      try {
        keep(submitted_[part].get());
      } catch (...) {
        failures_[part] = std::current_exception();
      }
    }
  }
  void stop_submitted() noexcept override {
    for (const auto& future : submitted_) static_cast<void>(future.stop());
  }
  std::exception_ptr failure(std::size_t part) const override { return failures_[part]; }

  bool take_report(std::chrono::milliseconds timeout) override {
    std::optional<PartReport<Result>> report = queue_.get_for(timeout);
    if (report) keep(std::move(*report));
    return report.has_value();
  }
  void take_last_reports() override {
    queue_.close();
    for (PartReport<Result>& report : queue_) keep(std::move(report));
  }

  std::int64_t begun_ns(std::size_t count) const override {
    std::vector<std::int64_t> begun;
    for (const PartReport<Result>& report : reports_of_) begun.push_back(report.begun_ns);
    std::sort(begun.begin(), begun.end());
    return begun.at(count - 1);
  }
  const std::string& error(std::size_t part) const override { return reports_of_[part].error; }
  bool has_result(std::size_t part) const override { return reports_of_[part].result.has_value(); }
  std::string combine() override {
    std::vector<Result> results;
    results.reserve(reports_of_.size());
    for (PartReport<Result>& report : reports_of_) results.push_back(std::move(report.result.value()));
    return combine_(std::move(results));
  }

 private:
  template <class Executor>
  void submit_to(Executor& executor) {
    for (std::size_t part = 0; part < tasks_.size(); ++part)
      submitted_.push_back(
          executor.submit(run_part<Part, Task, Result>, part_, tasks_[part], static_cast<std::uint64_t>(part)));
  }
  template <class R, class F, class... Args>
  static RemoteCall<R, F, Args...>* noted(RemoteCall<R, F, Args...>* call) {
    static_cast<void>(&kComparedEntry<&enter_remote_call<R, F, Args...>>);
    return call;
  }
  void keep(PartReport<Result> report) { reports_of_.at(report.part) = std::move(report); }

  Part part_;
  std::vector<Task> tasks_;
  Combine combine_;
  Queue<PartReport<Result>> queue_;
  std::vector<PartReport<Result>> reports_of_;
  std::vector<Future<PartReport<Result>>> submitted_;
  std::vector<std::exception_ptr> failures_;
};

}  // namespace tandem::detail
