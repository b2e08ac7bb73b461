// Lock and RLock between two sides, the second of which is a thread or a process: what both have in common.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <limits>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/event.hpp>
#include <tandem/lock.hpp>
#include <tandem/queue.hpp>
#include <tandem/raw_value.hpp>
#include <tandem/rlock.hpp>

#include "support/asleep.hpp"
#include "support/where.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Worker;
using Clock = std::chrono::steady_clock;

class LockTest : public testing::EverywhereTest {};
TANDEM_TEST_EVERYWHERE(LockTest);
class RLockTest : public testing::EverywhereTest {};
TANDEM_TEST_EVERYWHERE(RLockTest);

// What every kind of lock must do, with one test for each kind below.
#define TANDEM_TEST_BOTH_LOCKS(name)       \
  template <class L>                       \
  void check_##name(testing::Where where); \
  TEST_P(LockTest, name) {                 \
    check_##name<Lock>(GetParam());        \
  }                                        \
  TEST_P(RLockTest, name) {                \
    check_##name<RLock>(GetParam());       \
  }                                        \
  template <class L>                       \
  void check_##name([[maybe_unused]] testing::Where where)

template <class L>
void hold_until(L lock, Event held, Event release) {
  const std::scoped_lock guard(lock);
  held.set();
  release.wait();
}

/// A worker that holds a lock until it is told to let go. Owner.
template <class L>
class Holder {
 public:
  Holder(testing::Where where, L lock) : worker_(where, &hold_until<L>, lock, held_, release_) {
    worker_.start();
    held_.wait();
  }
  ~Holder() { let_go(); }
  void let_go() {
    release_.set();
    worker_.join();
  }

 private:
  Event held_, release_;
  Worker worker_;
};

template <class L>
void try_it(L lock, Queue<bool> got) {
  const bool taken = static_cast<bool>(lock.try_acquire());
  got.put(taken);
  if (taken) lock.release();
}

template <class L>
bool another_gets(testing::Where where, L lock) {
  Queue<bool> got;
  Worker worker(where, &try_it<L>, lock, got);
  worker.start();
  worker.join();
  return got.get();
}

// LCK-01, LCK-02, LCK-05, LCK-06, LCK-27
TANDEM_TEST_BOTH_LOCKS(IsFreeThenHeldThenFree) {
  L lock;
  EXPECT_FALSE(lock.locked());
  EXPECT_NE(lock.to_string().find("free"), std::string::npos) << lock.to_string();
  EXPECT_TRUE(lock.acquire());
  EXPECT_TRUE(lock.locked());
  EXPECT_TRUE(lock.owned());
  EXPECT_FALSE(another_gets(where, lock));
  lock.release();
  EXPECT_FALSE(lock.locked());
  EXPECT_TRUE(lock.try_acquire());
  lock.release();
  EXPECT_TRUE(another_gets(where, lock));
  EXPECT_THROW(lock.release(), NotOwner);
}

// LCK-04
TANDEM_TEST_BOTH_LOCKS(MayBeDroppedWhileHeld) {
  const std::size_t before = arena_usage().in_use_bytes;
  {
    L lock;
    lock.acquire();
  }
  EXPECT_EQ(arena_usage().in_use_bytes, before);
}

// LCK-07, LCK-20, LCK-28, LCK-31
TANDEM_TEST_BOTH_LOCKS(CannotBeHadWhileAnotherHoldsIt) {
  L lock;
  Holder<L> holder(where, lock);
  EXPECT_TRUE(lock.locked());
  EXPECT_FALSE(lock.owned());
  EXPECT_FALSE(lock.try_acquire());
  EXPECT_FALSE(lock.try_lock());
  const auto before = Clock::now();
  EXPECT_FALSE(lock.acquire_for(150ms));  // More than one round of sleep.
  EXPECT_GE(Clock::now() - before, 150ms);
  EXPECT_FALSE(lock.try_lock_for(1ms));
  EXPECT_FALSE(lock.try_lock_until(Clock::now() + 1ms));
  EXPECT_FALSE(lock.try_lock_until(Clock::now() - 1h));
  EXPECT_FALSE(lock.try_lock_until(Clock::time_point::min()));
  EXPECT_FALSE(lock.recover_for(1ms));
  // LCK-14
  EXPECT_TRUE(lock.locked());
  holder.let_go();
  EXPECT_FALSE(lock.locked());
  EXPECT_TRUE(lock.try_lock_for(1h));
  lock.release();
}

