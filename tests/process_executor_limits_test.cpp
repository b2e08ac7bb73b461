// Deadlines, cancelling what runs, limits of memory and of CPU time, and workers that are replaced in good time.
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <set>
#include <string_view>
#include <thread>
#include <vector>

#include <tandem/event.hpp>
#include <tandem/executor.hpp>
#include <tandem/value.hpp>

#include "process/pidfd.hpp"
#include "support/at_kill_points.hpp"
#include "support/executor_places.hpp"
#include "support/process_fixture.hpp"
#include "support/sanitizers.hpp"
#include "support/trouble.hpp"

namespace tandem::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class ProcessExecutorLimitsTest : public LeakCheckedTest {};

/// Never ends by itself.
int run_for_ever(Value<int> pid) {
  pid.set(::getpid());
  for (;;) ::pause();
}
int run_for_ever_without_sigterm(Value<int> pid) {
  ::signal(SIGTERM, SIG_IGN);
  return run_for_ever(pid);
}
int use_cpu_for_ever() {
  for (volatile unsigned round = 0;;) round = round + 1;
}

void wait_for(Event event) {
  event.wait();
}

pid_t once_set(Value<int>& pid) {
  while (pid.get() == 0) std::this_thread::yield();
  return pid.get();
}

// POL-26, TMO-01, TMO-02, TMO-03: the worker is really gone.
TEST_F(ProcessExecutorLimitsTest, TaskThatPassesItsDeadlineIsStopped) {
  ProcessExecutor executor(1);
  const detail::Fd worker = detail::open_pidfd(executor.submit(::getpid).get());
  const Future<int> future = executor.submit(TaskOptions{.deadline = 100ms}, run_for_ever, Value<int>(0));
  bool told = false;
  future.add_done_callback([&](const Future<int>& done) { told = done.exception() != nullptr; });
  EXPECT_THROW(future.get(), DeadlineExceeded);
  EXPECT_TRUE(told);
  EXPECT_TRUE(ends_within(worker, 60s));
  EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2);
}

// TMO-07
TEST_F(ProcessExecutorLimitsTest, TaskThatIgnoresSigtermIsKilled) {
  ProcessExecutor executor(ExecutorOptions{.workers = 1, .terminate_grace = 50ms});
  Value<int> pid(0);
  Future<int> future = executor.submit(run_for_ever_without_sigterm, pid);
  const detail::Fd worker = detail::open_pidfd(once_set(pid));
  EXPECT_TRUE(future.stop());
  EXPECT_TRUE(ends_within(worker, 60s));
}

// TMO-04, TMO-05, TMO-06
TEST_F(ProcessExecutorLimitsTest, RunningTaskCanBeStopped) {
  ProcessExecutor executor(1);
  Value<int> pid(0);
  Future<int> future = executor.submit(run_for_ever, pid);
  bool told = false;
  future.add_done_callback([&](const Future<int>& done) { told = done.cancelled(); });
  const detail::Fd worker = detail::open_pidfd(once_set(pid));
  EXPECT_FALSE(future.cancel());
  EXPECT_TRUE(future.stop());
  EXPECT_TRUE(told);
  EXPECT_THROW(future.get(), TaskCancelled);
  EXPECT_TRUE(ends_within(worker, 60s));
  EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2);
}

// Stopping one takes nothing from those that wait behind it.
TEST_F(ProcessExecutorLimitsTest, StoppingOneTaskHarmsNoOther) {
  ProcessExecutor executor(2);
  for (int warm = 0; warm < 1000; ++warm) static_cast<void>(executor.submit(tasks::nothing));
  Value<int> calls(0);
  std::vector<Future<int>> futures;
  for (int task = 0; task < 3000; ++task) futures.push_back(executor.submit(tasks::add_to, calls, 1));
  for (int task = 0; task < 3000; task += 50) futures[task].stop();
  int kept = 0;
  for (const Future<int>& future : futures) {
    future.wait();
    if (!future.cancelled()) ++kept, future.get();
  }
  EXPECT_GE(kept, 3000 - 60);
  EXPECT_GE(calls.get(), kept);
}

