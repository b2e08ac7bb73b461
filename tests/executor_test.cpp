#include <tandem/executor.hpp>

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <tandem/cpu.hpp>

#include "support/bodies.hpp"
#include "support/caught_log.hpp"
#include "support/executor_places.hpp"

namespace tandem::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

template <class Place>
class ExecutorTest : public ExecutorPlaceTest<Place> {};
TYPED_TEST_SUITE(ExecutorTest, ExecutorPlaces, ExecutorPlaceNames);

// EXE-01, POL-01, POL-10
TYPED_TEST(ExecutorTest, SubmitGivesTheResult) {
  auto executor = this->make(2);
  EXPECT_EQ(executor.submit(tasks::twice, 21).get(), 42);
  EXPECT_EQ(executor.submit(tasks::sum, 1, 2).get(), 3);
  executor.submit(tasks::nothing).get();
  EXPECT_EQ(
      executor.submit([](int a, const std::string& b) { return b + std::to_string(a); }, 1, std::string("one")).get(),
      "one1");
}

// EXE-02: arguments of every shape pass, also those that look like options of the executor.
TYPED_TEST(ExecutorTest, ArgumentsPassUnchanged) {
  auto executor = this->make(1);
  executor.submit(bodies::expect_arguments, bodies::kScalarArgument, bodies::kTextArgument, bodies::nested_argument())
      .get();
  EXPECT_EQ(executor.submit([](const std::vector<int>& v) { return v.size(); }, std::vector{1, 2, 3}).get(), 3u);
}

// POL-21, EXE-79: the error comes back as what it was, and the next task runs.
TYPED_TEST(ExecutorTest, ErrorComesBackAsItsOwnType) {
  auto executor = this->make(1);
  const Future<int> failed = executor.submit(tasks::throw_out_of_range, std::string("too far"));
  try {
    failed.get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::out_of_range& error) {
    EXPECT_STREQ(error.what(), "too far");
  }
  EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2);
}

// A task that leaves as a thread or a process would does not take along who asks for its result.
TYPED_TEST(ExecutorTest, ExitInATaskIsAnErrorOfItsFuture) {
  auto executor = this->make(1);
  EXPECT_THROW(executor.submit(bodies::ask_to_exit, 3).get(), Error);
  EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2);
}

// EXE-19, EXE-31, POL-16
TYPED_TEST(ExecutorTest, NumberOfWorkersIsChecked) {
  EXPECT_THROW(this->make(0), std::invalid_argument);
  EXPECT_THROW(this->make(static_cast<std::size_t>(-1)), std::invalid_argument);
  EXPECT_EQ(this->make(3).worker_limit(), 3u);
  EXPECT_EQ(typename TestFixture::Executor().worker_limit(), cpu_count());
}

TYPED_TEST(ExecutorTest, OptionsAreChecked) {
  const auto with = [this](auto change) {
    ExecutorOptions options = this->options(1);
    change(options);
    return typename TestFixture::Executor(std::move(options));
  };
  EXPECT_THROW(with([](auto& o) { o.backlog_limit = 0; }), std::invalid_argument);
  EXPECT_THROW(with([](auto& o) { o.backlog_wait = std::chrono::seconds(-1); }), std::invalid_argument);
  EXPECT_THROW(with([](auto& o) { o.tasks_per_child = 0; }), std::invalid_argument);
  EXPECT_THROW(with([](auto& o) { o.task.deadline = std::chrono::seconds(0); }), std::invalid_argument);
  auto executor = this->make(1);
  EXPECT_THROW(static_cast<void>(executor.submit(TaskOptions{.deadline = std::chrono::seconds(-1)}, tasks::nothing)),
               std::invalid_argument);
  EXPECT_EQ(executor.counters().submitted, 0u);
}

// EXE-32, EXE-23, EXE-80: more tasks than workers make no more workers.
TYPED_TEST(ExecutorTest, NoMoreWorkersThanAllowed) {
  auto executor = this->make(3);
  Event go;
  std::vector<Future<int>> futures;
  for (int task = 0; task < 12; ++task) futures.push_back(executor.submit(tasks::hold, Event(), go, task));
  EXPECT_EQ(executor.workers().size(), 3u);
  go.set();
  tandem::wait(futures);
  EXPECT_EQ(executor.workers().size(), 3u);
}

