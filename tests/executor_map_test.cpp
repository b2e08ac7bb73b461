#include <tandem/executor.hpp>

#include <gmock/gmock.h>
#include <tandem/array.hpp>
#include <tandem/exit.hpp>

#include <algorithm>
#include <forward_list>
#include <iterator>
#include <memory>
#include <numeric>
#include <ranges>
#include <sstream>
#include <stdexcept>
#include <stop_token>
#include <tuple>
#include <vector>

#include "support/executor_places.hpp"

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

template <class Place>
class ExecutorMapTest : public ExecutorPlaceTest<Place> {};
TYPED_TEST_SUITE(ExecutorMapTest, ExecutorPlaces, ExecutorPlaceNames);

std::vector<int> numbers(int count) {
  std::vector<int> all(count);
  std::iota(all.begin(), all.end(), 0);
  return all;
}
std::vector<int> twice_all(int count) {
  std::vector<int> all = numbers(count);
  for (int& value : all) value *= 2;
  return all;
}

/// Counts how many of its items were read.
auto counted(std::vector<int>& input, int& read) {
  return input | std::views::transform([&read](int value) {
           ++read;
           return value;
         });
}

// EXE-03, POL-02, POL-05, POL-12: in the order of the input, with chunks given and found.
TYPED_TEST(ExecutorMapTest, ResultsComeInTheOrderOfTheInput) {
  auto executor = this->make(2);
  const std::vector<int> input = numbers(1000);
  EXPECT_EQ(executor.map(tasks::twice, input).to_vector(), twice_all(1000));
  std::vector<int> read;
  for (const int result : executor.map(MapOptions{.chunk_size = 7}, tasks::twice, input)) read.push_back(result);
  EXPECT_EQ(read, twice_all(1000));
}

int twice_unless_stopped(const std::stop_token& stop, int value) {
  return stop.stop_requested() ? -1 : value * 2;
}

TYPED_TEST(ExecutorMapTest, TheFunctionMayTakeAStopToken) {
  auto executor = this->make(2);
  EXPECT_EQ(executor.map(twice_unless_stopped, numbers(100)).to_vector(), twice_all(100));
  MapOptions again{.chunk_size = 7};
  again.task.emplace().retries = 1;
  EXPECT_EQ(executor.map(again, twice_unless_stopped, numbers(100)).to_vector(), twice_all(100));
}

// EXE-20: chunks below, equal to and above the length.
TYPED_TEST(ExecutorMapTest, AnyChunkSizeGivesTheSame) {
  auto executor = this->make(2);
  for (const std::size_t size : {1, 2, 9, 10, 11, 1000})
    EXPECT_EQ(executor.map(MapOptions{.chunk_size = size}, tasks::twice, numbers(10)).to_vector(), twice_all(10));
  EXPECT_THROW(executor.map(MapOptions{.chunk_size = 0}, tasks::twice, numbers(10)), std::invalid_argument);
}

// EXE-03, EXE-11: several inputs, until the shortest ends.
TYPED_TEST(ExecutorMapTest, SeveralInputsAreReadInStep) {
  auto executor = this->make(2);
  EXPECT_THAT(executor.map(tasks::sum, std::vector{1, 2, 3}, std::forward_list{10, 20}).to_vector(),
              ElementsAre(11, 22));
  EXPECT_THAT(executor.map(MapOptions{.window_items = 2}, tasks::sum, numbers(4), std::views::iota(0)).to_vector(),
              ElementsAre(0, 2, 4, 6));
}

// POL-14
TYPED_TEST(ExecutorMapTest, UnorderedGivesAllInTheOrderOfTheirEnd) {
  auto executor = this->make(2);
  EXPECT_EQ(executor.map_unordered(tasks::twice, numbers(500)).to_vector().size(), 500u);
  Event begun, go;
  const auto hold_first = [](const Event& event, int value) {
    Event mine = event;
    if (value == 0) mine.wait();
    return value;
  };
  auto results = executor.map_unordered(MapOptions{.chunk_size = 1}, hold_first, std::vector{go, go, go}, numbers(3));
  const int first = results.next().value(), second = results.next().value();
  EXPECT_THAT((std::vector{first, second}), UnorderedElementsAre(1, 2));
  go.set();
  EXPECT_EQ(results.next(), 0);
  EXPECT_EQ(results.next(), std::nullopt);
}

// POL-03, POL-04
TYPED_TEST(ExecutorMapTest, StarmapSpreadsTuples) {
  auto executor = this->make(2);
  const std::vector<std::tuple<int, int>> pairs = {{1, 2}, {3, 4}, {5, 6}};
  auto results = executor.starmap(tasks::sum, pairs);
  EXPECT_THAT(results.to_vector(), ElementsAre(3, 7, 11));
  EXPECT_THAT(
      executor.starmap(MapOptions{.chunk_size = 2}, tasks::sum, std::vector<std::pair<int, int>>{{1, 1}, {2, 2}})
          .to_vector(),
      ElementsAre(2, 4));
}