// The time until it is begun does not count.
TEST_F(ProcessExecutorLimitsTest, DeadlineCountsFromTheStart) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "needs a build with kill points";
  std::atomic<bool> too_early{false};
  AtKillPoints watch([&](std::string_view name) {
    if (name == "pool.deadline_later") too_early = true;
  });
  Event go;
  ProcessExecutor executor(ExecutorOptions{.workers = 1}, wait_for, go);
  const Future<int> future = executor.submit(TaskOptions{.deadline = 100ms}, run_for_ever, Value<int>(0));
  while (!too_early && !future.done()) std::this_thread::yield();
  EXPECT_FALSE(future.done());
  const auto begun = std::chrono::steady_clock::now();
  go.set();
  EXPECT_THROW(future.get(), DeadlineExceeded);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 100ms);
  executor.shutdown();
}

int too_slow_at_first(Value<int> attempts) {
  if ((attempts += 1) == 1)
    for (;;) ::pause();
  return attempts.get();
}

TEST_F(ProcessExecutorLimitsTest, TaskThatPassedItsDeadlineIsTriedAgainIfAskedFor) {
  ProcessExecutor executor(1);
  Value<int> attempts(0);
  EXPECT_GE(executor.submit(TaskOptions{.deadline = 200ms, .retries = 100}, too_slow_at_first, attempts).get(), 2);
}

int pause_at(int item) {
  if (item == 2)
    for (;;) ::pause();
  return item;
}

// TMO-23, TMO-24, TMO-25: the deadline is of each task, and the results go on behind it.
TEST_F(ProcessExecutorLimitsTest, EachChunkOfAMapHasTheDeadline) {
  ProcessExecutor executor(2);
  // Tried again: on a busy machine one that takes no time may pass its deadline too, but not each time.
  auto results = executor.map(MapOptions{.chunk_size = 1, .task = TaskOptions{.deadline = 300ms, .retries = 9}},
                              pause_at, std::vector{0, 1, 2, 3, 4});
  std::vector<int> found;
  int late = 0;
  for (int item = 0; item < 5; ++item) {
    try {
      found.push_back(results.next().value());
    } catch (const DeadlineExceeded&) {
      ++late;
    }
  }
  EXPECT_EQ(late, 1);
  EXPECT_EQ(found, (std::vector{0, 1, 3, 4}));
}

std::size_t fill(std::size_t mebibytes) {
  std::vector<std::vector<char>> all;
  for (std::size_t at = 0; at < mebibytes; ++at) all.emplace_back(1 << 20, 'x');
  return all.size();
}

TEST_F(ProcessExecutorLimitsTest, TaskThatWantsTooMuchMemoryFails) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's memory cannot be limited";
  ProcessExecutor executor(1);
  const pid_t worker = executor.submit(::getpid).get();
  constexpr std::uint64_t kLimit = 64 << 20;
  try {
    executor.submit(TaskOptions{.memory_limit_bytes = kLimit}, fill, 500).get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.limit_bytes(), kLimit);
    EXPECT_GT(error.peak_bytes(), kLimit / 2);
    EXPECT_THAT(error.what(), HasSubstr("fill"));
  }
  // Those that keep to it, and those that have none, are not touched, and it is the same worker.
  EXPECT_EQ(executor.submit(TaskOptions{.memory_limit_bytes = kLimit}, fill, 30).get(), 30u);
  EXPECT_EQ(executor.submit(fill, 200).get(), 200u);
  EXPECT_EQ(executor.submit(::getpid).get(), worker);
}

std::size_t fill_more_and_more(Value<int> calls, std::size_t mebibytes) {
  calls += 1;
  return fill(mebibytes);
}

TEST_F(ProcessExecutorLimitsTest, LargestLimitIsNone) {
  ProcessExecutor executor(1);
  const TaskOptions options{.deadline = std::chrono::nanoseconds::max(), .memory_limit_bytes = ~std::uint64_t{0}};
  EXPECT_EQ(executor.submit(options, fill, 30).get(), 30u);
}

