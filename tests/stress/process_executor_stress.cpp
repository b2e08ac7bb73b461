// A pool whose workers are killed all the time: every task's result comes, exactly once, and nothing is left.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include <tandem/executor.hpp>
#include <tandem/value.hpp>

#include "support/executor_places.hpp"
#include "support/leak_checked_test.hpp"
#include "support/random.hpp"

namespace tandem::testing {
namespace {

using namespace std::chrono_literals;

class ProcessExecutorStress : public LeakCheckedTest {
 protected:
  std::chrono::seconds time_limit() const override { return soak() ? 1500s : 110s; }
  static bool soak() { return std::getenv("TANDEM_SOAK") != nullptr; }
};

/// Small ones, middling ones, and now and then a large result.
std::vector<int> work(int task) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(task % 7 == 0 ? 1000 : 50);
  while (std::chrono::steady_clock::now() < end) continue;
  return std::vector<int>(task % 100 == 0 ? 20'000 : 1, task);
}

/// Kills a worker of an executor every 10 ms while it lives. Owner.
class Killer {
 public:
  explicit Killer(ProcessExecutor& executor) : thread_([this, &executor] { run(executor); }) {}
  ~Killer() { stop(); }
  Killer(const Killer&) = delete;
  Killer& operator=(const Killer&) = delete;
  /// Gives how many it has killed. Not before its end: the last one may be dead and not counted yet.
  int stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return kills_;
  }

 private:
  void run(ProcessExecutor& executor) {
    std::mt19937_64 random = random_engine();
    while (!stop_) {
      std::this_thread::sleep_for(10ms);
      const std::vector<WorkerInfo> workers = executor.workers();
      if (workers.empty()) continue;
      // Its pid is not another's yet: its process is not buried while it is among the workers.
      if (kill_worker(workers[random() % workers.size()])) ++kills_;
    }
  }
  std::atomic<bool> stop_{false};
  int kills_ = 0;
  std::thread thread_;
};

// 100,000 tasks on 4 workers.
TEST_F(ProcessExecutorStress, EveryResultComesOnceWhileWorkersAreKilled) {
  const int tasks = soak() ? 100'000 : 10'000;
  int told = 0;
  {
    ExecutorOptions options{.workers = 4};
    options.task.retries = 1000;
    ProcessExecutor executor(options);
    std::vector<Future<std::vector<int>>> futures;
    std::vector<std::atomic<int>> callbacks(tasks);
    {
      Killer killer(executor);
      for (int task = 0; task < tasks; ++task) {
        futures.push_back(executor.submit(work, task));
        futures.back().add_done_callback([&callbacks, task](const auto&) { ++callbacks[task]; });
      }
      for (int task = 0; task < tasks; ++task) {
        const std::vector<int> result = std::move(futures[task]).get();
        ASSERT_EQ(result, std::vector<int>(task % 100 == 0 ? 20'000 : 1, task)) << task;
      }
      told = killer.stop();
    }
    for (const std::atomic<int>& callback : callbacks) EXPECT_EQ(callback, 1);
    const ExecutorCounters counters = executor.counters();
    EXPECT_EQ(counters.submitted, static_cast<std::uint64_t>(tasks));
    EXPECT_EQ(counters.done, static_cast<std::uint64_t>(tasks));
    RecordProperty("retried", static_cast<int>(counters.retried));
    std::printf("%d workers were killed, %d attempts lost\n", told, static_cast<int>(counters.retried));
  }
  EXPECT_GT(told, 10);
}

// The same for a map, whose chunks are lost as a whole and done again.
TEST_F(ProcessExecutorStress, MapIsWholeWhileWorkersAreKilled) {
  const int items = soak() ? 100'000 : 10'000;
  ExecutorOptions options{.workers = 4};
  options.task.retries = 1000;
  ProcessExecutor executor(options);
  Killer killer(executor);
  std::vector<int> input(items);
  for (int item = 0; item < items; ++item) input[item] = item;
  int next = 0;
  for (const std::vector<int>& result : executor.map(work, input)) ASSERT_EQ(result.at(0), next++);
  EXPECT_EQ(next, items);
}

// Without retries: what a killed worker ran fails, everything else succeeds, and nothing is begun twice.
int count(Value<int> begun, int task) {
  begun += 1;
  work(task);
  return task;
}
TEST_F(ProcessExecutorStress, NothingIsBegunTwiceWithoutRetries) {
  const int tasks = soak() ? 50'000 : 5'000;
  ProcessExecutor executor(4);
  Value<int> begun(0);
  std::vector<Future<int>> futures;
  int failed = 0, kills = 0;
  {
    Killer killer(executor);
    for (int task = 0; task < tasks; ++task) futures.push_back(executor.submit(count, begun, task));
    for (int task = 0; task < tasks; ++task) {
      if (futures[task].exception() == nullptr) {
        ASSERT_EQ(futures[task].get(), task);
      } else {
        EXPECT_THROW(futures[task].get(), TaskCrashed);
        ++failed;
      }
    }
    kills = killer.stop();
  }
  EXPECT_LE(failed, kills);
  // One that was killed between its beginning and its first line has not counted itself.
  EXPECT_LE(begun.get(), tasks);
  EXPECT_GE(begun.get(), tasks - failed);
}

}  // namespace
}  // namespace tandem::testing
