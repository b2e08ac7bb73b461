// What becomes of tasks that were handed to a worker and not begun, when their pool is shut down.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <tandem/event.hpp>
#include <tandem/executor.hpp>
#include <tandem/thread.hpp>
#include <tandem/value.hpp>

#include "support/at_kill_points.hpp"
#include "support/executor_places.hpp"

namespace tandem::testing {
namespace {

using namespace std::chrono_literals;

class ProcessExecutorShutdownTest : public LeakCheckedTest {};

void wait_for(Event event) {
  event.wait();
}

int count_and_hold(Value<int> begun, Event go) {
  begun += 1;
  go.wait();
  return 1;
}

// SHD-28: the worker has the task and has not come to it.
TEST_F(ProcessExecutorShutdownTest, WhatAStartingWorkerHasIsCancelled) {
  Event go;
  Value<int> begun(0);
  ProcessExecutor executor(ExecutorOptions{.workers = 1, .terminate_grace = 50ms}, wait_for, go);
  const Future<int> future = executor.submit(count_and_hold, begun, go);
  const ShutdownReport report = executor.shutdown_for(0s);
  EXPECT_EQ(report.cancelled, 1u);
  EXPECT_EQ(report.given_up.size(), 0u);
  EXPECT_TRUE(future.cancelled());
  executor.shutdown();  // Ends, though the initializer never does.
  EXPECT_EQ(begun.get(), 0);
}

// SHD-28: of those that were sent ahead one is begun; the others are cancelled and never run.
TEST_F(ProcessExecutorShutdownTest, WhatWasSentAheadIsCancelled) {
  Event go;
  Value<int> begun(0);
  ProcessExecutor executor(ExecutorOptions{.workers = 1, .terminate_grace = 50ms});
  // So quick that the worker is sent many ahead.
  for (int task = 0; task < 1000; ++task) executor.submit(tasks::nothing).wait();
  std::vector<Future<int>> futures;
  for (int task = 0; task < 20; ++task) futures.push_back(executor.submit(count_and_hold, begun, go));
  while (begun.get() == 0) std::this_thread::yield();
  const ShutdownReport report = executor.shutdown_for(0s);
  EXPECT_EQ(report.cancelled, 19u);
  EXPECT_EQ(report.given_up.size(), 1u);
  for (const Future<int>& future : futures) EXPECT_TRUE(future.done());
  EXPECT_THROW(futures.front().get(), ExecutorShutDown);
  executor.shutdown();
  EXPECT_EQ(begun.get(), 1);
}

// SHD-23: the last reference goes in what goes on behind a task, in the pool's own thread.
TEST_F(ProcessExecutorShutdownTest, ExecutorIsDroppedBehindItsOwnTask) {
  Event begun, go;
  auto executor = std::make_shared<ProcessExecutor>(1);
  const Future<int> future = executor->submit(tasks::hold, begun, go, 1);
  begun.wait();
  const Future<int> behind = executor->submit(tasks::twice, 1);
  std::atomic<bool> refused{false};
  future.add_done_callback([&, mine = executor](const Future<int>&) mutable {
    try {
      mine->shutdown();
    } catch (const StateError&) {
      refused = true;
    }
    mine.reset();
  });
  executor.reset();
  go.set();
  EXPECT_EQ(future.get(), 1);
  EXPECT_TRUE(refused);
  EXPECT_EQ(behind.get(), 2);
  while (enumerate().size() > 1) std::this_thread::yield();  // The pool's thread ends by itself.
}

// The arena was full for a moment, say.
TEST_F(ProcessExecutorShutdownTest, TaskThatCannotBeSentIsSentAgain) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "needs a build with kill points";
  Event begun, go;
  ProcessExecutor executor(1);
  const Future<int> held = executor.submit(tasks::hold, begun, go, 1);
  begun.wait();
  const Future<int> waiting = executor.submit(tasks::twice, 1);
  std::atomic<int> failures{0};
  AtKillPoints fail([&](std::string_view name) {
    if (name == "pool.send" && failures++ < 2)
      throw std::system_error(ENOMEM, std::generic_category(), "the arena has no room");
  });
  go.set();
  EXPECT_EQ(waiting.get(), 2);
  EXPECT_EQ(failures, 3);
  executor.shutdown();
}

int die_at_first(Value<int> pid, Value<int> attempts) {
  if ((attempts += 1) > 1) return 1;
  pid.set(::getpid());
  for (;;) ::pause();
}

// Between the look and the stop its attempt fails, and it waits for another one.
TEST_F(ProcessExecutorShutdownTest, StopMeetsATaskThatGoesBackToTheQueue) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "needs a build with kill points";
  ProcessExecutor executor(1);
  Value<int> pid(0), attempts(0);
  const Future<int> future = executor.submit(TaskOptions{.retries = 1}, die_at_first, pid, attempts);
  while (pid.get() == 0) std::this_thread::yield();
  Event queued, stopped;
  AtKillPoints meet([&](std::string_view name) {
    if (name == "future.stop" && !queued.is_set()) {
      ::kill(pid.get(), SIGKILL);
      queued.wait();
    } else if (name == "pool.buried") {
      queued.set();
      stopped.wait();
    }
  });
  EXPECT_TRUE(future.stop());
  stopped.set();
  EXPECT_TRUE(future.cancelled());
  executor.shutdown();
  EXPECT_EQ(attempts.get(), 1);
}

}  // namespace
}  // namespace tandem::testing
