// Broadcast: a value that goes to each place once. What executors do with it, in each place.
#include <tandem/broadcast.hpp>

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <tandem/executor.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>

#include "support/executor_places.hpp"

namespace tandem::testing {
namespace {

using Numbers = std::vector<std::int64_t>;

std::int64_t sum_of(const Broadcast<Numbers>& numbers, std::int64_t offset) {
  return std::accumulate(numbers->begin(), numbers->end(), offset);
}
std::int64_t sum_of_plain(const Numbers& numbers, std::int64_t offset) {
  return std::accumulate(numbers.begin(), numbers.end(), offset);
}

/// Says how often this process has read one.
struct Counted {
  static inline int loads = 0;
  int value = 0;
  template <class Archive>
  void save(Archive& archive) const {
    archive(value);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(value);
    ++loads;
  }
};
/// The process, and how often it has read what it was given, from zero.
std::pair<int, int> loads_of(const Broadcast<Counted>& counted) {
  if (counted->value != 7) throw std::runtime_error("another value");
  return {::getpid(), Counted::loads};
}

/// A callable that has one, for maps.
struct LookUp {
  Broadcast<std::map<int, std::string>> names;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(names);
  }
  std::string operator()(int number) const { return names->at(number); }
};

struct Unreadable {
  template <class Archive>
  void save(Archive&) const {}
  template <class Archive>
  void load(Archive&) {
    throw std::out_of_range("this cannot be read");
  }
};
int look_at(const Broadcast<Unreadable>& value) {
  static_cast<void>(value.get());
  return 1;
}

template <class Place>
class BroadcastPlaceTest : public ExecutorPlaceTest<Place> {};
TYPED_TEST_SUITE(BroadcastPlaceTest, ExecutorPlaces, ExecutorPlaceNames);

TYPED_TEST(BroadcastPlaceTest, EveryTaskReadsTheValue) {
  auto executor = this->make(2);
  const Broadcast<Numbers> numbers(Numbers{1, 2, 3});
  EXPECT_EQ(numbers->size(), 3u);
  std::vector<Future<std::int64_t>> sums;
  for (std::int64_t offset = 0; offset < 100; ++offset) sums.push_back(executor.submit(sum_of, numbers, offset));
  for (std::int64_t offset = 0; offset < 100; ++offset)
    EXPECT_EQ(sums[static_cast<std::size_t>(offset)].get(), 6 + offset);
}

TYPED_TEST(BroadcastPlaceTest, FunctionOfTheValueCanBeCalledWithIt) {
  auto executor = this->make(1);
  EXPECT_EQ(executor.submit(sum_of_plain, Broadcast<Numbers>(Numbers{4, 5}), 1).get(), 10);
}

TYPED_TEST(BroadcastPlaceTest, EachProcessReadsItOnce) {
  auto executor = this->make(2);
  const Broadcast<Counted> counted(Counted{7});
  std::vector<Future<std::pair<int, int>>> all;
  std::map<int, int> before;
  for (int task = 0; task < 50; ++task) all.push_back(executor.submit(loads_of, counted));
  for (const auto& future : all) {
    const auto [pid, loads] = future.get();
    // Workers of a cluster may have read some in earlier tests: but not between two of these tasks.
    EXPECT_EQ(before.emplace(pid, loads).first->second, loads);
    if (pid == ::getpid()) EXPECT_EQ(loads, 0) << "a thread has the value";
  }
}

TYPED_TEST(BroadcastPlaceTest, LargeValueArrivesWhole) {
  auto executor = this->make(2);
  Numbers many(1'500'000);
  std::iota(many.begin(), many.end(), 0);
  const std::int64_t sum = std::accumulate(many.begin(), many.end(), std::int64_t{0});
  const Broadcast<Numbers> numbers(std::move(many));
  for (std::int64_t offset = 0; offset < 4; ++offset)
    EXPECT_EQ(executor.submit(sum_of, numbers, offset).get(), sum + offset);
}

TYPED_TEST(BroadcastPlaceTest, CallableOfAMapCanHaveOne) {
  auto executor = this->make(2);
  const LookUp look_up{Broadcast<std::map<int, std::string>>({{0, "none"}, {1, "one"}, {2, "two"}})};
  std::vector<std::string> names;
  for (const std::string& name : executor.map(look_up, std::vector{2, 0, 1, 2})) names.push_back(name);
  EXPECT_THAT(names, ::testing::ElementsAre("two", "none", "one", "two"));
}

TYPED_TEST(BroadcastPlaceTest, TaskKeepsItAlive) {
  auto executor = this->make(1);
  std::vector<Future<std::int64_t>> sums;
  for (std::int64_t value = 0; value < 40; ++value)
    sums.push_back(executor.submit(sum_of, Broadcast<Numbers>(Numbers{value}), 1));
  for (std::int64_t value = 0; value < 40; ++value) EXPECT_EQ(sums[static_cast<std::size_t>(value)].get(), value + 1);
}

// More than a process remembers.
TYPED_TEST(BroadcastPlaceTest, ManyValuesStayApart) {
  auto executor = this->make(2);
  std::vector<Broadcast<Numbers>> values;
  for (std::int64_t value = 0; value < 30; ++value) values.emplace_back(Numbers{value, value});
  for (int round = 0; round < 2; ++round)
    for (std::int64_t value = 0; value < 30; ++value)
      EXPECT_EQ(executor.submit(sum_of, values[static_cast<std::size_t>(value)], 0).get(), 2 * value);
}

TYPED_TEST(BroadcastPlaceTest, ValueThatCannotBeReadFailsItsTasks) {
  auto executor = this->make(1);
  const Broadcast<Unreadable> value{Unreadable()};
  if (std::string(TypeParam::kName) == "Threads") {
    EXPECT_EQ(executor.submit(look_at, value).get(), 1);
  } else {
    for (int task = 0; task < 2; ++task) EXPECT_THROW(executor.submit(look_at, value).get(), std::out_of_range);
  }
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4);
}

class BroadcastTest : public LeakCheckedTest {};

void pass_on(const Queue<Broadcast<Numbers>>& from, Queue<Broadcast<Numbers>> to) {
  Queue<Broadcast<Numbers>> queue = from;
  to.put(queue.get());
}

TEST_F(BroadcastTest, PassesThroughAProcessAndQueues) {
  Queue<Broadcast<Numbers>> there, back;
  Process process(pass_on, there, back);
  process.start();
  there.put(Broadcast<Numbers>(Numbers{1, 2}));
  const Broadcast<Numbers> numbers = back.get();
  process.join();
  EXPECT_EQ(process.exitcode(), 0);
  EXPECT_THAT(numbers.get(), ::testing::ElementsAre(1, 2));
  EXPECT_EQ(&numbers.get(), &*numbers) << "one value for all looks";
}

TEST_F(BroadcastTest, OneThatWasMovedFromIsStale) {
  Broadcast<int> moved(1);
  const Broadcast<int> here = std::move(moved);
  EXPECT_EQ(*here, 1);
  EXPECT_THROW(static_cast<void>(moved.get()), StaleHandle);  // NOLINT(bugprone-use-after-move)
  ProcessExecutor executor(1);
  EXPECT_THROW(static_cast<void>(executor.submit([](const Broadcast<int>&) {}, moved)), StaleHandle);
}

}  // namespace
}  // namespace tandem::testing