TYPED_TEST(ExecutorMapTest, ForEachCallsAllAndThrowsTheFirstFailure) {
  auto executor = this->make(2);
  Value<int> total(0);
  const auto add = [](const Value<int>& to, int value) { tasks::add_to(to, value); };
  executor.for_each(add, std::vector<Value<int>>(100, total), numbers(100));
  EXPECT_EQ(total.get(), 4950);
  const auto add_and_fail = [](const Value<int>& to, int value) {
    tasks::add_to(to, 1);
    if (value % 10 == 5) throw std::out_of_range(std::to_string(value));
  };
  try {
    executor.for_each(MapOptions{.chunk_size = 3}, add_and_fail, std::vector<Value<int>>(100, total), numbers(100));
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::out_of_range& error) {
    EXPECT_STREQ(error.what(), "5");
  }
  EXPECT_EQ(total.get(), 4950 + 100);
}

// EXE-04, TMO-25, POL-22: one item's error is its own; the reading goes on behind it, also within a chunk.
TYPED_TEST(ExecutorMapTest, FailedItemThrowsAndReadingGoesOn) {
  auto executor = this->make(2);
  for (const std::size_t chunk : {1, 4, 100}) {
    auto results = executor.map(MapOptions{.chunk_size = chunk}, tasks::twice_unless_3, numbers(10));
    for (int item = 0; item < 10; ++item) {
      if (item % 3 == 0) {
        try {
          static_cast<void>(results.next());
          ADD_FAILURE() << "item " << item << " did not throw";
        } catch (const std::out_of_range& error) {
          EXPECT_EQ(error.what(), std::to_string(item));
        }
      } else {
        EXPECT_EQ(results.next(), 2 * item);
      }
    }
    EXPECT_EQ(results.next(), std::nullopt);
    EXPECT_EQ(results.next(), std::nullopt);
  }
}

// POL-15
TYPED_TEST(ExecutorMapTest, UnorderedResultsAndErrorsAreMixed) {
  auto executor = this->make(2);
  auto results = executor.map_unordered(MapOptions{.chunk_size = 4}, tasks::twice_unless_3, numbers(30));
  int values = 0, errors = 0;
  for (bool more = true; more;) {
    try {
      more = results.next().has_value();
      values += more ? 1 : 0;
    } catch (const std::out_of_range&) {
      ++errors;
    }
  }
  EXPECT_EQ(values, 20);
  EXPECT_EQ(errors, 10);
}

// POL-09, CRS-35: an input that throws at once, midway, or while another one is read.
TYPED_TEST(ExecutorMapTest, InputThatThrowsIsThrownBehindWhatWasRead) {
  auto executor = this->make(2);
  for (const int bad : {0, 1, 7}) {
    const auto input = std::views::iota(0, 20) | std::views::transform([bad](int value) {
                         if (value == bad) throw tasks::TaskError("input");
                         return value;
                       });
    for (const bool ordered : {true, false}) {
      const MapOptions options{.chunk_size = 2};
      auto results =
          ordered ? executor.map(options, tasks::twice, input) : executor.map_unordered(options, tasks::twice, input);
      for (int item = 0; item < bad; ++item) EXPECT_TRUE(results.next().has_value());
      EXPECT_THROW(static_cast<void>(results.next()), tasks::TaskError);
      EXPECT_EQ(results.next(), std::nullopt);
    }
  }
  EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2);
}

// EXE-14, EXE-15, POL-18
TYPED_TEST(ExecutorMapTest, EmptyInputs) {
  auto executor = this->make(2);
  EXPECT_TRUE(executor.map(tasks::twice, std::vector<int>()).to_vector().empty());
  EXPECT_TRUE(executor.map_unordered(tasks::twice, std::vector<int>()).to_vector().empty());
  EXPECT_TRUE(
      executor.map(MapOptions{.window_items = 3}, tasks::sum, std::vector<int>(), numbers(5)).to_vector().empty());
  EXPECT_TRUE(executor.starmap(tasks::sum, std::vector<std::tuple<int, int>>()).to_vector().empty());
  executor.for_each(tasks::twice, std::vector<int>());
  EXPECT_EQ(executor.counters().submitted, 0u);
}

// EXE-09
TYPED_TEST(ExecutorMapTest, WindowOfNothingIsRefused) {
  auto executor = this->make(2);
  EXPECT_THROW(executor.map(MapOptions{.window_items = 0}, tasks::twice, numbers(10)), std::invalid_argument);
}

