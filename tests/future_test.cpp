#include <tandem/future.hpp>

#include <gmock/gmock.h>

#include <atomic>
#include <coroutine>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "support/executor_places.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class Place>
class FutureTest : public ExecutorPlaceTest<Place> {};
TYPED_TEST_SUITE(FutureTest, ExecutorPlaces, ExecutorPlaceNames);

/// A worker that is held, a task behind it that is not begun, and one that failed.
template <class Place>
struct Three {
  using Executor = typename Place::Executor;
  using Gate = typename Place::Gate;
  explicit Three(ExecutorOptions options) : executor(std::move(options)) {
    failed = executor.submit(tasks::throw_out_of_range, std::string("too far"));
    failed.wait();
    // With a deadline it is alone in its worker: nothing is sent there behind it.
    running = executor.submit({.deadline = std::chrono::hours(1)}, tasks::hold_at<Gate>, begun, go, 7);
    begun.wait();
    pending = executor.submit(tasks::twice, 21);
  }
  ~Three() { go.set(); }
  Three(const Three&) = delete;
  Three& operator=(const Three&) = delete;

  Gate begun, go;
  Executor executor;
  Future<int> failed, running, pending;
};

TYPED_TEST(FutureTest, StatusFollowsTheTask) {
  Three<TypeParam> three(this->options(1));
  EXPECT_EQ(three.pending.status(), FutureStatus::Pending);
  EXPECT_FALSE(three.pending.running());
  EXPECT_FALSE(three.pending.done());
  EXPECT_EQ(three.running.status(), FutureStatus::Running);
  EXPECT_TRUE(three.running.running());
  EXPECT_FALSE(three.running.done());
  EXPECT_EQ(three.failed.status(), FutureStatus::Failed);
  EXPECT_TRUE(three.failed.done());
  three.go.set();
  three.running.wait();
  EXPECT_EQ(three.running.status(), FutureStatus::Finished);
  EXPECT_FALSE(three.running.running());
  EXPECT_TRUE(three.running.done());
}

// EXE-50, EXE-51
TYPED_TEST(FutureTest, CancelTakesOnlyWhatNobodyHasBegun) {
  Three<TypeParam> three(this->options(1));
  EXPECT_FALSE(three.failed.cancel());
  EXPECT_FALSE(three.running.cancel());
  EXPECT_FALSE(three.pending.cancelled());
  EXPECT_TRUE(three.pending.cancel());
  EXPECT_TRUE(three.pending.cancel());
  EXPECT_TRUE(three.pending.cancelled());
  EXPECT_TRUE(three.pending.done());
  EXPECT_EQ(three.pending.status(), FutureStatus::Cancelled);
  EXPECT_THROW(three.pending.get(), TaskCancelled);
  EXPECT_FALSE(three.failed.cancelled());
  EXPECT_FALSE(three.running.cancelled());
  three.go.set();
  EXPECT_EQ(three.running.get(), 7);
  EXPECT_FALSE(three.running.cancel());
}

// EXE-55: the other thread waits before the result is there.
TYPED_TEST(FutureTest, ResultWakesWhoWaits) {
  Three<TypeParam> three(this->options(1));
  int got = 0;
  std::thread other([&] { got = three.running.get(); });
  three.go.set();
  other.join();
  EXPECT_EQ(got, 7);
}

// EXE-56
TYPED_TEST(FutureTest, CancellationWakesWhoWaits) {
  Three<TypeParam> three(this->options(1));
  bool cancelled = false;
  std::thread other([&] {
    try {
      three.pending.get();
    } catch (const TaskCancelled&) {
      cancelled = true;
    }
  });
  EXPECT_TRUE(three.pending.cancel());
  other.join();
  EXPECT_TRUE(cancelled);
}

