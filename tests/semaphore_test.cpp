// Semaphore and BoundedSemaphore between two sides, the second of which is a thread or a process.
#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/error.hpp>
#include <tandem/event.hpp>
#include <tandem/lock.hpp>
#include <tandem/queue.hpp>
#include <tandem/semaphore.hpp>

#include "support/where.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Worker;
using Clock = std::chrono::steady_clock;

class SemaphoreTest : public testing::EverywhereTest {};
TANDEM_TEST_EVERYWHERE(SemaphoreTest);

// What every kind of semaphore must do, under both choices of what becomes of the units of the dead.
template <class Check>
void with_every_kind(std::int64_t value, Check check) {
  for (const UnitsOfTheDead choice : {UnitsOfTheDead::ComeBack, UnitsOfTheDead::StayOut}) {
    check(Semaphore(value, choice));
    check(BoundedSemaphore(value, choice));
  }
}

// SEM-01
TEST_P(SemaphoreTest, RefusesToBeginWithAnImpossibleNumber) {
  EXPECT_THROW(Semaphore(-1), std::invalid_argument);
  EXPECT_THROW(BoundedSemaphore(-1), std::invalid_argument);
  EXPECT_THROW(Semaphore(std::int64_t{1} << 31), std::invalid_argument);
  EXPECT_THROW(Semaphore(1, static_cast<UnitsOfTheDead>(9)), std::invalid_argument);
  EXPECT_EQ(Semaphore(static_cast<std::int64_t>(Semaphore::kMax)).value(), Semaphore::kMax);
  EXPECT_EQ(Semaphore().value(), 1U);
  EXPECT_EQ(Semaphore(0).value(), 0U);
}

template <class S>
void take_one(S semaphore, Queue<bool> got) {
  got.put(semaphore.try_acquire());
}

template <class S>
void give_back(S semaphore, std::size_t units) {
  semaphore.release(units);
}

// SEM-02, SEM-06, SEM-16, SEM-17
TEST_P(SemaphoreTest, CountsDownAndUp) {
  with_every_kind(2, [&](auto semaphore) {
    using S = decltype(semaphore);
    EXPECT_EQ(semaphore.value(), 2U);
    semaphore.acquire();
    EXPECT_EQ(semaphore.value(), 1U);
    EXPECT_TRUE(semaphore.try_acquire());
    EXPECT_EQ(semaphore.value(), 0U);
    EXPECT_FALSE(semaphore.try_acquire());
    Queue<bool> got;
    Worker other(GetParam(), &take_one<S>, semaphore, got);
    other.start();
    other.join();
    EXPECT_FALSE(got.get());
    semaphore.release();
    EXPECT_EQ(semaphore.value(), 1U);
    semaphore.release();
    EXPECT_EQ(semaphore.value(), 2U);
  });
}

// SEM-03
TEST_P(SemaphoreTest, MayBeDroppedBelowItsFirstValue) {
  const std::size_t before = arena_usage().in_use_bytes;
  with_every_kind(3, [&](auto semaphore) {
    semaphore.acquire();
    semaphore.acquire();
  });
  EXPECT_EQ(arena_usage().in_use_bytes, before);
}

template <class S>
void pass(S semaphore, Queue<int> passed, Event leave) {
  semaphore.acquire();
  passed.put(1);
  leave.wait();
}

void expect_passed(Queue<int>& passed, int count) {
  for (int i = 0; i < count; ++i) EXPECT_EQ(passed.get(), 1);
  EXPECT_EQ(passed.get_for(40ms), std::nullopt);
}

// SEM-04, SEM-05
TEST_P(SemaphoreTest, LetsAsManyPassAsThereAreUnits) {
  Semaphore semaphore(7, UnitsOfTheDead::StayOut);
  Queue<int> passed;
  Event leave;
  std::vector<Worker> workers;
  for (int i = 0; i < 10; ++i) workers.emplace_back(GetParam(), &pass<Semaphore>, semaphore, passed, leave);
  for (Worker& worker : workers) worker.start();
  expect_passed(passed, 7);
  EXPECT_EQ(semaphore.value(), 0U);
  semaphore.release();
  expect_passed(passed, 1);
  semaphore.release(2);
  expect_passed(passed, 2);
  EXPECT_EQ(semaphore.value(), 0U);
  leave.set();
  for (Worker& worker : workers) worker.join();
}

template <class S>
void take_all(S semaphore, Queue<int> taken, Event leave) {
  int count = 0;
  while (semaphore.try_acquire()) ++count;
  taken.put(count);
  leave.wait();  // With what it has, which nobody else may get before all have counted.
}

// SEM-07
TEST_P(SemaphoreTest, GrantsEachUnitOnce) {
  with_every_kind(5000, [&](auto semaphore) {
    using S = decltype(semaphore);
    Queue<int> taken;
    Event leave;
    std::vector<Worker> workers;
    for (int i = 0; i < 3; ++i) workers.emplace_back(GetParam(), &take_all<S>, semaphore, taken, leave);
    for (Worker& worker : workers) worker.start();
    int sum = 0;
    for (int i = 0; i < 3; ++i) sum += taken.get();
    EXPECT_EQ(sum, 5000);
    leave.set();
    for (Worker& worker : workers) worker.join();
  });
}

template <class S>
void take_and_give(S semaphore, int times) {
  for (int i = 0; i < times; ++i) {
    semaphore.acquire();
    semaphore.release();
  }
}