// EXE-10, EXE-16: exactly the window is read before the first result is taken, and one more for each that is.
TYPED_TEST(ExecutorMapTest, NoMoreThanTheWindowIsReadAhead) {
  auto executor = this->make(2);
  std::vector<int> input = numbers(20);
  int read = 0;
  auto results = executor.map(MapOptions{.chunk_size = 1, .window_items = 4}, tasks::twice, counted(input, read));
  EXPECT_EQ(read, 4);
  for (int item = 0; item < 20; ++item) {
    EXPECT_EQ(results.next(), 2 * item);
    EXPECT_EQ(read, std::min(20, item + 5));
  }
  EXPECT_EQ(results.next(), std::nullopt);
  for (const std::size_t window : {1, 3, 19, 20, 21, 500})
    EXPECT_EQ(executor.map(MapOptions{.window_items = window}, tasks::twice, input).to_vector(), twice_all(20));
}

// EXE-12, EXE-13
TYPED_TEST(ExecutorMapTest, InputsWithoutEnd) {
  auto executor = this->make(2);
  auto one = executor.map(tasks::twice, std::views::iota(0));
  auto two = executor.map(MapOptions{.window_items = 5}, tasks::sum, std::views::iota(0), std::views::iota(1));
  for (int item = 0; item < 300; ++item) {
    EXPECT_EQ(one.next(), 2 * item);
    EXPECT_EQ(two.next(), 2 * item + 1);
  }
}

// An input that can be gone through once, and that is given as a value.
TYPED_TEST(ExecutorMapTest, InputThatIsReadOnlyOnce) {
  auto executor = this->make(2);
  std::istringstream text("1 2 3 4 5");
  EXPECT_THAT(executor.map(tasks::twice, std::ranges::istream_view<int>(text)).to_vector(),
              ElementsAre(2, 4, 6, 8, 10));
}

// EXE-30: the calls begin though nobody reads.
TYPED_TEST(ExecutorMapTest, CallsBeginAtOnce) {
  Value<int> total(0);
  Event done;
  {
    auto executor = this->make(2);
    const auto add = [](const Value<int>& to, const Event& last, int value) {
      if (tasks::add_to(to, value) == 6) Event(last).set();
      return 0;
    };
    auto results = executor.map(MapOptions{.chunk_size = 1}, add, std::vector<Value<int>>(3, total),
                                std::vector<Event>(3, done), std::vector{1, 2, 3});
    done.wait();
    results.close();
  }
  EXPECT_EQ(total.get(), 6);
}

// EXE-07
TYPED_TEST(ExecutorMapTest, ClosedResultsAreAtTheirEnd) {
  auto executor = this->make(2);
  auto results = executor.map(tasks::twice, std::views::iota(0));
  EXPECT_EQ(results.next(), 0);
  results.close();
  EXPECT_EQ(results.next(), std::nullopt);
  EXPECT_EQ(results.begin(), results.end());
  EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2);
}

// EXE-18: nothing is kept of a result that was given.
TYPED_TEST(ExecutorMapTest, ResultsThatWereGivenAreNotKept) {
  auto executor = this->make(1);
  auto results = executor.map(
      MapOptions{.chunk_size = 10}, [](int length) { return std::string(length, 'x'); }, std::vector{1000, 1000, 1000});
  auto at = results.begin();
  const std::string& slot = *at;
  EXPECT_EQ(slot.size(), 1000u);
  ++at;
  EXPECT_EQ(slot.size(), 0u);
  EXPECT_EQ(results.next().value().size(), 1000u);
}

// EXE-06, EXE-36, TMO-24: the time for all of it is over: what runs and what waits is cancelled, and this is the end.
TYPED_TEST(ExecutorMapTest, TimeOverEndsTheMap) {
  auto executor = this->make(1);
  Event go;
  const auto hold_second = [](const Event& event, int value) {
    if (value == 1) Event(event).wait();
    return value;
  };
  for (const bool ordered : {true, false}) {
    const MapOptions options{.chunk_size = 1, .timeout = std::chrono::milliseconds(30)};
    const std::vector<Event> events(10, go);
    auto results = ordered ? executor.map(options, hold_second, events, numbers(10))
                           : executor.map_unordered(options, hold_second, events, numbers(10));
    EXPECT_THROW(results.to_vector(), DeadlineExceeded);
    EXPECT_EQ(results.next(), std::nullopt);
    go.set();
    executor.submit(tasks::nothing).get();
    const ExecutorCounters counters = executor.counters();
    EXPECT_GT(counters.cancelled, 0u);
    EXPECT_EQ(counters.running + counters.queued, 0u);
    go.clear();
  }
}

