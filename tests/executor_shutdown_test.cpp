#include <gmock/gmock.h>
#include <tandem/executor.hpp>

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "support/caught_log.hpp"
#include "support/executor_places.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

template <class Place>
class ExecutorShutdownTest : public ExecutorPlaceTest<Place> {};
TYPED_TEST_SUITE(ExecutorShutdownTest, ExecutorPlaces, ExecutorPlaceNames);

// SHD-01, POL-19, POL-24
TYPED_TEST(ExecutorShutdownTest, NothingIsTakenAfterIt) {
  auto executor = this->make(1);
  EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2);
  executor.shutdown();
  EXPECT_THROW(static_cast<void>(executor.submit(tasks::twice, 1)), ExecutorShutDown);
  EXPECT_THROW(executor.map(tasks::twice, std::vector{1}), ExecutorShutDown);
  executor.shutdown();
  executor.close();
  EXPECT_EQ(executor.counters().submitted, 1u);
}

// SHD-08, SHD-15, TMO-19: the workers are gone.
TYPED_TEST(ExecutorShutdownTest, WorkersAreGoneAfterIt) {
  auto executor = this->make(3);
  executor.for_each(tasks::twice, std::vector<int>(100));
  executor.shutdown();
  EXPECT_THAT(executor.workers(), IsEmpty());
}

// SHD-09, SHD-10, SHD-16, SHD-17, SHD-27, TMO-16: leaving the scope runs what was submitted.
TYPED_TEST(ExecutorShutdownTest, DestructorRunsWhatWasSubmitted) {
  std::vector<Future<int>> futures;
  {
    auto executor = this->make(2);
    for (int task = 0; task < 100; ++task) futures.push_back(executor.submit(tasks::twice, task));
  }
  for (int task = 0; task < 100; ++task) {
    EXPECT_TRUE(futures[task].done());
    EXPECT_EQ(futures[task].get(), 2 * task);
  }
}

// POL-25
TYPED_TEST(ExecutorShutdownTest, DroppingABusyExecutorIsReported) {
  CaughtLog log(LogLevel::Info);
  // Whatever process of this machine is killed meanwhile, any other may tell of what it left behind.
  const auto lines = [&log] {
    std::vector<std::string> about_executors = log.lines();
    std::erase_if(about_executors, [](const std::string& line) { return line.starts_with("shared memory "); });
    return about_executors;
  };
  Event begun, go;
  std::jthread letting_go;
  {
    auto executor = this->make(1);
    static_cast<void>(executor.submit(tasks::hold, begun, go, 1));
    begun.wait();
    static_cast<void>(executor.submit(tasks::twice, 1));
    go.set();
    executor.submit(tasks::nothing).get();
  }
  EXPECT_THAT(lines(), IsEmpty());
  {
    auto executor = this->make(1);
    begun.clear();
    go.clear();
    static_cast<void>(executor.submit(tasks::hold, begun, go, 1));
    begun.wait();
    executor.submit(tasks::nothing).add_done_callback([](const Future<void>&) {});
    letting_go = std::jthread([&] {
      while (lines().empty()) std::this_thread::yield();
      go.set();
    });
  }
  EXPECT_THAT(lines(), ElementsAre(HasSubstr("destroyed with 1 tasks waiting and 1 running")));
}

// SHD-11, SHD-18: close() does not wait, and the work is done all the same.
TYPED_TEST(ExecutorShutdownTest, CloseReturnsAtOnceAndTheWorkIsDone) {
  auto executor = this->make(1);
  Event begun, go;
  const Future<int> running = executor.submit(tasks::hold, begun, go, 1), waiting = executor.submit(tasks::twice, 2);
  begun.wait();
  EXPECT_EQ(executor.close(), 0u);
  EXPECT_FALSE(running.done());
  EXPECT_THROW(static_cast<void>(executor.submit(tasks::twice, 1)), ExecutorShutDown);
  go.set();
  EXPECT_EQ(running.get(), 1);
  EXPECT_EQ(waiting.get(), 4);
}

// SHD-05: what nobody has begun is cancelled, what runs ends, every future is done.
TYPED_TEST(ExecutorShutdownTest, BacklogCanBeCancelled) {
  auto executor = this->make(2);
  Event begun, go;
  const Future<int> running = executor.submit(tasks::hold, begun, go, 1);
  const Future<int> other = executor.submit(tasks::hold, Event(), go, 1);
  begun.wait();
  std::vector<Future<int>> futures;
  for (int task = 0; task < 50; ++task) futures.push_back(executor.submit(tasks::twice, task));
  EXPECT_GE(executor.close(Backlog::Cancel), 50u);
  go.set();
  EXPECT_EQ(executor.shutdown(Backlog::Cancel).cancelled, 0u);
  EXPECT_EQ(running.get(), 1);
  EXPECT_TRUE(other.done());
  for (const Future<int>& future : futures) EXPECT_TRUE(future.cancelled());
}

