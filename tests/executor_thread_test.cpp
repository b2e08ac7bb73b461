// What only threads can do: closures with references, tasks that wait for tasks of their own pool, a Gil.
#include <gmock/gmock.h>
#include <tandem/executor.hpp>

#include <atomic>
#include <latch>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string_view>
#include <thread>
#include <typeinfo>
#include <vector>

#include "executor/executor_core.hpp"
#include "support/at_kill_points.hpp"
#include "support/bodies.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ExecutorThreadTest : public ThreadFixture {};

TEST_F(ExecutorThreadTest, ClosuresAndMoveOnlyValuesPass) {
  std::atomic<int> seen{0};
  ThreadExecutor executor(2);
  executor.submit([&] { seen = 5; }).get();
  EXPECT_EQ(seen, 5);
  auto owned = std::make_unique<int>(7);
  std::unique_ptr<int> back = executor.submit([](std::unique_ptr<int> value) { return value; }, std::move(owned)).get();
  EXPECT_EQ(*back, 7);
  std::vector<std::unique_ptr<int>> many =
      executor.map([](int value) { return std::make_unique<int>(value); }, std::vector{1, 2, 3}).to_vector();
  EXPECT_EQ(*many[2], 3);
  int changed = 0;
  executor.submit([](int& value) { value = 3; }, std::ref(changed)).get();
  EXPECT_EQ(changed, 3);
}

// POL-23: the arguments are gone before the result is told, and those of a cancelled task at once.
TEST_F(ExecutorThreadTest, ArgumentsAreDestroyedBeforeTheResultIsTold) {
  const auto argument = std::make_shared<int>(1);
  std::latch begun(1), go(1);
  ThreadExecutor executor(1);
  executor.submit([argument](std::shared_ptr<int>) {}, argument).get();
  EXPECT_EQ(argument.use_count(), 1);
  const auto failed = executor.submit([argument] { throw std::runtime_error("x"); });
  failed.wait();
  EXPECT_EQ(argument.use_count(), 1);
  const auto held = executor.submit([&] {
    begun.count_down();
    go.wait();
  });
  begun.wait();
  const auto cancelled = executor.submit([argument] {});
  EXPECT_EQ(argument.use_count(), 2);
  EXPECT_TRUE(cancelled.cancel());
  EXPECT_EQ(argument.use_count(), 1);
  go.count_down();
}

// Any type of error comes back as itself.
TEST_F(ExecutorThreadTest, ErrorsOfAnyTypeComeBackAsTheyAre) {
  ThreadExecutor executor(1);
  EXPECT_THROW(executor.submit([] { throw bodies::BodyError("own"); }).get(), bodies::BodyError);
  EXPECT_THROW(executor.submit([] { throw 5; }).get(), int);
}

// The deadline fails the future and asks the function to stop; the worker is free once it returns.
TEST_F(ExecutorThreadTest, DeadlineFailsTheFutureAndAsksToStop) {
  std::atomic<bool> stopped{false};
  ThreadExecutor executor(1);
  const Future<void> late = executor.submit(TaskOptions{.name = "slow", .deadline = std::chrono::milliseconds(20)},
                                            [&](const std::stop_token& stop) {
                                              bodies::wait_for_stop(stop);
                                              stopped = true;
                                            });
  try {
    late.get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const DeadlineExceeded& error) {
    EXPECT_THAT(error.what(), HasSubstr("slow"));
  }
  executor.submit([] {}).get();
  EXPECT_TRUE(stopped);
  // One that keeps to it has its result, and its clock strikes for nobody.
  EXPECT_EQ(executor.submit(TaskOptions{.deadline = std::chrono::hours(1)}, [] { return 1; }).get(), 1);
  const ExecutorCounters counters = executor.counters();
  EXPECT_EQ(counters.failed, 1u);
  EXPECT_EQ(counters.done, 2u);
}

TEST_F(ExecutorThreadTest, DeadlineOfTheExecutorIsForAllItsTasks) {
  ThreadExecutor executor(ExecutorOptions{.workers = 2, .task = {.deadline = std::chrono::milliseconds(10)}});
  EXPECT_THROW(executor.submit(bodies::wait_for_stop).get(), DeadlineExceeded);
  EXPECT_THROW(executor.submit(bodies::wait_for_stop).get(), DeadlineExceeded);
  // But for those that have one of their own: no task is sure to be done in 10 ms.
  EXPECT_EQ(executor.submit({.deadline = std::chrono::hours(1)}, [] { return 2; }).get(), 2);
}