// EXE-33, EXE-24, EXE-81: one task after the other needs one worker.
TYPED_TEST(ExecutorTest, IdleWorkerIsUsedAgain) {
  auto executor = this->make(4);
  for (int task = 0; task < 50; ++task) EXPECT_EQ(executor.submit(tasks::twice, task).get(), 2 * task);
  EXPECT_EQ(executor.workers().size(), 1u);
}

// EXE-25: two at a time need two.
TYPED_TEST(ExecutorTest, IdleWorkersAreUsedBeforeNewOnesAreMade) {
  auto executor = this->make(4);
  for (int round = 0; round < 10; ++round) {
    Event first, second, go;
    const Future<int> a = executor.submit(tasks::hold, first, go, 1), b = executor.submit(tasks::hold, second, go, 2);
    first.wait();
    second.wait();
    go.set();
    EXPECT_EQ(a.get() + b.get(), 3);
  }
  EXPECT_EQ(executor.workers().size(), 2u);
}

// EXE-17, POL-23: what is done leaves nothing in the executor, nor does what is cancelled.
TYPED_TEST(ExecutorTest, FinishedTaskIsNotKept) {
  auto executor = this->make(1);
  std::weak_ptr<int> result;
  {
    const auto future = executor.submit(tasks::twice, 2).then([](int value) { return std::make_shared<int>(value); });
    result = future.get();
    EXPECT_FALSE(result.expired());
  }
  // The worker lets go of a task before it takes the next one.
  executor.submit(tasks::nothing).get();
  EXPECT_TRUE(result.expired());
}

// EXE-37, EXE-76, EXE-77, POL-33
void note_start(Queue<std::string> started, const std::string& what) {
  started.put(what);
}
TYPED_TEST(ExecutorTest, EachWorkerIsInitializedBeforeItsFirstTask) {
  Queue<std::string> started;
  typename TestFixture::Executor executor(this->options(2), note_start, started, std::string("ready"));
  Event first, second, go;
  const Future<int> a = executor.submit(tasks::hold, first, go, 1), b = executor.submit(tasks::hold, second, go, 2);
  first.wait();
  second.wait();
  EXPECT_EQ(started.get(), "ready");
  EXPECT_EQ(started.get(), "ready");
  EXPECT_TRUE(started.empty());
  go.set();
}

// EXE-38, EXE-78
TYPED_TEST(ExecutorTest, FailingInitializerBreaksTheExecutor) {
  CaughtLog log;
  typename TestFixture::Executor executor(this->options(1), tasks::throw_out_of_range, std::string("no table"));
  const auto broken = [](const auto& submit) {
    try {
      submit().get();
    } catch (const BrokenExecutor& error) {
      EXPECT_THAT(error.what(), HasSubstr("std::out_of_range: no table"));
      return true;
    }
    return false;
  };
  EXPECT_TRUE(broken([&] { return executor.submit(tasks::twice, 1); }));
  EXPECT_TRUE(broken([&] { return executor.submit(tasks::twice, 1); }));
  EXPECT_THROW(executor.map(tasks::twice, std::vector{1, 2}), BrokenExecutor);
  const ExecutorCounters counters = executor.counters();
  EXPECT_EQ(counters.submitted, counters.failed);
  EXPECT_THAT(log.lines(), Contains(HasSubstr("std::out_of_range: no table")));
}

// EXE-83: one executor used by many threads at once in every way.
TYPED_TEST(ExecutorTest, ManyThreadsUseOneExecutor) {
  auto executor = this->make(3);
  std::atomic<int> failures{0};
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 10; ++thread)
      threads.emplace_back([&, thread] {
        for (int round = 0; round < 20; ++round) {
          const Future<int> future = executor.submit(tasks::twice, thread);
          const Future<int> cancelled = executor.submit(tasks::twice, round);
          cancelled.cancel();
          std::vector<int> input(50);
          std::iota(input.begin(), input.end(), thread);
          const std::vector<int> results = executor.map(tasks::twice, input).to_vector();
          const bool good = future.get() == 2 * thread && results.size() == 50 && results[49] == 2 * (thread + 49) &&
                            (cancelled.exception() != nullptr || cancelled.get() == 2 * round);
          failures += good ? 0 : 1;
        }
      });
  }
  EXPECT_EQ(failures, 0);
  executor.shutdown();
  const ExecutorCounters counters = executor.counters();
  EXPECT_EQ(counters.submitted, 10u * 20 * 52);
  EXPECT_EQ(counters.submitted, counters.done + counters.cancelled);
}