// EXE-57, EXE-58, POL-11
TYPED_TEST(FutureTest, TimedWaitAndException) {
  Three<TypeParam> three(this->options(1));
  EXPECT_FALSE(three.running.wait_for(std::chrono::milliseconds(1)));
  EXPECT_FALSE(three.pending.wait_for(std::chrono::seconds(0)));
  EXPECT_TRUE(three.failed.wait_for(std::chrono::seconds(0)));
  EXPECT_THROW(std::rethrow_exception(three.failed.exception()), std::out_of_range);
  EXPECT_TRUE(three.pending.cancel());
  EXPECT_THROW(std::rethrow_exception(three.pending.exception()), TaskCancelled);
  std::exception_ptr none = three.failed.exception();
  std::thread other([&] { none = three.running.exception(); });
  three.go.set();
  other.join();
  EXPECT_EQ(none, nullptr);
  EXPECT_THROW(static_cast<void>(three.running.wait_for(std::chrono::seconds(-1))), std::invalid_argument);
}

// EXE-49
TYPED_TEST(FutureTest, TextShowsTheStateAndWhatCameOfIt) {
  Three<TypeParam> three(this->options(1));
  EXPECT_EQ(three.pending.to_string(), "<Future(pending)>");
  EXPECT_EQ(three.running.to_string(), "<Future(running)>");
  EXPECT_EQ(three.failed.to_string(), "<Future(failed std::out_of_range: too far)>");
  EXPECT_TRUE(three.pending.cancel());
  EXPECT_EQ(three.pending.to_string(), "<Future(cancelled)>");
  three.go.set();
  three.running.wait();
  EXPECT_EQ(three.running.to_string(), "<Future(finished int)>");
  EXPECT_EQ(Future<int>().to_string(), "<Future(empty)>");
}

TYPED_TEST(FutureTest, EmptyOneIsAnError) {
  const Future<int> empty;
  EXPECT_FALSE(empty.valid());
  EXPECT_THROW(empty.get(), StateError);
  EXPECT_THROW(static_cast<void>(empty.done()), StateError);
  EXPECT_THROW(empty.wait(), StateError);
}

// EXE-41, EXE-43, TMO-02: the callback sees what came of it. POL-06: and has run before who waits goes on.
TYPED_TEST(FutureTest, CallbackSeesTheOutcomeBeforeWaitersGoOn) {
  Three<TypeParam> three(this->options(1));
  // The order is made by the task, maybe in another process, which the thread sanitizer does not see: hence the mutex.
  std::mutex mutex;
  std::vector<std::string> outcomes;
  const auto note = [&](const std::string& outcome) {
    const std::lock_guard guard(mutex);
    outcomes.push_back(outcome);
  };
  const auto seen = [&] {
    const std::lock_guard guard(mutex);
    return outcomes;
  };
  three.running.add_done_callback([&](const Future<int>& future) { note(std::to_string(future.get())); });
  three.pending.add_done_callback([&](const Future<int>& future) { note(future.to_string()); });
  EXPECT_TRUE(three.pending.cancel());
  EXPECT_THAT(seen(), ElementsAre("<Future(cancelled)>"));
  three.go.set();
  three.running.wait();
  EXPECT_THAT(seen(), ElementsAre("<Future(cancelled)>", "7"));
}

// EXE-45, EXE-46, EXE-47
TYPED_TEST(FutureTest, CallbackAddedLateRunsAtOnce) {
  Three<TypeParam> three(this->options(1));
  std::vector<FutureStatus> seen;
  const auto note = [&](const Future<int>& future) { seen.push_back(future.status()); };
  three.failed.add_done_callback(note);
  EXPECT_TRUE(three.pending.cancel());
  three.pending.add_done_callback(note);
  three.go.set();
  three.running.wait();
  three.running.add_done_callback(note);
  EXPECT_THAT(seen, ElementsAre(FutureStatus::Failed, FutureStatus::Cancelled, FutureStatus::Finished));
}