// EXE-05: what a task throws is not the time of the map.
TYPED_TEST(ExecutorMapTest, DeadlineThrownByATaskIsItsOwn) {
  auto executor = this->make(1);
  const auto throws = [](int value) -> int {
    if (value == 0) throw DeadlineExceeded("of the task");
    return value;
  };
  auto results = executor.map(MapOptions{.timeout = std::chrono::hours(1)}, throws, numbers(3));
  EXPECT_THROW(static_cast<void>(results.next()), DeadlineExceeded);
  EXPECT_EQ(results.next(), 1);
  EXPECT_EQ(results.next(), 2);
}

TYPED_TEST(ExecutorMapTest, ResultsOfAnyKind) {
  auto executor = this->make(2);
  const auto even = [](int value) { return value % 2 == 0; };
  std::vector<bool> flags;
  for (const bool flag : executor.map(even, numbers(4))) flags.push_back(flag);
  EXPECT_THAT(flags, ElementsAre(true, false, true, false));
}

// An item that asks to exit fails; it does not end who reads the results.
TYPED_TEST(ExecutorMapTest, ItemThatAsksToExitFails) {
  auto executor = this->make(1);
  const auto leave = [](int value) -> int {
    if (value == 1) tandem::exit(7);
    return value;
  };
  auto results = executor.map(MapOptions{.chunk_size = 3}, leave, numbers(3));
  EXPECT_EQ(results.next(), 0);
  try {
    static_cast<void>(results.next());
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("exit(7)"));
  }
  EXPECT_EQ(results.next(), 2);
  EXPECT_THROW(executor.for_each(leave, numbers(3)), Error);
  Event begun, go;
  const Future<void> behind = executor.submit(tasks::hold, begun, go, 1).then([](int) { tandem::exit(7); });
  go.set();
  EXPECT_THROW(behind.get(), Error);
}

int fail_before(Array<int> calls, int item, int good_call) {
  if (++calls[item] < good_call) throw std::out_of_range(std::to_string(item));
  return item;
}

// Each item is called again by itself; those beside it in its chunk are not.
TYPED_TEST(ExecutorMapTest, ItemThatFailsIsCalledAgainAsOftenAsAsked) {
  ExecutorOptions options = this->options(2);
  options.task.retries = 2;
  typename TestFixture::Executor executor(options);
  Array<int> calls(10);
  const std::vector<Array<int>> shared(10, calls);
  const std::vector<int> good_calls = {1, 2, 3, 1, 4, 1, 1, 3, 9, 1};
  auto results = executor.map(MapOptions{.chunk_size = 5}, fail_before, shared, numbers(10), good_calls);
  for (int item = 0; item < 10; ++item) {
    if (good_calls[item] > 3) {
      EXPECT_THROW(static_cast<void>(results.next()), std::out_of_range);
    } else {
      EXPECT_EQ(results.next(), item);
    }
  }
  EXPECT_EQ(results.next(), std::nullopt);
  for (int item = 0; item < 10; ++item) EXPECT_EQ(calls[item], std::min(good_calls[item], 3));
  EXPECT_EQ(executor.counters().retried, 9u);
  executor.for_each(MapOptions{.task = TaskOptions{.retries = 8}}, fail_before, shared, numbers(10), good_calls);
}

TEST(LocalMapTest, ItemsThatCannotBeCopiedAreNotTriedAgain) {
  ThreadExecutor executor(ExecutorOptions{.workers = 1, .task = {.retries = 1}});
  const auto made = std::views::iota(0, 3) | std::views::transform([](int i) { return std::make_unique<int>(i); });
  EXPECT_THROW(executor.map([](std::unique_ptr<int> p) { return *p; }, made), std::invalid_argument);
}

/// Copied as bytes, and never assigned.
struct Fixed {
  const int value;
};
Fixed fixed(Fixed item) {
  return {item.value + 1};
}

TEST(LocalMapTest, ItemsAndResultsNeedNoAssignment) {
  ThreadExecutor executor(1);
  const std::vector<Fixed> input = {{1}, {2}, {3}};
  int total = 0;
  for (const Fixed result : executor.map(fixed, input)) total += result.value;
  EXPECT_EQ(total, 9);
}

// What was read before the shutdown still comes; then the reason why no more does.
TYPED_TEST(ExecutorMapTest, ShutdownEndsAMapThatIsNotRead) {
  auto executor = this->make(1);
  auto results = executor.map(MapOptions{.chunk_size = 1, .window_items = 3}, tasks::twice, std::views::iota(0));
  executor.shutdown();
  for (int item = 0; item < 3; ++item) EXPECT_EQ(results.next(), 2 * item);
  EXPECT_THROW(static_cast<void>(results.next()), ExecutorShutDown);
  EXPECT_EQ(results.next(), std::nullopt);
  EXPECT_THROW(executor.map(tasks::twice, numbers(3)), ExecutorShutDown);
}

}  // namespace
}  // namespace tandem::testing
