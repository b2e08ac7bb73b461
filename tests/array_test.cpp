// Array and RawArray: elements in a row that threads and processes share.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <limits>
#include <list>
#include <mutex>
#include <numeric>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tandem/array.hpp>
#include <tandem/event.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>
#include <tandem/raw_value.hpp>
#include <tandem/value.hpp>

#include "support/leak_checked_test.hpp"
#include "support/where.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Worker;

struct Sample {
  int number = 0;
  double weight = 0;
  friend bool operator==(const Sample&, const Sample&) = default;
};
struct alignas(64) Line {
  std::uint64_t word = 0;
};
using Text = std::array<char, 16>;

Text text_of(std::string_view text) {
  Text all{};
  std::ranges::copy(text.substr(0, all.size() - 1), all.begin());
  return all;
}

class ArrayTest : public testing::LeakCheckedTest {};
class ArrayPlaceTest : public testing::EverywhereTest {};

template <class A>
void sum_up(A numbers) {
  std::partial_sum(numbers.begin(), numbers.end(), numbers.begin());
}

template <class A>
void expect_a_sequence(testing::Where where) {
  std::vector<int> model{680, 626, 934, 821, 150, 233, 548, 982, 714, 831};
  A numbers(model);
  ASSERT_EQ(numbers.size(), model.size());
  EXPECT_TRUE(std::ranges::equal(numbers, model));
  EXPECT_TRUE(std::ranges::equal(numbers.subspan(2, 5), std::span(model).subspan(2, 5)));

  const std::array<int, 4> four{1, 2, 3, 4};
  std::ranges::copy(four, numbers.subspan(4, 4).begin());
  std::ranges::copy(four, model.begin() + 4);
  numbers[2] = model[2] = -5;
  numbers.at(9) = model.at(9) = 77;
  EXPECT_TRUE(std::ranges::equal(numbers, model));

  Worker worker(where, sum_up<A>, numbers);
  worker.start();
  worker.join();
  std::partial_sum(model.begin(), model.end(), model.begin());
  EXPECT_TRUE(std::ranges::equal(numbers, model));
}

// VAL-05
TEST_P(ArrayPlaceTest, ElementsAndSlicesAreChangedByAChild) {
  expect_a_sequence<Array<int>>(GetParam());
}

// VAL-07
TEST_P(ArrayPlaceTest, ElementsWithoutALockAreChangedByAChild) {
  expect_a_sequence<RawArray<int>>(GetParam());
}

void double_all(Value<int> number, Value<double> fraction, Value<std::int64_t> large, Value<Sample> sample,
                Array<double> many, Array<char> text, Value<Text> name) {
  const std::scoped_lock guard(number, many);
  number += number.get();
  fraction += fraction.get();
  large += large.get();
  sample.update([](Sample& it) {
    it.number *= 2;
    it.weight *= 2;
  });
  for (double& one : many) one *= 2;
  std::ranges::copy(std::string("twice") + std::string(text.data(), 2), text.begin());
  name = text_of("doubled");
}

// VAL-11
TEST_P(ArrayPlaceTest, EverythingWithALockIsChangedTogetherByAChild) {
  const RLock lock;
  Value<int> number(7, lock);
  Value<double> fraction(1.0 / 3, lock);
  Value<std::int64_t> large(std::int64_t{1} << 40, lock);
  Value<Sample> sample(Sample{3, 2.5});
  Array<double> many(10);
  std::iota(many.begin(), many.end(), 0.0);
  Array<char> text(20);
  std::ranges::copy(std::string("hello"), text.begin());
  Value<Text> name(text_of("single"));
  Worker worker(GetParam(), double_all, number, fraction, large, sample, many, text, name);
  worker.start();
  worker.join();
  EXPECT_EQ(number.get(), 14);
  EXPECT_EQ(fraction.get(), 2.0 / 3);
  EXPECT_EQ(large.get(), std::int64_t{1} << 41);
  EXPECT_EQ(sample.get(), (Sample{6, 5}));
  for (std::size_t i = 0; i < many.size(); ++i) EXPECT_EQ(many[i], 2.0 * static_cast<double>(i));
  EXPECT_STREQ(text.data(), "twicehe");
  EXPECT_STREQ(name.get().data(), "doubled");
}

void double_all_raw(RawValue<int> number, RawValue<double> fraction, RawValue<std::int64_t> large,
                    RawValue<Sample> sample, RawArray<double> many, RawArray<char> text, RawValue<Text> name) {
  number += number.get();
  fraction += fraction.get();
  large += large.get();
  sample = Sample{sample.get().number * 2, sample.get().weight * 2};
  for (double& one : many) one *= 2;
  std::ranges::copy(std::string("twice") + std::string(text.data(), 2), text.begin());
  name = text_of("doubled");
}