// The deadline of a chunk asks the item that runs to stop.
TEST_F(ExecutorThreadTest, ItemsOfAMapAreAskedToStop) {
  ThreadExecutor executor(1);
  std::atomic<int> begun{0};
  std::atomic<int> stopped{0};
  const auto until_stopped = [&](const std::stop_token& stop, int) {
    ++begun;
    bodies::wait_for_stop(stop);
    ++stopped;
  };
  MapOptions options{.chunk_size = 1};
  options.task.emplace().deadline = std::chrono::milliseconds(10);
  // On a busy machine the time may be over before the item begins.
  while (begun == 0) EXPECT_THROW(executor.for_each(options, until_stopped, std::vector<int>{1}), DeadlineExceeded);
  executor.shutdown();
  EXPECT_EQ(stopped, begun);
}

// A clock that strikes in an hour keeps nothing of a task that is done.
TEST_F(ExecutorThreadTest, TaskThatKeepsItsDeadlineIsNotKept) {
  ThreadExecutor executor(1);
  std::weak_ptr<int> result;
  {
    const auto future = executor.submit({.deadline = std::chrono::hours(1)}, [] { return std::make_shared<int>(1); });
    result = future.get();
  }
  executor.submit([] {}).get();
  EXPECT_TRUE(result.expired());
}

TEST_F(ExecutorThreadTest, StopCancelsWhatIsRunning) {
  std::latch begun(1);
  ThreadExecutor executor(1);
  const Future<int> running = executor.submit([&](const std::stop_token& stop) {
    begun.count_down();
    bodies::wait_for_stop(stop);
    return 1;
  });
  begun.wait();
  EXPECT_TRUE(running.stop());
  EXPECT_TRUE(running.stop());
  EXPECT_THROW(running.get(), TaskCancelled);
  EXPECT_EQ(executor.submit([] { return 2; }).get(), 2);
}

TEST_F(ExecutorThreadTest, LimitsThatThreadsCannotKeepAreRefused) {
  EXPECT_THROW(ThreadExecutor(ExecutorOptions{.task = {.memory_limit_bytes = 1 << 20}}), std::invalid_argument);
  ThreadExecutor executor(1);
  EXPECT_THROW(static_cast<void>(executor.submit(TaskOptions{.cpu_time_limit = std::chrono::seconds(1)}, [] {})),
               std::invalid_argument);
  EXPECT_THROW(static_cast<void>(executor.submit(
                   TaskOptions{.retries = 1}, [](std::unique_ptr<int>) {}, std::make_unique<int>(1))),
               std::invalid_argument);
}

int fibonacci(ThreadExecutor& executor, int n) {
  if (n < 2) return n;
  const Future<int> one = executor.submit(fibonacci, std::ref(executor), n - 1);
  const Future<int> two = executor.submit(fibonacci, std::ref(executor), n - 2);
  return one.get() + two.get();
}

TEST_F(ExecutorThreadTest, TasksThatWaitForTasksInAFullPool) {
  for (const std::size_t workers : {1, 2, 3}) {
    ThreadExecutor executor(workers);
    EXPECT_EQ(executor.submit(fibonacci, std::ref(executor), 15).get(), 610);
  }
}

TEST_F(ExecutorThreadTest, EveryKindOfWaitWorksInAFullPool) {
  ThreadExecutor executor(1);
  const int sum = executor
                      .submit([&] {
                        std::vector<Future<int>> futures;
                        for (int task = 0; task < 5; ++task)
                          futures.push_back(executor.submit([task] { return task; }));
                        int total = 0;
                        for (const Future<int>& future : as_completed(futures)) total += future.get();
                        tandem::wait(futures);
                        tandem::wait(std::vector{executor.submit([] {})}, Until::Any);
                        for (const int value : executor.map([](int v) { return v; }, std::vector{1, 2, 3}))
                          total += value;
                        executor.for_each([](int) {}, std::vector{1, 2, 3});
                        for (const int value : executor.map_unordered([](int v) { return v; }, std::vector{1, 2, 3}))
                          total += value;
                        total += executor.submit([] { return 1; }).then([](int v) { return v + 1; }).get();
                        return total;
                      })
                      .get();
  EXPECT_EQ(sum, 10 + 6 + 6 + 2);
}

