/// The same work in several places, measured, and advice where it should run.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/crash_report.hpp>
#include <tandem/detail/split_work.hpp>
#include <tandem/error.hpp>
#include <tandem/start_method.hpp>

namespace tandem {

/// Where work runs: in the calling thread, on threads, on threads of which one at a time computes (under one Gil, as in
/// CPython), on processes, on the machines of a cluster.
enum class Where { Serial, Threads, Gil, Processes, Cluster };

/// "serial", "threads", "gil", "processes" or "cluster".
std::string_view to_string(Where where) noexcept;
/// The inverse of to_string(); empty if there is no such place.
std::optional<Where> parse_where(std::string_view text) noexcept;

/// Work that can be cut into parts: what compare() measures. Value; made by workload().
class Workload {
 public:
  Workload(std::string name, std::string inputs, detail::Splitter split)
      : name_(std::move(name)), inputs_(std::move(inputs)), split_(std::move(split)) {}

  const std::string& name() const noexcept { return name_; }
  void set_name(std::string name) { name_ = std::move(name); }
  /// What the work is done on, as a reader wants to see it: "--to 100000000".
  const std::string& inputs() const noexcept { return inputs_; }
  void set_inputs(std::string inputs) { inputs_ = std::move(inputs); }
  /// Cuts the work for a number of workers.
  std::unique_ptr<detail::SplitWork> split(std::size_t workers) const;

 private:
  std::string name_;
  std::string inputs_;
  detail::Splitter split_;
};

/// Describes work by three callables:
///   split(std::size_t workers) -> std::vector<Task>      called in this process. One task for each worker, which then
///                                                        has a thread or process; or more, which a pool of as many
///                                                        workers hands out, the next one to whoever is free
///   part(const Task&) -> Result                          one worker's part; called wherever the work runs
///   combine(std::vector<Result>) -> std::string          the answer, from the results in the order of the tasks
/// `part` must be a portable callable (a function, or a lambda without captures), Task and Result portable values. A
/// loop in `part` calls tandem::checkpoint() now and then, so that the row under a Gil can hand it over.
template <class Split, class Part, class Combine>
Workload workload(std::string name, Split split, Part part, Combine combine) {
  using Tasks = std::invoke_result_t<const Split&, std::size_t>;
  using Task = typename Tasks::value_type;
  using Result = std::decay_t<std::invoke_result_t<const Part&, const Task&>>;
  static_assert(Portable<Task>,
                "workload(): what split() returns a vector of must be portable: it travels to a process");
  static_assert(Portable<Result>, "workload(): what part() returns must be portable: it travels back from a process");
  static_assert(std::is_invocable_r_v<std::string, const Combine&, std::vector<Result>>,
                "workload(): combine(std::vector<Result>) must return the answer as a std::string");
  return Workload(
      std::move(name), std::string(),
      [split = std::move(split), part = std::move(part), combine = std::move(combine)](std::size_t workers) {
        return std::make_unique<detail::TypedSplitWork<Part, Task, Result>>(part, split(workers), combine);
      });
}

/// How often and where compare() measures, and who is told about it.
struct CompareOptions {
  /// Parts that the work is cut into on threads and processes; 0 means cpu_count(), but at least 2.
  std::size_t workers = 0;
  /// Measured rounds, after one round that is not measured.
  std::size_t runs = 5;
  /// The rows to report. Serial is measured in any case: it is what the others are compared with.
  std::vector<Where> where = {Where::Serial, Where::Threads, Where::Gil, Where::Processes};
  /// Where Where::Cluster is: a ClusterExecutor (tandem::cluster), which must outlive the call. The work is cut into as
  /// many parts as it has workers, but at least `workers`.
  detail::ComparedCluster cluster{};
  /// How worker processes are started; the program's own default if empty.
  std::optional<StartMethod> start_method{};
  /// Called by the thread that called compare(), before each measurement and once at the end (then done == total).
  std::function<void(std::size_t done, std::size_t total, std::string_view what)> on_progress{};
  /// Ends compare() early: it throws CompareStopped. request_stop() kills the worker processes and returns once they
  /// are gone; a part that runs on a thread of this process cannot be killed, and compare() waits for it.
  std::stop_token stop{};
};

/// Smallest, middle and largest of a row's rounds.
struct Spread {
  double min = 0;
  double median = 0;
  double max = 0;
};

/// How the work went in one place. Times in seconds.
struct ComparisonRow {
  Where where = Where::Serial;
  /// From before the work was cut until its answer was there, workers started and joined included.
  Spread wall_s;
  /// Processor time, user and system, of this process and of the workers; not of a cluster's.
  Spread cpu_s;
  /// From the start of the first worker until the body of the last one began; 0 for a cluster, which is there before.
  Spread start_s;
  /// For how long, as a median, the calling thread was ready to run but others had the cores: neither computing nor
  /// waiting. 0 but for serial, and if the kernel does not tell.
  double crowded_s = 0;
  /// Serial's median wall time over this one's.
  double speedup = 0;
  /// `speedup` over the machine's limit; 0 for a cluster, which may have more machines.
  double of_limit = 0;
  /// The most memory seen at one time, as proportional set size: of the workers together if they are processes, so that
  /// what they share counts once, else of this process. Sampled in the round that is not measured.
  std::uint64_t peak_memory_bytes = 0;
  std::string result;
};

/// The machine as it was during the comparison.
struct ComparisonMachine {
  std::size_t cores = 0;
  std::string kernel;
  std::string compiler;
  /// How much faster the workers' bare forked twins finished one chain of additions together than one of them alone.
  /// Median of the same rounds; 1.0 to the number of workers. Virtual cores that share a physical one are worth less
  /// than 2.
  double limit = 0;
};

/// Where the work should run, and why, with the numbers behind it.
struct Advice {
  Where where = Where::Serial;
  std::vector<std::string> reasons;
};

/// What compare() found. Value.
struct Comparison {
  std::string work;
  std::string inputs;
  ComparisonMachine machine;
  std::size_t workers = 0;
  std::size_t runs = 0;
  std::vector<ComparisonRow> rows;
  /// Whether every run of every row gave the same result. If not, `difference` says who gave what.
  bool agree = false;
  std::string difference;
  Advice advice;

