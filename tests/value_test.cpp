// Value and RawValue: one value that threads and processes share.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <tandem/event.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>
#include <tandem/raw_value.hpp>
#include <tandem/value.hpp>

#include "support/leak_checked_test.hpp"
#include "support/where.hpp"
#include "support/wide.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::wide;
using testing::Wide;
using testing::Worker;

struct Point {
  double x = 0;
  double y = 0;
  friend bool operator==(const Point&, const Point&) = default;
};
struct alignas(256) Aligned {
  int number = 0;
};
enum class Colour : std::uint16_t { Red, Green };

class ValueTest : public testing::LeakCheckedTest {};
class ValuePlaceTest : public testing::EverywhereTest {};

template <template <class> class V>
void write_several_sizes(V<char> small, V<std::int16_t> two, V<int> four, V<std::int64_t> eight, V<double> fraction,
                         V<Colour> colour, V<bool> flag) {
  small.set('z');
  two = -300;
  four = 1'000'000;
  eight = std::numeric_limits<std::int64_t>::min();
  fraction = 0.25;
  colour = Colour::Green;
  flag = true;
}
template <template <class> class V>
void expect_several_sizes(testing::Where where) {
  V<char> small('a');
  V<std::int16_t> two;
  V<int> four(7);
  V<std::int64_t> eight;
  V<double> fraction(3.5);
  V<Colour> colour;
  V<bool> flag;
  EXPECT_EQ(small.get(), 'a');
  EXPECT_EQ(two.get(), 0);
  EXPECT_EQ(four.get(), 7);
  Worker worker(where, write_several_sizes<V>, small, two, four, eight, fraction, colour, flag);
  worker.start();
  worker.join();
  EXPECT_EQ(small.get(), 'z');
  EXPECT_EQ(two.get(), -300);
  EXPECT_EQ(four.get(), 1'000'000);
  EXPECT_EQ(eight.get(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(fraction.get(), 0.25);
  EXPECT_EQ(colour.get(), Colour::Green);
  EXPECT_TRUE(flag);
}

// VAL-01
TEST_P(ValuePlaceTest, ValuesOfSeveralSizesWrittenByAChildAreSeen) {
  expect_several_sizes<Value>(GetParam());
}

// VAL-02
TEST_P(ValuePlaceTest, ValuesWithoutALockWrittenByAChildAreSeen) {
  expect_several_sizes<RawValue>(GetParam());
}

constexpr int kWorkers = 8;
constexpr int kRounds = testing::kSanitized ? 500 : 5'000;

template <class V>
void count_up(V total, V steps, Event go) {
  go.wait();
  for (int round = 0; round < kRounds; ++round) {
    total += 3;
    ++total;
    total -= 2;
    --total;
    steps++;
  }
}
template <class V>
void expect_exact_counts(testing::Where where) {
  V total, steps;
  Event go;
  std::vector<Worker> workers;
  for (int i = 0; i < kWorkers; ++i) workers.emplace_back(where, count_up<V>, total, steps, go);
  for (Worker& worker : workers) worker.start();
  go.set();
  for (Worker& worker : workers) worker.join();
  EXPECT_EQ(total.get(), kWorkers * kRounds);
  EXPECT_EQ(steps.get(), kWorkers * kRounds);
}

TEST_P(ValuePlaceTest, ChangesByEightWorkersAreExact) {
  expect_exact_counts<Value<int>>(GetParam());
}

TEST_P(ValuePlaceTest, ChangesWithoutALockByEightWorkersAreExact) {
  expect_exact_counts<RawValue<std::int64_t>>(GetParam());
  expect_exact_counts<RawValue<double>>(GetParam());
}

void write_wide(Value<Wide> value, Event stop) {
  for (std::uint64_t round = 1; !stop.is_set(); ++round) value = wide(round);
}

TEST_P(ValuePlaceTest, AReaderNeverSeesATornValue) {
  Value<Wide> value;
  Event stop;
  Worker first(GetParam(), write_wide, value, stop), second(GetParam(), write_wide, value, stop);
  first.start();
  second.start();
  int changes = 0;
  std::uint64_t last = 0;
  while (changes < 50) {
    const Wide seen = value;
    ASSERT_TRUE(seen.whole());
    // On a busy machine the writers have no core while this has one.
    if (seen.words[0] == last) std::this_thread::yield();
    changes += seen.words[0] != last;
    last = seen.words[0];
  }
  stop.set();
  first.join();
  second.join();
}

void scale(Value<Point> value) {
  value.update([](Point& point) { point.x *= 2; });
  value.update([](Point point) { return Point{point.x, point.y * 2}; });
}

TEST_P(ValuePlaceTest, UpdateChangesAStructInAChild) {
  Value<Point> value(Point{1, 2});
  Worker worker(GetParam(), scale, value);
  worker.start();
  worker.join();
  EXPECT_EQ(value.get(), (Point{2, 4}));
}

void move_both(Value<int> from, Value<int> to, int times) {
  for (int i = 0; i < times; ++i) {
    const std::scoped_lock guard(from);
    from -= 1;
    to += 1;
  }
}

TEST_P(ValuePlaceTest, TwoValuesUnderOneLockChangeTogether) {
  const int times = kRounds;
  Value<int> from(times), to(0, from.get_lock());
  Worker worker(GetParam(), move_both, from, to, times);
  worker.start();
  for (bool done = false; !done;) {
    const std::scoped_lock guard(to);
    ASSERT_EQ(from.get() + to.get(), times);
    done = to.get() == times;
  }
  worker.join();
}

TANDEM_TEST_EVERYWHERE(ValuePlaceTest);

// A type without get_lock() has no such member at all: there is nothing to return null.
template <class V>
concept HasLock = requires(V value) { value.get_lock(); };
template <class L>
concept IsALock = requires(L lock) { Value<int>(5, lock); };

// VAL-03
TEST_F(ValueTest, ItsLockIsTheOneGivenOrOneOfItsOwn) {
  Value<int> own(5), other(5);
  EXPECT_EQ(own.get_lock(), own.get_lock());
  EXPECT_FALSE(own.get_lock() == other.get_lock());
  const Lock lock;
  const RLock rlock;
  EXPECT_EQ(Value<int>(5, lock).get_lock(), lock);
  EXPECT_EQ(Value<int>(5, rlock).get_lock(), rlock);
  EXPECT_EQ(Value<int>(5, own.get_lock()).get_lock(), own.get_lock());
  static_assert(HasLock<Value<int>> && !HasLock<RawValue<int>>);
  static_assert(IsALock<Lock> && IsALock<RLock> && !IsALock<std::mutex> && !IsALock<int>);
  RLock gone;
  const RLock moved = std::move(gone);
  EXPECT_THROW(Value<int>(5, gone), StaleHandle);
}

// VAL-04
TEST_F(ValueTest, TypesThatMemoryCannotHoldAreRefusedByTheCompiler) {
  static_assert(Shareable<int> && Shareable<Point> && Shareable<std::array<char, 32>> && Shareable<Colour>);
  static_assert(!Shareable<int*> && !Shareable<std::string> && !Shareable<std::vector<int>> && !Shareable<const int> &&
                !Shareable<int[4]> && !Shareable<Value<int>> && !Shareable<Lock> && !Shareable<const char*> &&
                !Shareable<int&> && !Shareable<void (*)()>);
}

TEST_F(ValueTest, AThreadThatHoldsTheLockGoesOnWithTheValue) {
  Value<int> with_rlock(1), with_lock(1, Lock());
  for (Value<int> value : {with_rlock, with_lock}) {
    const std::scoped_lock guard(value);
    value += 1;
    EXPECT_EQ(value.get(), 2);
    EXPECT_TRUE(value.owned());
  }
  EXPECT_FALSE(with_lock.locked());
}

void add_one(Value<int> value, Event started) {
  started.set();
  value += 1;
}

TEST_F(ValueTest, AHeldLockKeepsOthersFromTheValue) {
  Value<int> value;
  Event started;
  Worker worker(testing::Where::ForkServer, add_one, value, started);
  {
    const std::scoped_lock guard(value);
    worker.start();
    started.wait();
    const int before = value.get();
    EXPECT_FALSE(worker.join_for(20ms));
    value.set(before + 10);
  }
  worker.join();
  EXPECT_EQ(value.get(), 11);
}

TEST_F(ValueTest, UpdateThatThrowsChangesNothingAndLetsGo) {
  Value<Point> value(Point{1, 2});
  EXPECT_THROW(value.update([](Point& point) {
    point.x = 9;
    throw std::runtime_error("not this");
  }),
               std::runtime_error);
  EXPECT_EQ(value.get(), (Point{1, 2}));
  EXPECT_FALSE(value.locked());
  RawValue<int> raw(1);
  EXPECT_THROW(raw.update([](int) -> int { throw std::runtime_error("not this"); }), std::runtime_error);
  EXPECT_EQ(raw.get(), 1);
}

template <class V>
void expect_results_of_operators() {
  V value(6);
  EXPECT_EQ(value += 2, 8);
  EXPECT_EQ(value -= 3, 5);
  EXPECT_EQ(value++, 5);
  EXPECT_EQ(++value, 7);
  EXPECT_EQ(value--, 7);
  EXPECT_EQ(--value, 5);
  EXPECT_EQ(value |= 2, 7);
  EXPECT_EQ(value &= 6, 6);
  EXPECT_EQ(value ^= 5, 3);
  EXPECT_EQ(value.exchange(10), 3);
  EXPECT_EQ(value = 20, 20);
  EXPECT_EQ(value.update([](auto number) { return number * 2; }), 40);
  EXPECT_EQ(value, 40);
  using T = typename V::value_type;
  value = std::numeric_limits<T>::max();
  EXPECT_EQ(++value, std::numeric_limits<T>::min());
  EXPECT_EQ(--value, std::numeric_limits<T>::max());
}

TEST_F(ValueTest, OperatorsReturnWhatThoseOfStdAtomicDo) {
  expect_results_of_operators<Value<int>>();
  expect_results_of_operators<Value<std::int8_t>>();
  expect_results_of_operators<Value<std::uint64_t>>();
  expect_results_of_operators<RawValue<int>>();
  expect_results_of_operators<RawValue<std::int8_t>>();
  expect_results_of_operators<RawValue<std::uint64_t>>();
}

template <class V>
concept Adds = requires(V value, typename V::value_type by) { value += by; };
template <class V>
concept Updates = requires(V value) { value.update([](typename V::value_type&) {}); };
template <class V>
concept Masks = requires(V value, typename V::value_type by) { value &= by; };

TEST_F(ValueTest, WhatCannotBeOneStepDoesNotCompile) {
  static_assert(Adds<Value<int>> && Adds<Value<long double>> && !Adds<Value<bool>> && !Adds<Value<Point>>);
  static_assert(Adds<RawValue<float>> && !Adds<RawValue<long double>> && !Adds<RawValue<Point>>);
  static_assert(Updates<Value<Point>> && Updates<Value<Wide>> && !Updates<RawValue<Wide>>);
  static_assert(Masks<Value<unsigned>> && !Masks<Value<double>> && !Masks<RawValue<double>>);
}

TEST_F(ValueTest, ACopyOfTheHandleIsTheSameValueAndACopyOfTheValueIsNot) {
  Value<int> value(1);
  const Value<int> handle = value;  // NOLINT(performance-unnecessary-copy-initialization)
  const int copy = value;
  value = 2;
  EXPECT_EQ(handle.get(), 2);
  EXPECT_EQ(copy, 1);
  Value<int> other(7);
  other = value;
  other += 1;
  EXPECT_EQ(value.get(), 3);
}

// VAL-12
TEST_F(ValueTest, AStructCopiedOutIsDetached) {
  Value<Point> value(Point{1, 2});
  RawValue<Point> raw(Point{1, 2});
  const Point copy = value, copy_of_raw = raw;
  value = Point{3, 4};
  raw = Point{3, 4};
  EXPECT_EQ(copy, (Point{1, 2}));
  EXPECT_EQ(copy_of_raw, (Point{1, 2}));
  Point mine = value.get();
  mine.x = 100;
  EXPECT_EQ(mine, (Point{100, 4}));
  EXPECT_EQ(value.get(), (Point{3, 4}));
}

TEST_F(ValueTest, StricterAlignmentIsKept) {
  Value<Aligned> value(Aligned{3});
  RawValue<Aligned> raw(Aligned{3});
  value.update([](Aligned& aligned) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&aligned) % 256, 0U);
    ++aligned.number;
  });
  EXPECT_EQ(value.get().number, 4);
  EXPECT_EQ(raw.get().number, 3);
}

TEST_F(ValueTest, AMovedFromValueIsAStaleHandle) {
  Value<int> value(1);
  const Value<int> taken = std::move(value);
  EXPECT_EQ(taken.get(), 1);
  EXPECT_THROW(static_cast<void>(value.get()), StaleHandle);
  EXPECT_THROW(value += 1, StaleHandle);
}

TEST_F(ValueTest, AValueTravelsInAQueueWithItsLock) {
  Queue<Value<int>> queue;
  Queue<RawValue<int>> raw_queue;
  {
    queue.put(Value<int>(7, Lock()));
    raw_queue.put(RawValue<int>(8));
  }
  Value<int> value = queue.get();
  const std::scoped_lock guard(value);
  EXPECT_EQ(value.get(), 7);
  EXPECT_EQ(raw_queue.get().get(), 8);
}

}  // namespace
}  // namespace tandem
