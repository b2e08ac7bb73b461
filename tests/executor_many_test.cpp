// Everything at once, from many threads: what is promised holds, whoever is faster.
#include <tandem/executor.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/bodies.hpp"
#include "support/random.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

class ExecutorManyTest : public ThreadFixture {};

/// What became of the tasks, as their callbacks saw it and as who waited saw it.
struct Seen {
  std::atomic<std::uint64_t> told{0}, values{0}, errors{0}, cancelled{0};

  void note(const Future<int>& future) {
    switch (future.status()) {
      case FutureStatus::Finished:
        ++values;
        break;
      case FutureStatus::Failed:
        ++errors;
        break;
      case FutureStatus::Cancelled:
        ++cancelled;
        break;
      default:
        ADD_FAILURE() << "a callback saw " << future.to_string();
    }
    ++told;
  }
};

Future<int> submit_any(ThreadExecutor& executor, unsigned choice) {
  switch (choice % 6) {
    case 0:
      return executor.submit([]() -> int { throw std::runtime_error("fails"); });
    case 1:
      return executor.submit({.retries = 1}, [choice]() -> int {
        if (choice % 12 == 1) throw std::runtime_error("fails twice");
        return 1;
      });
    case 2:
      return executor.submit({.deadline = std::chrono::microseconds(50)}, [](const std::stop_token& stop) {
        bodies::wait_for_stop(stop);
        return 1;
      });
    case 3:
      return executor.submit([&executor] { return executor.submit([] { return 1; }).get(); });
    default:
      return executor.submit([choice] { return static_cast<int>(choice); });
  }
}

TEST_F(ExecutorManyTest, EveryTaskHasOneOutcomeHoweverItIsTreated) {
  constexpr int kThreads = 4, kTasks = 400;
  Seen seen;
  ThreadExecutor executor(3);
  std::atomic<std::uint64_t> submitted{0};
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread)
      threads.emplace_back([&, random = random_engine(static_cast<std::uint64_t>(thread))]() mutable {
        std::vector<Future<int>> mine;
        for (int task = 0; task < kTasks; ++task) {
          mine.push_back(submit_any(executor, static_cast<unsigned>(random())));
          ++submitted;
          mine.back().add_done_callback([&seen](const Future<int>& future) { seen.note(future); });
          const Future<int>& any = mine[random() % mine.size()];
          if (random() % 4 == 0) any.cancel();
          if (random() % 8 == 0) any.stop();
          if (random() % 8 == 0) static_cast<void>(tandem::wait_for({any}, std::chrono::microseconds(20)));
        }
        for (const Future<int>& future : as_completed(mine)) EXPECT_TRUE(future.done());
      });
  }
  EXPECT_EQ(seen.told, submitted);
  EXPECT_EQ(seen.values + seen.errors + seen.cancelled, submitted);
  executor.shutdown();
  const ExecutorCounters counters = executor.counters();
  EXPECT_EQ(counters.queued + counters.running, 0u);
  EXPECT_EQ(counters.submitted, counters.done + counters.failed + counters.cancelled);
}

// Executors that are shut down in every way while threads submit: each task that was taken has an outcome.
TEST_F(ExecutorManyTest, ShutdownAtAnyMomentLeavesNoTaskBehind) {
  auto random = random_engine();
  for (int round = 0; round < 60; ++round) {
    auto executor = std::make_unique<ThreadExecutor>(
        ExecutorOptions{.workers = 1 + random() % 3,
                        .backlog_limit = random() % 2 == 0 ? std::nullopt : std::optional<std::size_t>(4)});
    std::vector<std::vector<Future<int>>> futures(3);
    std::vector<std::jthread> threads;
    for (std::vector<Future<int>>& mine : futures)
      threads.emplace_back([&executor = *executor, &mine] {
        try {
          for (int task = 0; task < 2000; ++task) mine.push_back(executor.submit([task] { return task; }));
        } catch (const ExecutorShutDown&) {
        }
      });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));  // Any moment is a good one.
    const auto mode = random() % 4;
    switch (mode) {
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
    for (const std::vector<Future<int>>& mine : futures) {
      for (const Future<int>& future : mine) {
        // One that was about to tell its result when the time was over is not waited for.
        if (mode == 2) future.wait();
        EXPECT_TRUE(future.done());
      }
    }
  }
}

}  // namespace
}  // namespace tandem::testing