  /// The row of a place; null if it was not asked for.
  const ComparisonRow* row(Where where) const noexcept;
};

/// A part of the work failed: it threw, or its process died. The text, one line, says which part, where, and why.
class WorkerFailed : public Error {
 public:
  explicit WorkerFailed(const std::string& text, std::optional<CrashReport> crash_report = std::nullopt)
      : Error(text), crash_report_(std::move(crash_report)) {}
  /// How the worker process ended; empty if it was a thread, or if it lived to say that its part threw.
  const std::optional<CrashReport>& crash_report() const noexcept { return crash_report_; }

 private:
  std::optional<CrashReport> crash_report_;
};

/// compare() was ended by its stop token.
class CompareStopped : public Error {
 public:
  using Error::Error;
};

/// Runs the same work serially, on threads, on threads under a Gil and on processes, and says what each cost.
///
///   auto work = tandem::workload("primes", split, count_primes, add_up);
///   tandem::Comparison found = tandem::compare(work, {.workers = 2});
///   std::cout << found.rows[1].speedup << found.advice.reasons[0];
///
/// In each round every row runs once, in an order that rotates, and the machine's limit is measured: a machine that
/// drifts is unfair to all alike. The first round warms up and is not measured; memory is sampled in it.
/// Threads and processes: one call at a time in a process (its processor time is measured as a whole).
/// Errors: std::invalid_argument (no place to measure, no runs, more than 4096 workers, a cluster that is not given);
/// WorkerFailed; CompareStopped; NotInitialized if processes are to be measured and main() has not called
/// tandem::init(); what split, part on the calling thread, and combine throw. Cost: (runs + 1) times the work in each
/// place and about as long again as the serial run for the limit, at most 3 s a round.
Comparison compare(const Workload& work, const CompareOptions& options = {});

/// Says where the work should run by what was measured: what compare() puts into Comparison::advice.
Advice advise(const Comparison& comparison);

}  // namespace tandem
