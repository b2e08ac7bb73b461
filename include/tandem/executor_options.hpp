/// What executors and their tasks are told, and what they tell about themselves.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <tandem/gil.hpp>
#include <tandem/start_method.hpp>

namespace tandem {

/// What one task may use. Value.
struct TaskOptions {
  /// For reports and traces. Empty: that of the function.
  std::string name{};
  /// How long it may run, each attempt counted from its start. Then its future fails with DeadlineExceeded, and it is
  /// stopped as Future::stop() does.
  std::optional<std::chrono::nanoseconds> deadline{};
  /// How often it is run again if an attempt fails: by an exception, a dead worker, a passed deadline or limit. Not if
  /// it is cancelled. It must be possible to copy the callable and the arguments. In threads a passed deadline is
  /// final, since a thread cannot be ended, and the next attempt begins at once in the same thread. In a map() each
  /// item is called again by itself if its call throws; a chunk that ends in another way is run again as a whole.
  unsigned retries = 0;
  /// Processes only, refused by threads: the most memory that it may use, and the most CPU time.
  std::optional<std::uint64_t> memory_limit_bytes{};
  std::optional<std::chrono::nanoseconds> cpu_time_limit{};
};

/// How an executor differs from the usual one. Value.
struct ExecutorOptions {
  /// How many tasks run at once, at least 1. Empty: cpu_count().
  std::optional<std::size_t> workers{};
  /// Workers are called by it and a number: "parser-0", "parser-1". Empty: "Executor-N".
  std::string name_prefix{};
  /// How many tasks may wait to be run. Empty: any number.
  std::optional<std::size_t> backlog_limit{};
  /// How long submit() waits for room in the backlog before it throws BacklogFull; 0 for not at all. Empty: for ever.
  std::optional<std::chrono::nanoseconds> backlog_wait{};
  /// Of tasks that have no options of their own.
  TaskOptions task{};
  /// A file that each task is written to as it runs: its worker, start, end and outcome, as Chrome trace JSON, which
  /// Perfetto opens. Empty: the one that the environment variable TANDEM_TRACE names, or none.
  std::filesystem::path trace{};
  /// Threads only, refused by processes: each task runs while holding this Gil, except where it waits.
  std::optional<Gil> gil{};
  /// What follows is for processes, and threads take no notice of it. How they are started; empty: start_method().
  std::optional<StartMethod> start_method{};
  /// After how many tasks a worker is replaced by a new one. Empty: never.
  std::optional<std::size_t> tasks_per_child{};
  /// A worker that has more memory of its own than this behind a task is replaced by a new one. Empty: never.
  std::optional<std::uint64_t> worker_memory_bytes{};
  /// How long a process that is terminated has before it is killed.
  std::chrono::milliseconds terminate_grace{1000};
};

/// How one map() differs from the usual one. Value.
struct MapOptions {
  /// How many items make a task. Empty: found while running, so that a task takes some hundred microseconds, and with a
  /// journal some milliseconds.
  std::optional<std::size_t> chunk_size{};
  /// How many items are read from the input ahead of the first result that was not taken yet. Empty: as many as keep
  /// all workers busy.
  std::optional<std::size_t> window_items{};
  /// How long all of it may take, counted from the call. Then next() throws DeadlineExceeded and the rest is cancelled.
  std::optional<std::chrono::nanoseconds> timeout{};
  /// Of each task, which is a chunk of items: a deadline counts for the chunk. Empty: the executor's.
  std::optional<TaskOptions> task{};
};

/// What becomes of tasks that nobody has begun when their executor is shut down.
enum class Backlog {
  Run,     ///< They are run.
  Cancel,  ///< They are cancelled.
};

/// A task that was running when the time for a shutdown was over. Value.
struct GivenUpTask {
  std::string name;
  std::string worker;
};

/// What a shutdown did. Value.
struct ShutdownReport {
  std::size_t cancelled = 0;            ///< Tasks that nobody had begun.
  std::vector<GivenUpTask> given_up{};  ///< Tasks that were running; their futures failed with ExecutorShutDown.
  /// For people: "3 tasks cancelled, 1 given up: parse (in parser-0)".
  [[nodiscard]] std::string to_string() const;
};

/// A worker of an executor. Value.
struct WorkerInfo {
  std::string name;
  pid_t pid = 0;
  pid_t native_id = 0;  ///< A thread's own number; a process's pid.
  std::string task{};   ///< What it runs now; empty if it waits for work.
  /// CPU time that it has used so far, user and system.
  std::chrono::nanoseconds cpu_time{};
  /// Memory that is resident now: of its process, so for a thread that of all threads together.
  std::uint64_t memory_bytes = 0;
};

/// How many items an executor has in which state; a call of submit() is one item. They add up at every moment:
/// submitted == queued + running + done + failed + cancelled. Value.
struct ExecutorCounters {
  std::uint64_t submitted = 0;
  std::uint64_t queued = 0;
  std::uint64_t running = 0;
  std::uint64_t done = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t retried = 0;  ///< Attempts beyond the first, of any of these; those of a chunk count for each item.
  /// Items done or failed for each second since the first was submitted.
  double per_second = 0;
};

}  // namespace tandem