// VAL-10
TEST_P(ArrayPlaceTest, EverythingWithoutALockIsChangedTogetherByAChild) {
  RawValue<int> number(7);
  RawValue<double> fraction(1.0 / 3);
  RawValue<std::int64_t> large(std::int64_t{1} << 40);
  RawValue<Sample> sample(Sample{3, 2.5});
  RawArray<double> many(10);
  std::iota(many.begin(), many.end(), 0.0);
  RawArray<char> text(20);
  std::ranges::copy(std::string("hello"), text.begin());
  RawValue<Text> name(text_of("single"));
  Worker worker(GetParam(), double_all_raw, number, fraction, large, sample, many, text, name);
  worker.start();
  worker.join();
  EXPECT_EQ(number.get(), 14);
  EXPECT_EQ(fraction.get(), 2.0 / 3);
  EXPECT_EQ(large.get(), std::int64_t{1} << 41);
  EXPECT_EQ(sample.get(), (Sample{6, 5}));
  for (std::size_t i = 0; i < many.size(); ++i) EXPECT_EQ(many[i], 2.0 * static_cast<double>(i));
  EXPECT_STREQ(text.data(), "twicehe");
  EXPECT_STREQ(name.get().data(), "doubled");
}

constexpr int kRounds = testing::kSanitized ? 300 : 3'000;

void count_in_turn(Array<int> counts, RawArray<std::int64_t> atomics) {
  for (int round = 0; round < kRounds; ++round) {
    {
      const std::scoped_lock guard(counts);
      for (int& count : counts) ++count;
    }
    std::atomic_ref(atomics[0]).fetch_add(1);
  }
}

TEST_P(ArrayPlaceTest, ChangesUnderTheLockAreExact) {
  Array<int> counts(50);
  RawArray<std::int64_t> atomics(1);
  std::vector<Worker> workers;
  for (int i = 0; i < 4; ++i) workers.emplace_back(GetParam(), count_in_turn, counts, atomics);
  for (Worker& worker : workers) worker.start();
  for (Worker& worker : workers) worker.join();
  for (const int count : counts) EXPECT_EQ(count, 4 * kRounds);
  EXPECT_EQ(atomics[0], 4 * kRounds);
}

TANDEM_TEST_EVERYWHERE(ArrayPlaceTest);