volatile std::sig_atomic_t asked_to_end = 0;
int end_when_asked_and_allowed(Value<int> pid, Event go, Value<int> ended) {
  ::signal(SIGTERM, [](int) { asked_to_end = 1; });
  pid.set(::getpid());
  while (asked_to_end == 0) std::this_thread::sleep_for(1ms);  // A call in which every sanitizer lets signals in.
  go.wait();
  ended.set(1);
  return 0;
}

TEST_F(ProcessExecutorLimitsTest, LongestGraceTimeIsForEver) {
  ProcessExecutor executor(ExecutorOptions{.workers = 2, .terminate_grace = std::chrono::milliseconds::max()});
  Value<int> pid(0), ended(0);
  Event go;
  Future<int> future = executor.submit(end_when_asked_and_allowed, pid, go, ended);
  const detail::Fd worker = detail::open_pidfd(once_set(pid));
  EXPECT_TRUE(future.stop());
  // The pool's thread has looked whether somebody is to be killed.
  for (int task = 0; task < 3; ++task) EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2);
  go.set();
  EXPECT_TRUE(ends_within(worker, 60s));
  EXPECT_EQ(ended.get(), 1);
}

// The items beside it have their results.
TEST_F(ProcessExecutorLimitsTest, ItemOfAMapThatWantsTooMuchMemoryFails) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's memory cannot be limited";
  ProcessExecutor executor(1);
  constexpr std::uint64_t kLimit = 64 << 20;
  Value<int> calls(0);
  const MapOptions options{.chunk_size = 3, .task = TaskOptions{.retries = 2, .memory_limit_bytes = kLimit}};
  auto results = executor.map(options, fill_more_and_more, std::vector(3, calls), std::vector<std::size_t>{1, 500, 2});
  EXPECT_EQ(results.next(), 1u);
  try {
    static_cast<void>(results.next());
    ADD_FAILURE() << "nothing was thrown";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.limit_bytes(), kLimit);
    EXPECT_GT(error.peak_bytes(), kLimit / 2);
  }
  EXPECT_EQ(results.next(), 2u);
  EXPECT_EQ(calls.get(), 5);
}

std::size_t fill_or_abort(std::size_t mebibytes) noexcept {
  return fill(mebibytes);
}

TEST_F(ProcessExecutorLimitsTest, WorkerThatDiesForLackOfMemoryIsOutOfMemoryToo) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's memory cannot be limited";
  ProcessExecutor executor(1);
  EXPECT_THROW(executor.submit(TaskOptions{.memory_limit_bytes = 64 << 20}, fill_or_abort, 500).get(), OutOfMemory);
  EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2);
}

TEST_F(ProcessExecutorLimitsTest, TaskThatUsesTooMuchCpuTimeIsStopped) {
  if (kThreadSanitized) GTEST_SKIP() << "the thread sanitizer puts a signal off until the next call of the C library";
  ProcessExecutor executor(1);
  EXPECT_THROW(executor.submit(TaskOptions{.cpu_time_limit = 50ms}, use_cpu_for_ever).get(), CpuTimeExceeded);
  EXPECT_EQ(executor.submit(TaskOptions{.cpu_time_limit = 10s}, tasks::twice, 1).get(), 2);
}

TEST_F(ProcessExecutorLimitsTest, LimitsAreChecked) {
  const auto with = [](auto change) {
    ExecutorOptions options{.workers = 1};
    change(options);
    return ProcessExecutor(std::move(options));
  };
  EXPECT_THROW(with([](auto& o) { o.gil = Gil(); }), std::invalid_argument);
  EXPECT_THROW(with([](auto& o) { o.terminate_grace = -1ms; }), std::invalid_argument);
  EXPECT_THROW(with([](auto& o) { o.worker_memory_bytes = 0; }), std::invalid_argument);
  EXPECT_THROW(with([](auto& o) { o.task.memory_limit_bytes = 0; }), std::invalid_argument);
  EXPECT_THROW(with([](auto& o) { o.task.cpu_time_limit = 0ns; }), std::invalid_argument);
  EXPECT_THROW(with([](auto& o) { o.tasks_per_child = 0; }), std::invalid_argument);  // POL-30
}