// EXE-44, TMO-10
TYPED_TEST(FutureTest, CallbackThatThrowsIsReportedAndTheOthersRun) {
  CaughtReports reports;
  Three<TypeParam> three(this->options(1));
  std::vector<int> ran;
  three.running.add_done_callback([&](const Future<int>&) { ran.push_back(1); });
  three.running.add_done_callback([](const Future<int>&) { throw tasks::TaskError("in a callback"); });
  three.running.add_done_callback([&](const Future<int>&) { ran.push_back(2); });
  three.go.set();
  EXPECT_EQ(three.running.get(), 7);
  EXPECT_THAT(ran, ElementsAre(1, 2));
  ASSERT_EQ(reports.take().size(), 1u);
  EXPECT_EQ(three.executor.submit(tasks::twice, 4).get(), 8);
}

TYPED_TEST(FutureTest, ThenIsCalledWithTheResult) {
  Three<TypeParam> three(this->options(1));
  const Future<std::string> text = three.running.then([](int value) { return value * 1.5; }).then([](double value) {
    return std::to_string(value);
  });
  EXPECT_FALSE(text.done());
  three.go.set();
  EXPECT_EQ(text.get(), "10.500000");
  EXPECT_EQ(three.executor.submit(tasks::nothing).then([] { return 5; }).get(), 5);
}

TYPED_TEST(FutureTest, ThenFailsAsItsSourceDoes) {
  Three<TypeParam> three(this->options(1));
  bool called = false;
  const auto note = [&](int) { called = true; };
  EXPECT_THROW(three.failed.then(note).get(), std::out_of_range);
  const Future<void> after_cancelled = three.pending.then(note);
  EXPECT_TRUE(three.pending.cancel());
  EXPECT_TRUE(after_cancelled.cancelled());
  EXPECT_FALSE(called);
  const Future<void> failing = three.running.then([](int) { throw tasks::TaskError("in then"); });
  const Future<void> cancelled = three.running.then(note);
  EXPECT_TRUE(cancelled.cancel());
  three.go.set();
  EXPECT_THROW(failing.get(), tasks::TaskError);
  EXPECT_THROW(cancelled.get(), TaskCancelled);
  EXPECT_EQ(three.running.get(), 7);
  EXPECT_FALSE(called);
}

/// A coroutine that runs on by itself.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

template <class Executor>
Detached add_up(Executor& executor, Future<int> first, Queue<std::string> results) {
  const int& held = co_await first;
  const int second = co_await executor.submit(tasks::twice, 5);
  co_await executor.submit(tasks::nothing);
  results.put(std::to_string(held + second));
  try {
    co_await executor.submit(tasks::throw_out_of_range, std::string("awaited"));
  } catch (const std::out_of_range& error) {
    results.put(error.what());
  }
}

TYPED_TEST(FutureTest, CoroutineAwaitsResultsAndErrors) {
  Queue<std::string> results;
  Three<TypeParam> three(this->options(1));
  add_up(three.executor, three.running, results);
  EXPECT_TRUE(results.empty());
  three.go.set();
  EXPECT_EQ(results.get(), "17");
  EXPECT_EQ(results.get(), "awaited");
}

TYPED_TEST(FutureTest, ResultCanBeTakenAlongOnce) {
  auto executor = this->make(1);
  Future<std::string> text = executor.submit([](int length) { return std::string(length, 'x'); }, 100);
  const Future<std::string> other = text;
  EXPECT_EQ(other.get().size(), 100u);
  EXPECT_EQ(std::move(text).get().size(), 100u);
  EXPECT_THROW(other.get(), StateError);
  Future<int> number = executor.submit(tasks::twice, 2);
  const Future<int> same = number;
  EXPECT_EQ(std::move(number).get(), 4);
  EXPECT_EQ(same.get(), 4);
}

// EXE-101: one type of future and of errors, wherever tasks run.
TYPED_TEST(FutureTest, OneTypeOfFutureAndOfErrors) {
  auto executor = this->make(1);
  const std::vector<AnyFuture> futures = {executor.submit(tasks::twice, 1), executor.submit(tasks::nothing)};
  for (const AnyFuture& future : futures) future.wait();
  executor.shutdown();
  EXPECT_THROW(static_cast<void>(executor.submit(tasks::twice, 1)), Error);
}

}  // namespace
}  // namespace tandem::testing
