// What becomes of tasks that were handed to a worker and not begun, when their pool is shut down.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

#include <tandem/event.hpp>
#include <tandem/executor.hpp>
#include <tandem/value.hpp>

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

}  // namespace
}  // namespace tandem::testing
