#include <tandem/future.hpp>

#include <gmock/gmock.h>

#include <deque>
#include <list>
#include <memory>
#include <set>
#include <vector>

#include "support/executor_places.hpp"

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

template <class Place>
class FutureWaitTest : public ExecutorPlaceTest<Place> {
 protected:
  /// Tasks that end when they are let go, one after the other.
  Future<int> held(typename Place::Executor& executor, int value) {
    events_.emplace_back();
    return executor.submit(tasks::hold_at<typename Place::Gate>, typename Place::Gate(), events_.back(), value);
  }
  void let_go(std::size_t task) { events_[task].set(); }
  void TearDown() override {
    events_.clear();
    ExecutorPlaceTest<Place>::TearDown();
  }

  std::deque<typename Place::Gate> events_;
};
TYPED_TEST_SUITE(FutureWaitTest, ExecutorPlaces, ExecutorPlaceNames);

// EXE-68, EXE-62
TYPED_TEST(FutureWaitTest, AllAreWaitedForAndEachCountsOnce) {
  auto executor = this->make(2);
  const Future<int> first = this->held(executor, 1), second = this->held(executor, 2);
  this->let_go(0);
  this->let_go(1);
  const auto [done, not_done] = tandem::wait(std::vector{first, second, first});
  EXPECT_THAT(done, ElementsAre(first, second));
  EXPECT_THAT(not_done, IsEmpty());
}

// EXE-63
TYPED_TEST(FutureWaitTest, AnyReturnsAfterTheFirst) {
  auto executor = this->make(2);
  const Future<int> first = this->held(executor, 1), second = this->held(executor, 2);
  this->let_go(1);
  const auto [done, not_done] = tandem::wait(std::vector{first, second}, Until::Any);
  EXPECT_THAT(done, ElementsAre(second));
  EXPECT_THAT(not_done, ElementsAre(first));
  this->let_go(0);
}

// EXE-64
TYPED_TEST(FutureWaitTest, AnyReturnsAtOnceIfOneIsDone) {
  auto executor = this->make(2);
  const Future<int> held = this->held(executor, 1), cancelled = executor.submit(tasks::twice, 1);
  cancelled.wait();
  const auto [done, not_done] = tandem::wait({held, cancelled}, Until::Any);
  EXPECT_THAT(done, ElementsAre(cancelled));
  EXPECT_THAT(not_done, ElementsAre(held));
  this->let_go(0);
}

// EXE-65, EXE-66
TYPED_TEST(FutureWaitTest, FirstExceptionReturnsAtAFailureOrAtTheEnd) {
  auto executor = this->make(3);
  const Future<int> good = executor.submit(tasks::twice, 1), held = this->held(executor, 1);
  typename TypeParam::Gate begun, go;
  const Future<int> fails =
      executor.submit(tasks::hold_at<typename TypeParam::Gate>, begun, go, 3).then([](int) -> int {
        throw tasks::TaskError("x");
      });
  good.wait();
  EXPECT_THAT(tandem::wait_for(std::vector{good, held}, std::chrono::milliseconds(1), Until::FirstException).not_done,
              ElementsAre(held));
  go.set();
  {
    const auto [done, not_done] = tandem::wait(std::vector{good, held, fails}, Until::FirstException);
    EXPECT_THAT(done, ElementsAre(good, fails));
    EXPECT_THAT(not_done, ElementsAre(held));
  }
  EXPECT_THAT(tandem::wait(std::vector{fails, held}, Until::FirstException).done, ElementsAre(fails));
  this->let_go(0);
  EXPECT_THAT(tandem::wait(std::vector{good, held}, Until::FirstException).not_done, IsEmpty());
}

// EXE-69
TYPED_TEST(FutureWaitTest, TimeOverSplitsDoneFromNotDone) {
  auto executor = this->make(2);
  const Future<int> held = this->held(executor, 1), done = executor.submit(tasks::twice, 1);
  done.wait();
  for (const Until until : {Until::All, Until::FirstException}) {
    const auto found = tandem::wait_for(std::vector{done, held}, std::chrono::milliseconds(2), until);
    EXPECT_THAT(found.done, ElementsAre(done));
    EXPECT_THAT(found.not_done, ElementsAre(held));
  }
  EXPECT_THAT(tandem::wait_for(std::vector{held}, std::chrono::seconds(0), Until::Any).done, IsEmpty());
  this->let_go(0);
}