int count_and_fail(Value<int> attempts, int good_attempt) {
  const int attempt = attempts += 1;
  if (attempt < good_attempt) throw std::out_of_range("attempt " + std::to_string(attempt));
  return attempt;
}

TYPED_TEST(ExecutorTest, FailedTaskIsTriedAgainAsOftenAsAsked) {
  auto executor = this->make(2);
  Value<int> good(0), bad(0), once(0);
  EXPECT_EQ(executor.submit(TaskOptions{.retries = 2}, count_and_fail, good, 3).get(), 3);
  EXPECT_THROW(executor.submit(TaskOptions{.retries = 2}, count_and_fail, bad, 10).get(), std::out_of_range);
  EXPECT_EQ(bad.get(), 3);
  EXPECT_THROW(executor.submit(count_and_fail, once, 2).get(), std::out_of_range);
  EXPECT_EQ(once.get(), 1);
  EXPECT_EQ(executor.counters().retried, 4u);
}

TYPED_TEST(ExecutorTest, CountersAddUpAtEveryMoment) {
  auto executor = this->make(2);
  std::atomic<bool> stop{false};
  std::thread watcher([&] {
    while (!stop) {
      const ExecutorCounters now = executor.counters();
      EXPECT_EQ(now.submitted, now.queued + now.running + now.done + now.failed + now.cancelled);
      EXPECT_LE(now.running, 2u);
    }
  });
  for (int round = 0; round < 200; ++round) {
    std::vector<Future<int>> futures;
    for (int task = 0; task < 10; ++task) futures.push_back(executor.submit(tasks::twice_unless_3, task));
    futures[round % 10].cancel();
    tandem::wait(futures);
  }
  stop = true;
  watcher.join();
  const ExecutorCounters now = executor.counters();
  EXPECT_EQ(now.submitted, 2000u);
  EXPECT_EQ(now.done + now.failed + now.cancelled, 2000u);
  EXPECT_EQ(now.queued + now.running, 0u);
}

TYPED_TEST(ExecutorTest, WorkersTellWhatTheyDo) {
  ExecutorOptions options = this->options(2);
  options.name_prefix = "parser";
  typename TestFixture::Executor executor(options);
  EXPECT_TRUE(executor.workers().empty());
  Event begun, go;
  const Future<int> held = executor.submit(TaskOptions{.name = "first file"}, tasks::hold, begun, go, 1);
  begun.wait();
  const std::vector<WorkerInfo> workers = executor.workers();
  ASSERT_EQ(workers.size(), 1u);
  EXPECT_EQ(workers[0].name, "parser-0");
  EXPECT_EQ(workers[0].task, "first file");
  EXPECT_GT(workers[0].pid, 0);
  go.set();
}

// SHD-12, SHD-13
TYPED_TEST(ExecutorTest, WorkersHaveNames) {
  auto one = this->make(1), other = this->make(1);
  one.submit(tasks::nothing).get();
  other.submit(tasks::nothing).get();
  ASSERT_EQ(one.workers().size(), 1u);
  EXPECT_THAT(one.workers()[0].name, ::testing::MatchesRegex("Executor-[0-9]+-0"));
  EXPECT_NE(one.workers()[0].name, other.workers()[0].name);
}

TYPED_TEST(ExecutorTest, MovedFromIsAnError) {
  auto executor = this->make(1);
  auto other = std::move(executor);
  EXPECT_EQ(other.submit(tasks::twice, 1).get(), 2);
  EXPECT_THROW(static_cast<void>(executor.submit(tasks::twice, 1)), StateError);
  EXPECT_THROW(executor.shutdown(), StateError);
}

}  // namespace
}  // namespace tandem::testing