// A retry is not left to others, who may all be waiting for it.
TEST_F(ExecutorThreadTest, TaskThatIsTriedAgainIsWaitedForInAFullPool) {
  ThreadExecutor executor(1);
  std::atomic<int> attempts{0};
  const auto flaky = [&] {
    if (++attempts % 3 != 0) throw std::runtime_error("not yet");
    return 1;
  };
  const int sum = executor
                      .submit([&] {
                        int total = executor.submit({.retries = 2}, flaky).get();
                        total += executor.submit({.retries = 2}, flaky).then([](int v) { return v; }).get();
                        const std::vector some = {executor.submit({.retries = 2}, flaky)};
                        for (const Future<int>& future : as_completed(some)) total += future.get();
                        return total;
                      })
                      .get();
  EXPECT_EQ(sum, 3);
  EXPECT_EQ(executor.counters().retried, 6u);
}

// The one that waits does not begin it itself: another worker has it.
TEST_F(ExecutorThreadTest, TaskThatIsTriedAgainElsewhereIsWaitedFor) {
  ThreadExecutor executor(2);
  std::atomic<int> attempts{0};
  std::latch begun(1), go(1);
  const auto flaky = [&] {
    if (++attempts > 1) return 1;
    begun.count_down();
    go.wait();
    throw std::runtime_error("not yet");
  };
  const Future<int> tried = executor.submit({.retries = 1}, flaky);
  begun.wait();
  Future<int> waiting;
  Future<int> behind;
  std::latch have_both(1);
  waiting = executor.submit([&] {
    have_both.wait();
    go.count_down();
    return tried.get();
  });
  behind = executor.submit([&] { return waiting.get(); });
  have_both.count_down();
  EXPECT_EQ(behind.get(), 1);
}

// SHD-29: what a task runs while it waits for it is given up like the task itself.
TEST_F(ExecutorThreadTest, ShutdownGivesUpWhatATaskRunsWhileItWaits) {
  std::latch begun(1);
  ThreadExecutor executor(ExecutorOptions{.workers = 1, .name_prefix = "parser"});
  Future<void> inner;
  const auto until_stopped = [&](const std::stop_token& stop) {
    begun.count_down();
    while (!stop.stop_requested()) std::this_thread::yield();
  };
  const Future<void> outer = executor.submit({.name = "outer"}, [&] {
    const Future<void> mine = executor.submit({.name = "inner"}, until_stopped);
    inner = mine;
    mine.wait();
  });
  begun.wait();
  ASSERT_EQ(executor.workers().size(), 1u);
  EXPECT_EQ(executor.workers().front().task, "inner");
  const ShutdownReport report = executor.shutdown_for(std::chrono::seconds(0));
  EXPECT_EQ(report.to_string(), "0 tasks cancelled, 2 given up: outer (in parser-0), inner (in parser-0)");
  EXPECT_THROW(inner.get(), ExecutorShutDown);
  EXPECT_THROW(outer.get(), ExecutorShutDown);
  while (enumerate().size() > 1) std::this_thread::yield();  // Nobody waits for the thread any more.
}

/// A call that says when it is destroyed.
class Call final : public detail::ResultState<int>, public detail::LocalTask {
 public:
  using State = detail::ResultState<int>;
  explicit Call(std::atomic<bool>& gone)
      : State(static_cast<LocalTask*>(this)), LocalTask(static_cast<FutureState&>(*this), nullptr), gone_(gone) {}
  bool run(detail::ExecutorCore& core) noexcept override {
    if (claim_running()) finished(core, *this, store(1));
    return false;
  }
  void forget() noexcept override {}
  const std::type_info& callable_type() const noexcept override { return typeid(*this); }
  bool repeatable() const noexcept override { return false; }

 private:
  ~Call() override { gone_ = true; }
  std::atomic<bool>& gone_;
};

// Nothing is kept of a task that is stopped as soon as it has begun, however long it may run.
TEST_F(ExecutorThreadTest, StoppedTaskIsNotKeptUntilItsDeadline) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "needs a build with kill points";
  const auto core = detail::make_thread_executor({.workers = 1}, nullptr);
  std::atomic<bool> gone{false};
  Future<int> future;
  std::latch submitted(1);
  AtKillPoints stop([&](std::string_view name) {
    if (name != "executor.watch") return;
    submitted.wait();
    EXPECT_TRUE(future.stop());
  });
  future = detail::submit_call(*core, TaskOptions{.deadline = std::chrono::hours(1)}, 1, new Call(gone));
  submitted.count_down();
  future.wait();
  future = {};
  // The worker has let go of the task when it runs the next one.
  detail::submit_call(*core, std::nullopt, 1, detail::LocalCalls::make([] {})).get();
  EXPECT_TRUE(gone);
  core->shutdown(Backlog::Run, detail::Deadline::never());
}