std::size_t leak(std::size_t mebibytes) {
  static std::vector<std::vector<char>> leaked;
  for (std::size_t at = 0; at < mebibytes; ++at) leaked.emplace_back(1 << 20, 'x');
  return leaked.size();
}

// EXE-89
TEST_F(ProcessExecutorLimitsTest, WorkerThatGrewIsReplacedQuietly) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer has much memory of its own";
  ProcessExecutor executor(ExecutorOptions{.workers = 1, .worker_memory_bytes = 100 << 20});
  const pid_t before = executor.submit(::getpid).get();
  EXPECT_EQ(executor.submit(leak, 150).get(), 150u);
  // Behind a task it looks at its memory every 10 ms at the most.
  while (executor.submit(::getpid).get() == before) std::this_thread::yield();
  EXPECT_EQ(executor.submit(leak, 1).get(), 1u);
  EXPECT_EQ(executor.counters().failed, 0u);
}

// EXE-26, EXE-28, POL-28, TMO-22: a backlog that is longer than the quota is done, by as many workers as it takes.
TEST_F(ProcessExecutorLimitsTest, WorkersAreReplacedBehindTheirQuota) {
  ExecutorOptions options{.workers = 2};
  options.tasks_per_child = 3;
  ProcessExecutor executor(options);
  std::vector<Future<pid_t>> futures;
  for (int task = 0; task < 60; ++task) futures.push_back(executor.submit(::getpid));
  std::map<pid_t, int> ran;
  for (const Future<pid_t>& future : futures) ++ran[future.get()];
  EXPECT_GE(ran.size(), 20u);
  for (const auto& [pid, count] : ran) EXPECT_LE(count, 3);
}

int wait_and_give(Event event) {
  event.wait();
  return 1;
}
int set_and_give(Event event) {
  event.set();
  return 1;
}

// What was sent to a worker as the last that it may run can be taken back as well, when it waits behind a long task.
TEST_F(ProcessExecutorLimitsTest, QuotaKeepsNothingBehindALongTask) {
  constexpr std::size_t kQuick = 200;
  ProcessExecutor executor(ExecutorOptions{.workers = 2, .tasks_per_child = kQuick + 2});
  // So quick, in one worker, that the next two are sent to it together.
  for (std::size_t task = 0; task < kQuick; ++task) executor.submit(tasks::nothing).get();
  const Event event;
  const Future<int> waits = executor.submit(wait_and_give, event), sets = executor.submit(set_and_give, event);
  EXPECT_EQ(waits.get() + sets.get(), 2);
}

// EXE-29, POL-29, SHD-22, SHD-23, CRS-04: while they turn over, closing runs what is left; giving up ends it.
TEST_F(ProcessExecutorLimitsTest, CloseWhileWorkersTurnOver) {
  for (int round = 0; round < 10; ++round) {
    ExecutorOptions options{.workers = 2};
    options.tasks_per_child = 1;
    ProcessExecutor executor(options);
    std::vector<Future<int>> futures;
    for (int task = 0; task < 10; ++task) futures.push_back(executor.submit(tasks::twice, task));
    executor.close();
    ShutdownReport report;
    if (round % 2 == 1) report = executor.shutdown_for(0s, Backlog::Cancel);
    std::size_t cancelled = 0, given_up = 0;
    for (int task = 0; task < 10; ++task) {
      try {
        EXPECT_EQ(futures[task].get(), 2 * task);
      } catch (const TaskCancelled&) {
        ++cancelled;
      } catch (const ExecutorShutDown&) {
        ++given_up;
      }
    }
    EXPECT_EQ(cancelled, report.cancelled);
    EXPECT_LE(given_up, report.given_up.size());  // One may have ended at that moment.
  }
}