template <class L>
void pass_through(L lock, Queue<int> come, Queue<int> order, int id) {
  come.put(id);
  lock.acquire();
  order.put(id);
  lock.release();
}

// LCK-08
TANDEM_TEST_BOTH_LOCKS(LetsAllThatWaitedPassOneByOne) {
  L lock;
  Queue<int> come, order;
  lock.acquire();
  std::vector<Worker> workers;
  for (int id = 0; id < 5; ++id) workers.emplace_back(where, &pass_through<L>, lock, come, order, id);
  for (Worker& worker : workers) worker.start();
  for (int i = 0; i < 5; ++i) static_cast<void>(come.get());
  for (Worker& worker : workers) testing::wait_until_asleep(worker.native_id());
  EXPECT_TRUE(order.empty());
  lock.release();
  std::vector<bool> passed(5);
  for (int i = 0; i < 5; ++i) passed.at(static_cast<std::size_t>(order.get())) = true;
  EXPECT_EQ(passed, std::vector<bool>(5, true));
  for (Worker& worker : workers) worker.join();
}

// LCK-09, LCK-32, LCK-33
TANDEM_TEST_BOTH_LOCKS(IsReleasedByAGuardAlsoOnAnException) {
  L lock;
  try {
    const std::scoped_lock guard(lock);
    EXPECT_TRUE(lock.locked());
    throw std::out_of_range("leaves the scope");
  } catch (const std::out_of_range&) {
  }
  EXPECT_FALSE(lock.locked());
  {
    const std::unique_lock guard(lock, std::try_to_lock);
    EXPECT_TRUE(guard.owns_lock());
    EXPECT_FALSE(another_gets(where, lock));
  }
  Holder<L> holder(where, lock);
  EXPECT_FALSE(std::unique_lock(lock, std::try_to_lock).owns_lock());
  EXPECT_FALSE(std::unique_lock(lock, 1ms).owns_lock());
}

// LCK-11
TANDEM_TEST_BOTH_LOCKS(RefusesANegativeTimeoutAndTakesTheLargest) {
  L lock;
  EXPECT_THROW(static_cast<void>(lock.acquire_for(-1ms)), std::invalid_argument);
  EXPECT_FALSE(lock.locked());
  EXPECT_TRUE(lock.acquire_for(std::chrono::hours::max()));
  lock.release();
  EXPECT_TRUE(lock.acquire_for(0s));
  lock.release();
  // The standard library's form takes a time that has passed for "do not wait".
  EXPECT_TRUE(lock.try_lock_for(-1h));
  lock.release();
  EXPECT_TRUE(another_gets(where, lock));
  EXPECT_THROW(L(static_cast<OnOwnerDeath>(7)), std::invalid_argument);
}

template <class L>
void count_up(L lock, RawValue<int> number, int times) {
  for (int i = 0; i < times; ++i) {
    const std::scoped_lock guard(lock);
    const int before = number.get();
    if (i % 16 == 0) std::this_thread::yield();  // The others come now, if anything lets them.
    number.set(before + 1);
  }
}

TANDEM_TEST_BOTH_LOCKS(LetsOneInAtATime) {
  L lock;
  RawValue<int> number(0);
  std::vector<Worker> workers;
  for (int i = 0; i < 3; ++i) workers.emplace_back(where, &count_up<L>, lock, number, 3000);
  for (Worker& worker : workers) worker.start();
  count_up(lock, number, 3000);
  for (Worker& worker : workers) worker.join();
  EXPECT_EQ(number.get(), 12000);
}

TANDEM_TEST_BOTH_LOCKS(IsOneThingForAllCopies) {
  L lock;
  const L copy = lock;
  EXPECT_EQ(copy, lock);
  EXPECT_FALSE(copy == L());
  lock.acquire();
  EXPECT_TRUE(copy.locked());
  lock.release();
  L moved = std::move(lock);
  EXPECT_THROW(lock.acquire(), StaleHandle);  // NOLINT(bugprone-use-after-move): what is tested.
  EXPECT_TRUE(another_gets(where, moved));
}

