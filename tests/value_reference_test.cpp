// The code of docs/reference/value.md and array.md, in their order.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <numeric>
#include <span>

#include <tandem/array.hpp>
#include <tandem/process.hpp>
#include <tandem/raw_value.hpp>
#include <tandem/value.hpp>

#include "support/leak_checked_test.hpp"

namespace {

class ValueReferenceTest : public tandem::testing::LeakCheckedTest {};

void serve(tandem::Value<int> hits) {
  for (int i = 0; i < 1000; ++i) hits += 1;
}

TEST_F(ValueReferenceTest, ACounter) {
  tandem::Value<int> hits;
  tandem::Process a(serve, hits), b(serve, hits);
  a.start();
  b.start();
  a.join();
  b.join();
  EXPECT_EQ(hits, 2000);
}

struct Position {
  double x, y;
};

TEST_F(ValueReferenceTest, AStruct) {
  tandem::Value<Position> where(Position{1, 2});
  where.update([](Position& position) { position.x += 10; });
  const Position copy = where.get();  // later changes do not reach it
  EXPECT_EQ(copy.x, 11);
}

TEST_F(ValueReferenceTest, TwoUnderOneLock) {
  tandem::Value<int> from(100), to(0, from.get_lock());
  {
    std::scoped_lock guard(from);  // the lock of both
    from -= 30;
    to += 30;
  }
  EXPECT_EQ(from.get() + to.get(), 100);
}

TEST_F(ValueReferenceTest, WithoutALock) {
  tandem::RawValue<std::int64_t> bytes_done;
  bytes_done += 4096;  // one instruction
  EXPECT_EQ(bytes_done, 4096);
}

void fill(tandem::Array<double> samples) {
  std::scoped_lock guard(samples);
  std::iota(samples.begin(), samples.end(), 0.0);
}

TEST_F(ValueReferenceTest, AnArray) {
  tandem::Array<double> samples(1000);  // zeros
  tandem::Process p(fill, samples);
  p.start();
  p.join();
  EXPECT_EQ(samples[999], 999.0);
}

TEST_F(ValueReferenceTest, ASlice) {
  tandem::RawArray<int> numbers{1, 2, 3, 4, 5, 6};
  std::span<int> middle = numbers.subspan(2, 2);
  std::ranges::copy(std::array{30, 40}, middle.begin());
  EXPECT_EQ(numbers[3], 40);
}

TEST_F(ValueReferenceTest, OneElementAtOnce) {
  tandem::RawArray<int> counts(256);
  std::atomic_ref(counts[65]).fetch_add(1);
  EXPECT_EQ(counts[65], 1);
}

}  // namespace