// SHD-07: in quick succession.
TYPED_TEST(ExecutorShutdownTest, SubmitCancelShutdown) {
  for (int round = 0; round < 20; ++round) {
    auto executor = this->make(1);
    const Future<int> first = executor.submit(tasks::twice, 1), second = executor.submit(tasks::twice, 2);
    const bool cancelled = second.cancel();
    executor.shutdown();
    EXPECT_EQ(first.get(), 2);
    EXPECT_EQ(second.cancelled(), cancelled);
  }
}

// SHD-21: while the backlog is full of tasks from another thread.
TYPED_TEST(ExecutorShutdownTest, ShutdownWhileOthersSubmit) {
  for (int round = 0; round < 10; ++round) {
    ExecutorOptions options = this->options(2);
    options.backlog_limit = 3;
    typename TestFixture::Executor executor(options);
    std::atomic<int> accepted{0};
    std::vector<Future<int>> futures;
    std::thread submitter([&] {
      try {
        for (;;) {
          futures.push_back(executor.submit(tasks::twice, 1));
          ++accepted;
        }
      } catch (const ExecutorShutDown&) {
      }
    });
    while (accepted < 20) std::this_thread::yield();
    executor.shutdown();
    submitter.join();
    for (const Future<int>& future : futures) EXPECT_EQ(future.get(), 2);
    EXPECT_EQ(executor.counters().done, futures.size());
  }
}

// POL-17, TMO-17, TMO-21, SHD-29: with thousands waiting it ends when the time is over, and says what it gave up.
TYPED_TEST(ExecutorShutdownTest, TimeOverReportsWhatWasGivenUp) {
  Event begun, go;
  {
    ExecutorOptions options = this->options(1);
    options.name_prefix = "solver";
    typename TestFixture::Executor executor(options);
    const Future<int> running = executor.submit(TaskOptions{.name = "endless"}, tasks::hold, begun, go, 1);
    std::vector<Future<int>> waiting;
    for (int task = 0; task < 10'000; ++task) waiting.push_back(executor.submit(tasks::hold, Event(), go, task));
    begun.wait();
    const ShutdownReport report = executor.shutdown_for(std::chrono::milliseconds(5));
    EXPECT_EQ(report.cancelled, 10'000u);
    ASSERT_EQ(report.given_up.size(), 1u);
    EXPECT_EQ(report.to_string(), "10000 tasks cancelled, 1 given up: endless (in solver-0)");
    EXPECT_THROW(running.get(), ExecutorShutDown);
    for (const Future<int>& future : waiting) EXPECT_TRUE(future.cancelled());
    const ExecutorCounters counters = executor.counters();
    EXPECT_EQ(counters.cancelled, 10'000u);
    EXPECT_EQ(counters.failed, 1u);
    // Neither a second shutdown nor the destructor waits for it.
    EXPECT_THAT(executor.shutdown().given_up, IsEmpty());
  }
  go.set();
}

TYPED_TEST(ExecutorShutdownTest, TimeThatIsLongEnoughGivesNothingUp) {
  auto executor = this->make(2);
  const Future<int> future = executor.submit(tasks::twice, 1);
  const ShutdownReport report = executor.shutdown_for(std::chrono::hours(1));
  EXPECT_TRUE(future.done());
  EXPECT_EQ(report.to_string(), "0 tasks cancelled, 0 given up");
  EXPECT_THROW(executor.shutdown_for(std::chrono::seconds(-1)), std::invalid_argument);
}

// TMO-18: from a callback, which runs in the executor.
TYPED_TEST(ExecutorShutdownTest, CloseFromACallback) {
  auto executor = this->make(1);
  Event begun, go;
  const Future<int> first = executor.submit(tasks::hold, begun, go, 1), second = executor.submit(tasks::twice, 1);
  begun.wait();
  first.add_done_callback([&](const Future<int>&) { executor.close(Backlog::Cancel); });
  go.set();
  first.wait();
  EXPECT_TRUE(second.cancelled());
}

TYPED_TEST(ExecutorShutdownTest, OneExecutorIsReplacedByAnother) {
  auto executor = this->make(1);
  const Future<int> future = executor.submit(tasks::twice, 1);
  executor = this->make(2);
  EXPECT_TRUE(future.done());
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4);
}

}  // namespace
}  // namespace tandem::testing