// VAL-06
TEST_F(ArrayTest, AnArrayMadeBySizeIsZeroAlsoInUsedMemory) {
  for (const std::size_t size : {10, 1'000, 100'000}) {
    const int* used = nullptr;
    {
      const RawArray<int> dirty(size);
      std::ranges::fill(dirty, -1);
      used = dirty.data();
    }
    // Until one of them is where the first was: then the memory was used before.
    std::vector<RawArray<int>> fresh;
    const auto reused = [&](const RawArray<int>& array) { return array.begin() <= used && used < array.end(); };
    do {
      fresh.emplace_back(size);
      ASSERT_EQ(fresh.back().size(), size);
      ASSERT_TRUE(std::ranges::all_of(fresh.back(), [](int element) { return element == 0; }));
    } while (!reused(fresh.back()) && fresh.size() < 1'000);
    EXPECT_TRUE(reused(fresh.back())) << "the memory of " << size << " elements was not used again";
  }
}

template <class A>
concept HasLock = requires(A array) {
  array.get_lock();
  array.lock();
};

// VAL-08
TEST_F(ArrayTest, ItsLockIsTheOneGivenOrOneOfItsOwn) {
  Array<int> own(5), other(5);
  EXPECT_EQ(own.get_lock(), own.get_lock());
  EXPECT_FALSE(own.get_lock() == other.get_lock());
  const Lock lock;
  const RLock rlock;
  EXPECT_EQ(Array<int>(5, lock).get_lock(), lock);
  EXPECT_EQ(Array<int>({1, 2}, rlock).get_lock(), rlock);
  EXPECT_EQ(Array<int>(std::vector{1, 2}, own.get_lock()).get_lock(), own.get_lock());
  static_assert(HasLock<Array<int>> && !HasLock<RawArray<int>>);
  static_assert(!std::is_constructible_v<Array<int>, int, std::mutex&>);
  RLock gone;
  const RLock moved = std::move(gone);
  EXPECT_THROW(Array<int>(5, gone), StaleHandle);
}

void lock_it(Array<int> array, Event trying) {
  trying.set();
  const std::scoped_lock guard(array);
  array[0] += 1;
}

TEST_F(ArrayTest, ItIsAStandardLockable) {
  Array<int> array(1, Lock());
  Event trying;
  Worker worker(testing::Where::ForkServer, lock_it, array, trying);
  {
    std::unique_lock guard(array);
    worker.start();
    trying.wait();
    EXPECT_TRUE(array.locked());
    EXPECT_FALSE(worker.join_for(20ms));
    EXPECT_EQ(array[0], 0);
  }
  worker.join();
  EXPECT_TRUE(array.try_lock());
  EXPECT_EQ(array[0], 1);
  array.unlock();
}

template <class T>
concept ArrayOf = requires { typename Array<T>; } && requires { typename RawArray<T>; };

// VAL-09
TEST_F(ArrayTest, TypesThatMemoryCannotHoldAreRefusedByTheCompiler) {
  static_assert(ArrayOf<int> && ArrayOf<Sample> && ArrayOf<Text>);
  static_assert(!ArrayOf<int*> && !ArrayOf<std::string> && !ArrayOf<std::vector<int>> && !ArrayOf<const int> &&
                !ArrayOf<Lock> && !ArrayOf<Array<int>>);
}

TEST_F(ArrayTest, ItIsARangeAndASpan) {
  using Numbers = Array<int>;
  static_assert(std::ranges::contiguous_range<Numbers> && std::ranges::sized_range<Numbers>);
  static_assert(std::ranges::contiguous_range<const RawArray<int>>);
  Numbers numbers{3, 1, 2};
  const std::span<int> span = numbers;
  const std::span<const int> read_only = numbers;
  EXPECT_EQ(span.data(), numbers.data());
  EXPECT_EQ(read_only.size(), 3U);
  std::ranges::sort(numbers);
  EXPECT_EQ(std::vector<int>(numbers.begin(), numbers.end()), (std::vector{1, 2, 3}));
  EXPECT_EQ(numbers.front(), 1);
  EXPECT_EQ(numbers.back(), 3);
  EXPECT_FALSE(numbers.empty());
}

TEST_F(ArrayTest, ItIsMadeOfAnyRange) {
  EXPECT_TRUE(std::ranges::equal(Array<double>(std::list<int>{1, 2, 3}), std::vector{1.0, 2.0, 3.0}));
  EXPECT_TRUE(std::ranges::equal(Array<int>(std::views::iota(0, 4)), std::vector{0, 1, 2, 3}));
  EXPECT_TRUE(std::ranges::equal(RawArray<bool>(std::vector<bool>{true, false}), std::array{true, false}));
  Array text(std::string("text"));
  static_assert(std::same_as<decltype(text), Array<char>>);
  EXPECT_EQ(std::string(text.begin(), text.end()), "text");
  const Array<char> copy(text.span());
  text[0] = 'n';
  EXPECT_EQ(copy[0], 't');
  const Array<char> same = text;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_EQ(same[0], 'n');
  EXPECT_EQ(same, text);
  EXPECT_FALSE(copy == text);
}

TEST_F(ArrayTest, OutsideOfTheBoundsIsAnErrorThatSaysWhere) {
  Array<int> numbers(10);
  try {
    static_cast<void>(numbers.at(10));
    FAIL();
  } catch (const std::out_of_range& error) {
    EXPECT_STREQ(error.what(), "no element 10 in an array of 10");
  }
  EXPECT_THROW(static_cast<void>(numbers.subspan(8, 3)), std::out_of_range);
  EXPECT_THROW(static_cast<void>(numbers.subspan(11, 0)), std::out_of_range);
  EXPECT_EQ(numbers.subspan(10, 0).size(), 0U);
  const Array<int> none(0);
  EXPECT_TRUE(none.empty());
  EXPECT_THROW(static_cast<void>(none.front()), std::out_of_range);
  EXPECT_THROW(static_cast<void>(none.back()), std::out_of_range);
}

TEST_F(ArrayTest, ANegativeSizeIsRefused) {
  EXPECT_THROW(Array<int>(static_cast<std::size_t>(-1)), std::invalid_argument);
  EXPECT_THROW(RawArray<Sample>(std::numeric_limits<std::size_t>::max() / 2), std::invalid_argument);
  EXPECT_THROW(RawArray<char>(std::size_t{1} << 50), std::system_error);
}

TEST_F(ArrayTest, StricterAlignmentIsKept) {
  for (const std::size_t size : {1, 2, 3}) {
    const Array<Line> lines(size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(lines.data()) % 64, 0U);
    EXPECT_EQ(lines.back().word, 0U);
  }
}

TEST_F(ArrayTest, AnArrayTravelsInAQueueWithItsLock) {
  Queue<Array<int>> queue;
  queue.put(Array<int>({1, 2, 3}, Lock()));
  Array<int> array = queue.get();
  const std::scoped_lock guard(array);
  EXPECT_EQ(array.at(2), 3);
}

}  // namespace
}  // namespace tandem
