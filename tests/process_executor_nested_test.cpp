// Pools in the workers of pools: one CPU budget for all, and no standstill.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include <tandem/cpu.hpp>
#include <tandem/event.hpp>
#include <tandem/executor.hpp>
#include <tandem/process.hpp>
#include <tandem/raw_value.hpp>
#include <tandem/value.hpp>

#include "executor/cpu_budget.hpp"
#include "support/executor_places.hpp"
#include "support/process_fixture.hpp"
#include "support/trouble.hpp"

namespace tandem::testing {
namespace {

using namespace std::chrono_literals;

class ProcessExecutorNestedTest : public LeakCheckedTest {};

int sum_in_a_pool(int depth, int width) {
  if (depth == 0) return 1;
  ProcessExecutor executor(2);
  int sum = 0;
  std::vector<Future<int>> futures;
  for (int task = 0; task < width; ++task) futures.push_back(executor.submit(sum_in_a_pool, depth - 1, width));
  for (const Future<int>& future : futures) sum += future.get();
  return sum;
}

// TMO-29, TMO-30: every worker of the outer pool waits for an inner one.
TEST_F(ProcessExecutorNestedTest, PoolsInPoolsDoNotStandStill) {
  ProcessExecutor executor(2);
  std::vector<Future<int>> futures;
  for (int task = 0; task < 4; ++task) futures.push_back(executor.submit(sum_in_a_pool, 2, 3));
  for (const Future<int>& future : futures) EXPECT_EQ(future.get(), 9);
}

// PRC-28
TEST_F(ProcessExecutorNestedTest, ProcessMayRunAPool) {
  Process process(sum_in_a_pool, 1, 3);
  process.start();
  process.join();
  EXPECT_EQ(process.exitcode(), 3);
}

// TMO-28
int run_a_process() {
  Process process(run, Mischief::ExitAtOnce);
  process.start();
  process.join();
  return process.exitcode().value();
}
TEST_F(ProcessExecutorNestedTest, TaskMayStartAProcess) {
  ProcessExecutor executor(1);
  EXPECT_EQ(executor.submit(run_a_process).get(), kMischiefCode);
}

// Without locks: who waits for one gives up its place to another, and counts still.
int work(RawValue<int> running, RawValue<int> most) {
  const int now = running += 1;
  most.update([now](int before) { return std::max(before, now); });
  const auto end = std::chrono::steady_clock::now() + 2ms;
  while (std::chrono::steady_clock::now() < end) continue;
  running -= 1;
  return 1;
}
int work_in_a_pool(RawValue<int> running, RawValue<int> most) {
  ProcessExecutor executor(3);
  int sum = work(running, most);
  std::vector<Future<int>> futures;
  for (int task = 0; task < 20; ++task) futures.push_back(executor.submit(work, running, most));
  for (const Future<int>& future : futures) sum += future.get();
  return sum;
}

TEST_F(ProcessExecutorNestedTest, NoMoreWorkersRunThanTheBudgetAllows) {
  const std::size_t budget = std::max<std::size_t>(3, cpu_count());
  ProcessExecutor executor(3);
  RawValue<int> running(0), most(0);
  std::vector<Future<int>> futures;
  for (int task = 0; task < 6; ++task) futures.push_back(executor.submit(work_in_a_pool, running, most));
  for (const Future<int>& future : futures) EXPECT_EQ(future.get(), 21);
  EXPECT_EQ(running.get(), 0);
  // On a busy machine one that has a place may sleep for a lock while nobody gives up a place for a long time.
  const detail::SharedObjectPtr shared = detail::cpu_budget_for_pool(3);
  const std::uint32_t exceeded = detail::CpuBudgetState::of(shared).exceeded.load();
  EXPECT_LE(most.get(), static_cast<int>(budget + exceeded));
}

int sleep_until_an_inner_task_has_run(Event ran) {
  ProcessExecutor executor(2);
  static_cast<void>(executor.submit([](Event event) { event.set(); }, ran));
  // Not a wait of Tandem's: nothing says that this worker does not run.
  while (!ran.is_set()) std::this_thread::sleep_for(1ms);
  return 1;
}

TEST_F(ProcessExecutorNestedTest, WorkersThatSleepOtherwiseLetOthersRun) {
  ProcessExecutor executor(cpu_count());
  std::vector<Future<int>> futures;
  for (std::size_t task = 0; task < cpu_count(); ++task)
    futures.push_back(executor.submit(sleep_until_an_inner_task_has_run, Event()));
  for (const Future<int>& future : futures) EXPECT_EQ(future.get(), 1);
}

int kill_an_inner_worker() {
  ProcessExecutor executor(2);
  const Future<int> killed = executor.submit(run, Mischief::Kill);
  killed.wait();
  return executor.submit(tasks::twice, 21).get();
}

// What a killed worker had of the budget comes back.
TEST_F(ProcessExecutorNestedTest, KilledWorkersGiveBackTheirPlaces) {
  ProcessExecutor executor(2);
  for (int round = 0; round < 5; ++round) {
    const Future<int> killed = executor.submit(run, Mischief::Kill), nested = executor.submit(kill_an_inner_worker);
    EXPECT_THROW(killed.get(), TaskCrashed);
    EXPECT_EQ(nested.get(), 42);
  }
}

int hold_a_pool(Value<int> inner) {
  ProcessExecutor executor(1);
  executor.submit([](Value<int> pid) { pid.set(::getpid()); }, inner).get();
  for (;;) ::pause();
}

// A worker that is killed takes the pool in it along.
TEST_F(ProcessExecutorNestedTest, InnerWorkersGoWithTheOuterOne) {
  ProcessExecutor executor(1);
  Value<int> inner(0);
  Future<int> future = executor.submit(hold_a_pool, inner);
  while (inner.get() == 0) std::this_thread::yield();
  const detail::Fd process = detail::open_pidfd(inner.get());
  EXPECT_TRUE(kill_worker(executor.workers().at(0)));
  EXPECT_THROW(future.get(), TaskCrashed);
  EXPECT_TRUE(ends_within(process, 60s));
}

// SHD-28: a shutdown that gives up ends the pools in its workers.
TEST_F(ProcessExecutorNestedTest, InnerWorkersGoWithAShutdownThatGivesUp) {
  ProcessExecutor executor(ExecutorOptions{.workers = 1, .terminate_grace = 50ms});
  Value<int> inner(0);
  const Future<int> future = executor.submit(hold_a_pool, inner);
  while (inner.get() == 0) std::this_thread::yield();
  const detail::Fd process = detail::open_pidfd(inner.get());
  EXPECT_EQ(executor.shutdown_for(0s).given_up.size(), 1u);
  EXPECT_THROW(future.get(), ExecutorShutDown);
  EXPECT_TRUE(ends_within(process, 60s));
}

}  // namespace
}  // namespace tandem::testing
