#include "compare/measurement.hpp"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <sstream>
#include <tandem/executor.hpp>
#include <tandem/gil.hpp>
#include <vector>

#include "compare/memory.hpp"
#include "core/system.hpp"

namespace tandem::detail {
namespace {

constexpr std::size_t kMostClusterParts = 4096;

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

/// Processor time of this process so far, all threads.
double own_cpu_s() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// For how long the calling thread has been ready to run without a core so far.
double own_crowded_s() {
  // Nanoseconds on a core, nanoseconds in the queue for one, times on one.
  std::istringstream text(read_small_file("/proc/thread-self/schedstat"));
  double running_ns = 0;
  double crowded_ns = 0;
  text >> running_ns >> crowded_ns;
  return crowded_ns / 1e9;
}

void throw_if_stopped(const std::stop_token& stop) {
  if (stop.stop_requested()) throw CompareStopped("the comparison was stopped");
}

std::string worker_name(std::size_t part) {
  return fmt::format("compare-{}", part + 1);
}

/// Throws WorkerFailed for the first part without a result; `worker` gives the process that was to run a part, or null.
template <class WorkerOf>
void check_results(const SplitWork& work, Where where, WorkerOf worker_of) {
  for (std::size_t part = 0; part < work.parts(); ++part) {
    if (work.has_result(part)) continue;
    const Process* const worker = worker_of(part);
    std::string reason = work.error(part);
    // A thread ends without a word if it throws what is no std::exception or asks to exit; a process also if it dies.
    if (reason.empty()) reason = worker == nullptr ? "it gave no result" : worker->exit_status().value().to_string();
    throw WorkerFailed(fmt::format("part {} of {} failed ({}): {}", part + 1, work.parts(), to_string(where), reason),
                       worker == nullptr ? std::nullopt : worker->crash_report());
  }
}

void check_results(const SplitWork& work, Where where) {
  check_results(work, where, [](std::size_t) -> const Process* { return nullptr; });
}

/// The worker processes of one run. Any thread may stop them.
class Workers {
 public:
  explicit Workers(std::vector<Process> processes) : processes_(std::move(processes)) {}
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  /// Leaves none behind, whatever was thrown.
  ~Workers() { stop(); }

  void start_all() {
    for (Process& process : processes_) {
      const std::lock_guard guard(mutex_);
      if (stopped_) return;
      process.start();
      ++started_;
    }
  }
  void join_all() {
    for (std::size_t i = 0; i < started_; ++i) processes_[i].join();
  }
  /// Kills all and returns once they have ended.
  void stop() noexcept {
    const std::lock_guard guard(mutex_);
    stopped_ = true;
    for (std::size_t i = 0; i < started_; ++i)
      if (processes_[i].is_alive()) processes_[i].kill();
    join_all();
  }

  bool any_alive() const {
    for (const Process& process : processes_)
      if (process.is_alive()) return true;
    return false;
  }
  std::vector<pid_t> pids() const {
    std::vector<pid_t> pids;
    for (const Process& process : processes_) pids.push_back(process.pid().value());
    return pids;
  }
  const Process& operator[](std::size_t part) const { return processes_[part]; }
  double cpu_s() const {
    double sum = 0;
    for (const Process& process : processes_) {
      const ProcessUsage usage = process.usage().value_or(ProcessUsage());
      sum += std::chrono::duration<double>(usage.user_time + usage.system_time).count();
    }
    return sum;
  }