// LCK-10
TANDEM_TEST_BOTH_LOCKS(LeavesNothingOfForeignThreads) {
  L lock;
  std::vector<std::thread> threads;
  for (int i = 0; i < 15; ++i)
    threads.emplace_back([&] {
      for (int times = 0; times < 20; ++times) std::scoped_lock guard(lock);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(another_gets(where, lock));
}

// ---------------------------------------------------------------------------------------------------------------------
// What a plain lock does

void release_it(Lock lock) {
  lock.release();
}

// LCK-12, LCK-13
TEST_P(LockTest, BlocksItsOwnHolderUntilAnotherReleasesIt) {
  Lock lock;
  lock.acquire();
  EXPECT_FALSE(lock.try_acquire());
  Worker worker(GetParam(), release_it, lock);
  worker.start();
  lock.acquire();
  worker.join();
  EXPECT_TRUE(lock.locked());
  lock.release();
}

// LCK-25
TEST_P(LockTest, CannotBeReleasedWhenFree) {
  Lock lock;
  EXPECT_THROW(lock.release(), NotOwner);
  lock.acquire();
  lock.release();
  EXPECT_THROW(lock.release(), NotOwner);
  EXPECT_THROW(lock.repaired(), NotOwner);
}

void send_text(Lock lock, RLock rlock, Event held, Event read) {
  const std::scoped_lock both(lock, rlock);
  rlock.acquire();
  held.set();
  read.wait();
  rlock.release();
}

// LCK-16, LCK-26, LCK-29
TEST_P(LockTest, SaysWhoHoldsIt) {
  Lock lock;
  RLock rlock;
  EXPECT_EQ(lock.to_string(), "<Lock(free)>");
  EXPECT_EQ(rlock.to_string(), "<RLock(free)>");
  const std::string me = std::to_string(::getpid());
  {
    const std::scoped_lock both(lock, rlock);
    EXPECT_EQ(lock.to_string(), "<Lock(held by this thread: process " + me + ", thread " + me + ")>");
    EXPECT_EQ(rlock.to_string(), "<RLock(held 1 times by this thread: process " + me + ", thread " + me + ")>");
    std::thread([&] {
      EXPECT_EQ(lock.to_string(), "<Lock(held by this process " + me + ", thread " + me + ")>");
    }).join();
  }
  Event held, read;
  Worker worker(GetParam(), send_text, lock, rlock, held, read);
  worker.start();
  held.wait();
  const bool is_thread = GetParam() == testing::Where::Thread;
  const std::string pid = is_thread ? me : std::to_string(worker.process()->pid().value());
  const std::string who = std::string(is_thread ? "this " : "") + "process " + pid + ", thread ";
  EXPECT_EQ(lock.to_string().find("<Lock(held by " + who), 0U) << lock.to_string();
  EXPECT_EQ(rlock.to_string().find("<RLock(held 2 times by " + who), 0U) << rlock.to_string();
  read.set();
  worker.join();
}

// ---------------------------------------------------------------------------------------------------------------------
// What a recursive lock does

// LCK-17, LCK-19, LCK-22, LCK-24
TEST_P(RLockTest, IsAcquiredAgainByItsOwner) {
  RLock lock;
  EXPECT_EQ(lock.recursion_count(), 0U);
  lock.acquire();
  EXPECT_TRUE(lock.try_acquire());
  EXPECT_TRUE(lock.acquire_for(0s));
  EXPECT_EQ(lock.recursion_count(), 3U);
  EXPECT_TRUE(lock.owned());
  std::thread([&] {
    EXPECT_EQ(lock.recursion_count(), 0U);
    EXPECT_FALSE(lock.owned());
  }).join();
  lock.release();
  lock.release();
  EXPECT_TRUE(lock.locked());
  EXPECT_FALSE(another_gets(GetParam(), lock));
  lock.release();
  EXPECT_FALSE(lock.locked());
  EXPECT_TRUE(another_gets(GetParam(), lock));
}

void release_of_another(RLock lock, Queue<bool> refused) {
  bool was_refused = false;
  try {
    lock.release();
  } catch (const NotOwner&) {
    was_refused = true;
  }
  refused.put(was_refused);
}

// LCK-18, LCK-23
TEST_P(RLockTest, IsReleasedByItsOwnerOnly) {
  RLock lock;
  EXPECT_THROW(lock.release(), NotOwner);
  lock.acquire();
  Queue<bool> refused;
  Worker worker(GetParam(), release_of_another, lock, refused);
  worker.start();
  worker.join();
  EXPECT_TRUE(refused.get());
  EXPECT_TRUE(lock.locked());
  lock.release();
  EXPECT_THROW(lock.release(), NotOwner);
}

}  // namespace
}  // namespace tandem