// EXE-23, EXE-24, EXE-25: one worker for one task after the other, and no more than allowed.
TEST_F(ProcessExecutorLimitsTest, IdleWorkersAreUsedAgain) {
  ProcessExecutor executor(3);
  std::set<pid_t> pids;
  for (int task = 0; task < 50; ++task) pids.insert(executor.submit(::getpid).get());
  EXPECT_EQ(pids.size(), 1u);
  executor.map(tasks::twice, std::vector<int>(100000)).to_vector();
  EXPECT_LE(executor.workers().size(), 3u);
}

// SHD-28, SHD-29, POL-17, TMO-17, TMO-20, CRS-06, CRS-07: what runs gets SIGTERM and then SIGKILL, what waits is
// cancelled.
TEST_F(ProcessExecutorLimitsTest, ShutdownGivesUpWhatGoesOn) {
  ProcessExecutor executor(ExecutorOptions{.workers = 2, .terminate_grace = 50ms});
  Value<int> first(0), second(0);
  const Future<int> a = executor.submit(run_for_ever, first), b = executor.submit(run_for_ever_without_sigterm, second);
  const detail::Fd one = detail::open_pidfd(once_set(first)), other = detail::open_pidfd(once_set(second));
  std::vector<Future<int>> waiting;
  for (int task = 0; task < 10000; ++task) waiting.push_back(executor.submit(run_for_ever, first));
  const ShutdownReport report = executor.shutdown_for(10ms);
  EXPECT_EQ(report.cancelled, 10000u);
  EXPECT_EQ(report.given_up.size(), 2u);
  EXPECT_THROW(a.get(), ExecutorShutDown);
  EXPECT_THROW(b.get(), ExecutorShutDown);
  for (const Future<int>& future : waiting) EXPECT_TRUE(future.cancelled());
  EXPECT_TRUE(ends_within(one, 60s));
  EXPECT_TRUE(ends_within(other, 60s));
}

// CRS-10, CRS-11: without workers, or with a broken executor, there is nothing to end.
TEST_F(ProcessExecutorLimitsTest, ShutdownOfAnExecutorWithoutWorkers) {
  ProcessExecutor unused(2);
  EXPECT_EQ(unused.shutdown_for(0s).to_string(), "0 tasks cancelled, 0 given up");
  ProcessExecutor broken(ExecutorOptions{.workers = 1}, make, Mischief::Crash);
  EXPECT_THROW(broken.submit(tasks::twice, 1).get(), BrokenExecutor);
  EXPECT_EQ(broken.shutdown_for(10s).given_up.size(), 0u);
}

// EXE-39, EXE-40: an initializer that fails in whatever way is told of once, without workers that start for ever.
TEST_F(ProcessExecutorLimitsTest, FailingInitializerIsTold) {
  for (const StartMethod method : {StartMethod::ForkServer, StartMethod::Spawn})
    for (const Mischief mischief : {Mischief::Throw, Mischief::AskToExit, Mischief::Exit, Mischief::ExitAtOnce}) {
      ExecutorOptions options{.workers = 2};
      options.start_method = method;
      ProcessExecutor executor(options, make, mischief);
      try {
        executor.submit(tasks::twice, 1).get();
        ADD_FAILURE() << "nothing was thrown";
      } catch (const BrokenExecutor& error) {
        EXPECT_THAT(error.what(), HasSubstr("initializer"));
      }
      EXPECT_THROW(executor.submit(tasks::twice, 1).get(), BrokenExecutor);
    }
}

// POL-34, EXE-107
TEST_F(ProcessExecutorLimitsTest, ManyWorkers) {
  const std::size_t workers = kSanitized ? 20 : 200;
  ProcessExecutor executor(workers);
  Event go;
  std::vector<Future<int>> futures;
  for (std::size_t task = 0; task < workers; ++task) futures.push_back(executor.submit(tasks::hold, Event(), go, 1));
  EXPECT_EQ(executor.workers().size(), workers);
  go.set();
  int sum = 0;
  for (const Future<int>& future : futures) sum += future.get();
  EXPECT_EQ(sum, static_cast<int>(workers));
}

}  // namespace
}  // namespace tandem::testing
