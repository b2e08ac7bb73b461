// Everything at once, from many threads, in processes: what is promised holds, whoever is faster.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include <tandem/executor.hpp>

#include "support/executor_places.hpp"
#include "support/random.hpp"
#include "support/sanitizers.hpp"

namespace tandem::testing {
namespace {

using namespace std::chrono_literals;

class ProcessExecutorManyTest : public LeakCheckedTest {};

int fail() {
  throw std::runtime_error("fails");
}
int leave() {
  ::_exit(3);
}
int pause_for_ever() {
  for (;;) ::pause();
}

Future<int> submit_any(ProcessExecutor& executor, unsigned choice) {
  switch (choice % 16) {
    case 0:
      return executor.submit(fail);
    case 1:
      return executor.submit({.retries = 1}, fail);
    case 2:
      return executor.submit({.deadline = 1ms}, pause_for_ever);
    case 3:
      return executor.submit({.retries = choice % 2}, leave);
    default:
      return executor.submit(tasks::twice, static_cast<int>(choice % 1000));
  }
}

TEST_F(ProcessExecutorManyTest, EveryTaskHasOneOutcomeHoweverItIsTreated) {
  const int threads = 3, tasks = kSanitized ? 40 : 150;
  std::atomic<std::uint64_t> told{0}, submitted{0};
  ProcessExecutor executor(ExecutorOptions{.workers = 3, .terminate_grace = 10ms});
  {
    std::vector<std::jthread> submitters;
    for (int thread = 0; thread < threads; ++thread)
      submitters.emplace_back([&, random = random_engine(static_cast<std::uint64_t>(thread))]() mutable {
        std::vector<Future<int>> mine;
        for (int task = 0; task < tasks; ++task) {
          mine.push_back(submit_any(executor, static_cast<unsigned>(random())));
          ++submitted;
          mine.back().add_done_callback([&told](const Future<int>& future) {
            EXPECT_TRUE(future.done());
            ++told;
          });
          const Future<int>& any = mine[random() % mine.size()];
          if (random() % 4 == 0) any.cancel();
          if (random() % 8 == 0) any.stop();
          if (random() % 8 == 0) static_cast<void>(tandem::wait_for({any}, 20us));
        }
        for (const Future<int>& future : as_completed(mine)) EXPECT_TRUE(future.done());
      });
  }
  EXPECT_EQ(told, submitted);
  executor.shutdown();
  const ExecutorCounters counters = executor.counters();
  EXPECT_EQ(counters.queued + counters.running, 0u);
  EXPECT_EQ(counters.submitted, counters.done + counters.failed + counters.cancelled);
}

// Pools that are shut down in every way while threads submit: each task that was taken has an outcome.
TEST_F(ProcessExecutorManyTest, ShutdownAtAnyMomentLeavesNoTaskBehind) {
  auto random = random_engine();
  for (int round = 0; round < (kSanitized ? 8 : 30); ++round) {
    auto executor = std::make_unique<ProcessExecutor>(
        ExecutorOptions{.workers = 1 + random() % 3,
                        .backlog_limit = random() % 2 == 0 ? std::nullopt : std::optional<std::size_t>(4),
                        .terminate_grace = 10ms});
    std::vector<std::vector<Future<int>>> futures(2);
    std::vector<std::jthread> threads;
    for (std::vector<Future<int>>& mine : futures)
      threads.emplace_back([&executor = *executor, &mine] {
        try {
          for (int task = 0; task < 2000; ++task) mine.push_back(executor.submit(tasks::twice, task));
        } catch (const ExecutorShutDown&) {
        }
      });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));  // Any moment is a good one.
    switch (random() % 4) {
      case 0:
        executor->shutdown();
        break;
      case 1:
        executor->shutdown(Backlog::Cancel);
        break;
      case 2:
        executor->shutdown_for(std::chrono::microseconds(random() % 200));
        break;
      default:
        executor->close(Backlog::Cancel);
    }
    threads.clear();
    executor.reset();
    for (const std::vector<Future<int>>& mine : futures)
      for (const Future<int>& future : mine) future.wait();
  }
}

}  // namespace
}  // namespace tandem::testing