 private:
  std::mutex mutex_;  // Between the thread that starts and one that stops.
  bool stopped_ = false;
  std::size_t started_ = 0;
  std::vector<Process> processes_;
};

struct Run {
  std::unique_ptr<SplitWork> work;
  double start_s = 0;
  double workers_cpu_s = 0;
};

/// Until each worker was at work.
double start_seconds(const SplitWork& work, std::size_t workers, std::int64_t started_ns) {
  if (work.parts() == 0) return 0;
  return static_cast<double>(work.begun_ns(std::min(workers, work.parts())) - started_ns) / 1e9;
}

/// Throws WorkerFailed for the first part that gave no report: its worker died.
void check_failures(const SplitWork& work, Where where) {
  for (std::size_t part = 0; part < work.parts(); ++part) {
    if (!work.failure(part)) continue;
    const std::string what = fmt::format("part {} of {} failed ({}): ", part + 1, work.parts(), to_string(where));
    try {
      std::rethrow_exception(work.failure(part));
    } catch (const TaskCrashed& crash) {
      throw WorkerFailed(what + crash.report().to_string(), crash.report());
    } catch (const std::exception& error) {
      throw WorkerFailed(what + error.what());
    }
  }
}

Run run_serial(const Workload& workload, PeakMemory* memory) {
  Run run{workload.split(1)};
  run.work->run_here();
  if (memory != nullptr) memory->sample();
  check_results(*run.work, Where::Serial);
  return run;
}

Run run_threads(const Workload& workload, Where where, std::size_t workers, PeakMemory* memory) {
  Run run{workload.split(workers)};
  std::optional<Gil> gil;
  if (where == Where::Gil) gil.emplace();
  if (run.work->parts() > workers) {
    ThreadExecutor executor({.workers = workers, .name_prefix = "compare", .gil = gil});
    const std::int64_t started_ns = steady_now_ns();
    run.work->submit(executor);
    run.work->take_submitted();
    executor.shutdown();
    if (memory != nullptr) memory->sample();
    check_failures(*run.work, where);
    check_results(*run.work, where);
    run.start_s = start_seconds(*run.work, workers, started_ns);
    return run;
  }
  std::vector<Thread> threads;
  for (std::size_t part = 0; part < run.work->parts(); ++part)
    threads.push_back(run.work->thread(ThreadOptions{.name = worker_name(part), .daemon = false, .gil = gil}, part));
  const std::int64_t started_ns = steady_now_ns();
  for (Thread& thread : threads) thread.start();
  for (Thread& thread : threads) thread.join();
  run.work->take_last_reports();
  if (memory != nullptr) memory->sample();
  check_results(*run.work, where);
  run.start_s = start_seconds(*run.work, workers, started_ns);
  return run;
}

/// More parts than workers: a pool hands them out.
void run_pool(Run& run, std::size_t workers, const CompareOptions& options, std::uint64_t* memory_bytes) {
  ProcessExecutor executor({.workers = workers,
                            .name_prefix = "compare",
                            .start_method = options.start_method,
                            .terminate_grace = std::chrono::milliseconds(0)});
  SplitWork& work = *run.work;
  const std::int64_t started_ns = steady_now_ns();
  work.submit(executor);
  {
    const std::stop_callback on_stop(options.stop, [&] {
      work.stop_submitted();
      executor.shutdown();
    });
    std::optional<PeakMemory> memory;
    if (memory_bytes != nullptr) {
      std::vector<pid_t> pids;
      for (const WorkerInfo& worker : executor.workers()) pids.push_back(worker.pid);
      memory.emplace(std::move(pids));
    }
    work.take_submitted();
    if (memory) {
      memory->sample();
      *memory_bytes = memory->bytes();
    }
  }
  throw_if_stopped(options.stop);
  for (const WorkerInfo& worker : executor.workers())
    run.workers_cpu_s += std::chrono::duration<double>(worker.cpu_time).count();
  executor.shutdown();
  check_failures(work, Where::Processes);
  check_results(work, Where::Processes);
  run.start_s = start_seconds(work, workers, started_ns);
}

/// Waits until every worker has said its result or cannot any more, and samples while they stand at the gate.
std::uint64_t sample_workers(SplitWork& work, const Workers& workers, const Gate& gate) {
  PeakMemory memory(workers.pids());
  for (std::size_t reports = 0; reports < work.parts();) {
    if (work.take_report(std::chrono::milliseconds(100))) {
      ++reports;
    } else if (!workers.any_alive()) {
      break;
    }
  }
  memory.sample();
  Queue<bool>(*gate).close();
  return memory.bytes();
}

Run run_processes(const Workload& workload, std::size_t count, const CompareOptions& options,
                  std::uint64_t* memory_bytes) {
  Run run{workload.split(count)};
  if (run.work->parts() > count) {
    run_pool(run, count, options, memory_bytes);
    return run;
  }
  Gate gate;
  if (memory_bytes != nullptr) gate.emplace();
  std::vector<Process> processes;
  for (std::size_t part = 0; part < run.work->parts(); ++part) {
    ProcessOptions process{.name = worker_name(part), .daemon = false};
    process.start_method = options.start_method;
    processes.push_back(run.work->process(std::move(process), part, gate));
  }
  Workers workers(std::move(processes));
  const std::stop_callback on_stop(options.stop, [&workers] { workers.stop(); });
  const std::int64_t started_ns = steady_now_ns();
  workers.start_all();
  throw_if_stopped(options.stop);
  if (memory_bytes != nullptr) *memory_bytes = sample_workers(*run.work, workers, gate);
  workers.join_all();
  throw_if_stopped(options.stop);
  run.work->take_last_reports();
  check_results(*run.work, Where::Processes, [&](std::size_t part) { return &workers[part]; });
  run.start_s = start_seconds(*run.work, count, started_ns);
  run.workers_cpu_s = workers.cpu_s();
  return run;
}

/// As many parts as a cluster has workers: it is there to have more than this machine.
Run run_cluster(const Workload& workload, std::size_t workers, const CompareOptions& options, PeakMemory* memory) {
  Run run{workload.split(std::max(workers, std::min(kMostClusterParts, options.cluster.worker_limit())))};
  SplitWork& work = *run.work;
  work.submit(options.cluster);
  {
    const std::stop_callback on_stop(options.stop, [&] { work.stop_submitted(); });
    work.take_submitted();
  }
  if (memory != nullptr) memory->sample();
  throw_if_stopped(options.stop);
  check_failures(work, Where::Cluster);
  check_results(work, Where::Cluster);
  return run;
}

}  // namespace

Measurement measure(const Workload& work, Where where, std::size_t workers, const CompareOptions& options,
                    Memory memory) {
  throw_if_stopped(options.stop);
  Measurement measured;
  std::optional<PeakMemory> own_memory;
  if (memory == Memory::Sample) {
    ::malloc_trim(0);  // What an earlier place has freed is not this one's need.
    if (where != Where::Processes) own_memory.emplace(std::vector<pid_t>{::getpid()});
  }
  PeakMemory* const sampler = own_memory ? &*own_memory : nullptr;
  const double cpu_before_s = own_cpu_s();
  const double crowded_before_s = own_crowded_s();
  const auto begin = std::chrono::steady_clock::now();
  Run run =
      where == Where::Serial ? run_serial(work, sampler)
      : where == Where::Processes
          ? run_processes(work, workers, options, memory == Memory::Sample ? &measured.peak_memory_bytes : nullptr)
      : where == Where::Cluster ? run_cluster(work, workers, options, sampler)
                                : run_threads(work, where, workers, sampler);
  measured.result = run.work->combine();
  measured.wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  measured.cpu_s = own_cpu_s() - cpu_before_s + run.workers_cpu_s;
  measured.start_s = run.start_s;
  if (where == Where::Serial) measured.crowded_s = own_crowded_s() - crowded_before_s;
  if (sampler != nullptr) measured.peak_memory_bytes = sampler->bytes();
  throw_if_stopped(options.stop);
  return measured;
}

}  // namespace tandem::detail