TEST_P(SemaphoreTest, CountsExactlyWhateverProcessesChangeItByTurns) {
  with_every_kind(2, [&](auto semaphore) {
    using S = decltype(semaphore);
    std::vector<Worker> workers;
    for (int i = 0; i < 3; ++i) workers.emplace_back(GetParam(), &take_and_give<S>, semaphore, 2000);
    for (Worker& worker : workers) worker.start();
    take_and_give(semaphore, 2000);
    for (Worker& worker : workers) worker.join();
    EXPECT_EQ(semaphore.value(), 2U);
  });
}

// SEM-08, SEM-18
TEST_P(SemaphoreTest, GivesUpInTime) {
  with_every_kind(1, [&](auto semaphore) {
    using S = decltype(semaphore);
    EXPECT_THROW(static_cast<void>(semaphore.acquire_for(-1ms)), std::invalid_argument);
    EXPECT_TRUE(semaphore.acquire_for(1h));
    EXPECT_FALSE(semaphore.acquire_for(0s));
    const auto before = Clock::now();
    EXPECT_FALSE(semaphore.acquire_for(120ms));
    EXPECT_GE(Clock::now() - before, 120ms);
    EXPECT_FALSE(semaphore.try_acquire_for(-1h));
    EXPECT_FALSE(semaphore.try_acquire_until(Clock::now() - 1h));
    EXPECT_FALSE(semaphore.try_acquire_until(Clock::time_point::min()));
    EXPECT_FALSE(std::unique_lock(semaphore, 1ms).owns_lock());
    Worker other(GetParam(), &give_back<S>, semaphore, std::size_t{1});
    other.start();
    EXPECT_TRUE(semaphore.try_acquire_for(1h));
    other.join();
  });
}

// SEM-10
TEST_P(SemaphoreTest, IsHeldByGuardsThatNest) {
  with_every_kind(2, [&](auto semaphore) {
    try {
      const std::unique_lock outer(semaphore);
      EXPECT_EQ(semaphore.value(), 1U);
      {
        const std::scoped_lock inner(semaphore);
        EXPECT_EQ(semaphore.value(), 0U);
        EXPECT_FALSE(std::unique_lock(semaphore, std::try_to_lock).owns_lock());
      }
      EXPECT_EQ(semaphore.value(), 1U);
      throw std::out_of_range("leaves the scope");
    } catch (const std::out_of_range&) {
    }
    EXPECT_EQ(semaphore.value(), 2U);
  });
}

// SEM-11, SEM-12
TEST_P(SemaphoreTest, UnboundedGrowsBeyondItsFirstValue) {
  Semaphore semaphore(1);
  semaphore.release();
  semaphore.release(3);
  EXPECT_EQ(semaphore.value(), 5U);
  EXPECT_EQ(semaphore.to_string(), "<Semaphore(value=5)>");
  Worker other(GetParam(), &give_back<Semaphore>, semaphore, std::size_t{2});
  other.start();
  other.join();
  EXPECT_EQ(semaphore.value(), 7U);
  EXPECT_THROW(semaphore.release(0), std::invalid_argument);
  EXPECT_THROW(semaphore.release(Semaphore::kMax), OverRelease);
  EXPECT_EQ(semaphore.value(), 7U);
}

// SEM-13, SEM-14
TEST_P(SemaphoreTest, BoundedRefusesMoreThanItsFirstValue) {
  BoundedSemaphore semaphore(2);
  EXPECT_EQ(semaphore.bound(), 2U);
  EXPECT_THROW(semaphore.release(), OverRelease);
  semaphore.acquire();
  EXPECT_EQ(semaphore.to_string(), "<BoundedSemaphore(value=1/2)>");
  EXPECT_THROW(semaphore.release(2), OverRelease);
  EXPECT_EQ(semaphore.value(), 1U);
  Worker other(GetParam(), &give_back<BoundedSemaphore>, semaphore, std::size_t{1});
  other.start();
  other.join();
  EXPECT_THROW(semaphore.release(), OverRelease);
}

void use(BoundedSemaphore semaphore, Lock lock, Queue<int> inside, std::size_t limit, Queue<bool> kept) {
  bool within = true;
  for (int i = 0; i < 50; ++i) {
    const std::scoped_lock unit(semaphore);
    {
      const std::scoped_lock guard(lock);
      const int now = inside.get() + 1;
      within = within && static_cast<std::size_t>(now) <= limit;
      inside.put(now);
    }
    std::this_thread::yield();
    const std::scoped_lock guard(lock);
    inside.put(inside.get() - 1);
  }
  kept.put(within);
}

// SEM-15
TEST_P(SemaphoreTest, NeverHasMoreInsideThanItsBound) {
  for (const std::int64_t limit : {1, 2, 3}) {
    BoundedSemaphore semaphore(limit);
    Lock lock;
    Queue<int> inside;
    inside.put(0);
    Queue<bool> kept;
    std::vector<Worker> workers;
    for (int i = 0; i < 4; ++i)
      workers.emplace_back(GetParam(), use, semaphore, lock, inside, static_cast<std::size_t>(limit), kept);
    for (Worker& worker : workers) worker.start();
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(kept.get());
    for (Worker& worker : workers) worker.join();
    EXPECT_EQ(semaphore.value(), static_cast<std::size_t>(limit));
  }
}

TEST_P(SemaphoreTest, IsOneThingForAllCopies) {
  Semaphore semaphore(1);
  const Semaphore copy = semaphore;
  EXPECT_EQ(copy, semaphore);
  EXPECT_FALSE(copy == Semaphore());
  Semaphore moved = std::move(semaphore);
  EXPECT_THROW(semaphore.acquire(), StaleHandle);  // NOLINT(bugprone-use-after-move): what is tested.
  EXPECT_EQ(moved.value(), 1U);
}

}  // namespace
}  // namespace tandem