TYPED_TEST(FutureWaitTest, FuturesOfDifferentTypes) {
  auto executor = this->make(1);
  const Future<int> number = executor.submit(tasks::twice, 1);
  const Future<void> none = executor.submit(tasks::nothing);
  EXPECT_EQ(tandem::wait(std::vector<AnyFuture>{number, none}).done.size(), 2u);
  EXPECT_EQ(tandem::wait_for({AnyFuture(number), AnyFuture(none)}, std::chrono::seconds(0)).done.size(), 2u);
}

TYPED_TEST(FutureWaitTest, NothingToWaitFor) {
  const std::vector<Future<int>> none;
  EXPECT_THAT(tandem::wait(none).done, IsEmpty());
  EXPECT_THAT(tandem::wait(none, Until::FirstException).done, IsEmpty());
  EXPECT_THROW(tandem::wait(none, Until::Any), std::invalid_argument);
  EXPECT_THROW(tandem::wait(std::vector<Future<int>>(1)), StateError);
  EXPECT_THROW(static_cast<void>(tandem::wait_for(none, std::chrono::seconds(-1))), std::invalid_argument);
}

// EXE-71
TYPED_TEST(FutureWaitTest, AsCompletedGivesThemAsTheyGetDone) {
  auto executor = this->make(2);
  const std::vector<Future<int>> futures = {this->held(executor, 0), this->held(executor, 1), this->held(executor, 2)};
  this->let_go(1);
  futures[1].wait();
  auto completed = as_completed(futures);
  std::vector<int> order;
  for (const Future<int>& future : completed) {
    order.push_back(future.get());
    if (order.size() == 1) this->let_go(0);
    if (order.size() == 2) this->let_go(2);
  }
  EXPECT_THAT(order, ElementsAre(1, 0, 2));
}

// EXE-72: with no time at all it gives what is done, then throws.
TYPED_TEST(FutureWaitTest, AsCompletedThrowsWhenTheTimeIsOver) {
  auto executor = this->make(2);
  const Future<int> held = this->held(executor, 1), done = executor.submit(tasks::twice, 1);
  done.wait();
  for (const auto time : {std::chrono::milliseconds(0), std::chrono::milliseconds(2)}) {
    auto completed = as_completed(std::vector{held, done}, time);
    EXPECT_EQ(completed.next(), done);
    EXPECT_THROW(completed.next(), DeadlineExceeded);
  }
  this->let_go(0);
}

// EXE-73
TYPED_TEST(FutureWaitTest, AsCompletedGivesEachOnceFromAnyRange) {
  auto executor = this->make(2);
  const Future<int> one = executor.submit(tasks::twice, 1), two = executor.submit(tasks::twice, 2);
  std::multiset<int> values;
  for (const Future<int>& future : as_completed(std::list{one, two, one, two, two})) values.insert(future.get());
  EXPECT_THAT(values, UnorderedElementsAre(2, 4));
  EXPECT_EQ(as_completed(std::vector<Future<int>>()).next(), std::nullopt);
}

// EXE-74
TYPED_TEST(FutureWaitTest, AsCompletedKeepsNoReferenceToWhatItGave) {
  auto executor = this->make(1);
  std::vector<Future<std::shared_ptr<int>>> futures;
  for (int value = 0; value < 2; ++value)
    futures.push_back(executor.submit(tasks::twice, value).then([](int v) { return std::make_shared<int>(v); }));
  auto completed = as_completed(std::move(futures));
  futures.clear();
  std::weak_ptr<int> first;
  {
    const Future<std::shared_ptr<int>> future = completed.next().value();
    first = future.get();
  }
  // The worker that brought it lets go of it before its next task.
  executor.submit(tasks::nothing).get();
  EXPECT_TRUE(first.expired());
  EXPECT_TRUE(completed.next().has_value());
  EXPECT_FALSE(completed.next().has_value());
}

// EXE-70: many get done together; no wake-up is lost.
TYPED_TEST(FutureWaitTest, ManyThatGetDoneTogether) {
  auto executor = this->make(4);
  for (int round = 0; round < 20; ++round) {
    using Gate = typename TypeParam::Gate;
    Gate go;
    std::vector<Future<int>> futures;
    for (int task = 0; task < 100; ++task) futures.push_back(executor.submit(tasks::hold_at<Gate>, Gate(), go, task));
    go.set();
    const auto waited = tandem::wait(futures, Until::FirstException);
    EXPECT_EQ(waited.done.size(), 100u);
    for (const Future<int>& future : waited.done) EXPECT_NO_THROW(future.get());
    int count = 0;
    for (const Future<int>& future : as_completed(futures)) count += future.done() ? 1 : 0;
    EXPECT_EQ(count, 100);
  }
}

}  // namespace
}  // namespace tandem::testing