// However late it is added: nobody else finds the future done before the callback has run, or else it runs at once.
TEST_F(ExecutorThreadTest, CallbackThatIsAddedWhileTheResultIsBroughtRunsBeforeAnybodyWaitingGoesOn) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "needs a build with kill points";
  ThreadExecutor executor(1);
  std::latch go(1);
  const Future<int> future = executor.submit([&go] {
    go.wait();
    return 5;
  });
  std::atomic<bool> added{false}, was_done{true};
  AtKillPoints add([&](std::string_view name) {
    if (name != "future.settle" || added.exchange(true)) return;
    future.add_done_callback([&](const Future<int>&) { std::thread([&] { was_done = future.done(); }).join(); });
  });
  go.count_down();
  EXPECT_EQ(future.get(), 5);
  EXPECT_FALSE(was_done);
  executor.shutdown();
}

TEST_F(ExecutorThreadTest, LongestDeadlineIsNone) {
  ThreadExecutor executor(1);
  EXPECT_EQ(executor.submit({.deadline = std::chrono::nanoseconds::max()}, [] { return 1; }).get(), 1);
}

// However quick the items before were: those that are not begun when the map is dropped are left out.
TEST_F(ExecutorThreadTest, MapThatIsDroppedStopsAmongSlowItemsToo) {
  constexpr int kSlow = 3000;
  std::latch begun(1), go(1);
  std::atomic<int> last{0};
  ThreadExecutor executor(1);
  auto results = executor.map(
      MapOptions{.chunk_size = 10'000},
      [&](int item) {
        last = item;
        if (item != kSlow) return item;
        begun.count_down();
        go.wait();
        return item;
      },
      std::views::iota(0, 10'000));
  begun.wait();
  results.close();
  go.count_down();
  executor.shutdown();
  EXPECT_LT(last, kSlow + 100);
}

TEST_F(ExecutorThreadTest, MapsWithinAMap) {
  ThreadExecutor executor(2);
  const auto row_sum = [&](int row) {
    int total = 0;
    for (const int value : executor.map([row](int column) { return row * column; }, std::views::iota(0, 50)))
      total += value;
    return total;
  };
  int total = 0;
  for (const int sum : executor.map(row_sum, std::views::iota(0, 50))) total += sum;
  EXPECT_EQ(total, 1225 * 1225);
}

// A wait in a task runs what it waits for and nothing else: it may hold a lock that others want.
TEST_F(ExecutorThreadTest, WaitInATaskRunsNothingButWhatItWaitsFor) {
  std::mutex mutex;
  ThreadExecutor executor(1);
  std::vector<Future<void>> others;
  executor
      .submit([&] {
        for (int task = 0; task < 3; ++task)
          others.push_back(executor.submit([&] { const std::lock_guard guard(mutex); }));
        const std::lock_guard guard(mutex);
        executor.submit([] {}).get();
      })
      .get();
  tandem::wait(others);
}

TEST_F(ExecutorThreadTest, TaskCannotWaitForItsOwnExecutorToEnd) {
  ThreadExecutor executor(1);
  EXPECT_THROW(executor.submit([&] { executor.shutdown(); }).get(), StateError);
}

// SHD-23: the last reference goes in a task of the executor itself.
TEST_F(ExecutorThreadTest, ExecutorIsDroppedByItsOwnTask) {
  for (int round = 0; round < 20; ++round) {
    std::latch mine_is_gone(1), begun(1);
    auto executor = std::make_shared<ThreadExecutor>(2);
    const Future<int> future = executor->submit([&, shared = executor]() mutable {
      begun.count_down();
      mine_is_gone.wait();
      shared.reset();
      return 1;
    });
    const Future<int> behind = executor->submit([] { return 2; });
    begun.wait();
    executor.reset();
    mine_is_gone.count_down();
    EXPECT_EQ(future.get(), 1);
    EXPECT_EQ(behind.get(), 2);
  }
  // Their threads end by themselves.
  while (enumerate().size() > 1) std::this_thread::yield();
}

TEST_F(ExecutorThreadTest, BacklogThatIsFullWaitsOrThrows) {
  std::latch begun(1), go(1);
  const auto hold = [&] {
    begun.count_down();
    go.wait();
  };
  ThreadExecutor refusing(
      ExecutorOptions{.workers = 1, .backlog_limit = 2, .backlog_wait = std::chrono::milliseconds(0)});
  std::vector<Future<void>> futures = {refusing.submit(hold)};
  begun.wait();
  futures.push_back(refusing.submit([] {}));
  futures.push_back(refusing.submit([] {}));
  try {
    static_cast<void>(refusing.submit([] {}));
    ADD_FAILURE() << "a fourth task was taken";
  } catch (const BacklogFull& error) {
    EXPECT_THAT(error.what(), HasSubstr("2 tasks"));
  }
  EXPECT_EQ(refusing.counters().submitted, 3u);
  futures[1].cancel();
  futures.push_back(refusing.submit([] {}));
  std::thread([&] { go.count_down(); }).join();
  tandem::wait(futures);
}

TEST_F(ExecutorThreadTest, CancelledTaskMakesRoomInTheBacklog) {
  std::latch begun(1), go(1);
  ThreadExecutor executor(ExecutorOptions{.workers = 1, .backlog_limit = 1});
  const Future<void> held = executor.submit([&] {
    begun.count_down();
    go.wait();
  });
  begun.wait();
  const Future<void> waiting = executor.submit([] {});
  Future<void> last;
  std::thread submitter([&] { last = executor.submit([] {}); });
  EXPECT_TRUE(waiting.cancel());
  submitter.join();
  go.count_down();
  last.get();
}

TEST_F(ExecutorThreadTest, BacklogIsNeverLongerThanItsLimit) {
  ThreadExecutor executor(ExecutorOptions{.workers = 2, .backlog_limit = 5});
  std::atomic<bool> stop{false};
  std::jthread watcher([&] {
    while (!stop) EXPECT_LE(executor.counters().queued, 5u);
  });
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread)
      threads.emplace_back([&] {
        for (int task = 0; task < 500; ++task) static_cast<void>(executor.submit([] {}));
      });
  }
  stop = true;
  executor.shutdown();
  EXPECT_EQ(executor.counters().done, 2000u);
}

// A task never waits for room in the backlog of its own executor: nobody might make it.
TEST_F(ExecutorThreadTest, TaskSubmitsToItsOwnFullExecutor) {
  ThreadExecutor executor(ExecutorOptions{.workers = 1, .backlog_limit = 1});
  EXPECT_EQ(executor
                .submit([&] {
                  std::vector<Future<int>> futures;
                  for (int task = 0; task < 10; ++task) futures.push_back(executor.submit([] { return 1; }));
                  int total = 0;
                  for (const Future<int>& future : futures) total += future.get();
                  return total;
                })
                .get(),
            10);
}

TEST_F(ExecutorThreadTest, TasksRunUnderTheGil) {
  Gil gil;
  int unguarded = 0;
  std::atomic<bool> always_held{true};
  std::latch both(2);
  ThreadExecutor executor(ExecutorOptions{.workers = 3, .gil = gil});
  const auto count = [&](int) {
    if (!gil.held()) always_held = false;
    ++unguarded;
  };
  executor.for_each(MapOptions{.chunk_size = 10}, count, std::views::iota(0, 3000));
  EXPECT_EQ(unguarded, 3000);
  EXPECT_TRUE(always_held);
  // A task that waits lets the others run.
  const auto wait_for_other = [&] { gil.unlocked([&] { both.arrive_and_wait(); }); };
  const Future<void> one = executor.submit(wait_for_other), two = executor.submit(wait_for_other);
  one.get();
  two.get();
}

TEST_F(ExecutorThreadTest, CallbackThatIsLongDoesNotHoldUpAnother) {
  std::latch begun(1), go(1), other_ran(1);
  ThreadExecutor executor(2);
  const Future<void> first = executor.submit([&] {
    begun.count_down();
    go.wait();
  });
  begun.wait();
  first.add_done_callback([&](const Future<void>&) { other_ran.wait(); });
  go.count_down();
  // Another worker is started for it, because the first one is busy with its callback.
  executor.submit([&] { other_ran.count_down(); }).get();
}

}  // namespace
}  // namespace tandem::testing
