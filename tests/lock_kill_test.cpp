// A process is killed at each point inside each member of Lock and RLock, or with the lock in hand; the next owner gets
// it and is told as was chosen.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include <tandem/arena.hpp>
#include <tandem/event.hpp>
#include <tandem/lock.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>
#include <tandem/rlock.hpp>

#include "core/kill_point.hpp"
#include "support/kill_points.hpp"
#include "support/process_fixture.hpp"
#include "support/thread_fixture.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::for_each_kill_point;
using testing::Where;

constexpr auto kSoon = 10s;  // Far longer than a death needs to be noticed.

template <class L>
void take_and_wait(L lock, int times, Event taken) {
  for (int i = 0; i < times; ++i) lock.acquire();
  taken.set();
  testing::wait_for_ever();
}

/// Has a process take the lock and kills it.
template <class L>
void abandon(Where where, L lock, int times = 1) {
  Event taken;
  Process process = testing::process_in(where, &take_and_wait<L>, lock, times, taken);
  process.start();
  taken.wait();
  process.kill();
  process.join();
}

class AbandonedLockTest : public testing::ProcessesTest {};
TANDEM_TEST_IN_PROCESSES(AbandonedLockTest);

template <class L>
void check_throws(Where where) {
  L lock;
  abandon(where, lock);
  EXPECT_THROW(static_cast<void>(lock.acquire()), OwnerDied);
  EXPECT_THROW(static_cast<void>(lock.acquire_for(1h)), OwnerDied);
  EXPECT_THROW(lock.lock(), OwnerDied);
  EXPECT_THROW(std::scoped_lock guard(lock), OwnerDied);
  EXPECT_FALSE(lock.locked());
  EXPECT_TRUE(lock.owner_died());
  EXPECT_NE(lock.to_string().find("abandoned"), std::string::npos) << lock.to_string();

  EXPECT_TRUE(lock.recover().owner_died());
  lock.release();  // Not mended: the next one must hear of it too.
  EXPECT_THROW(static_cast<void>(lock.acquire()), OwnerDied);
  EXPECT_TRUE(lock.recover().owner_died());
  lock.repaired();
  lock.release();
  EXPECT_FALSE(lock.owner_died());
  EXPECT_FALSE(lock.acquire().owner_died());
  lock.release();
}

TEST_P(AbandonedLockTest, ThrowsUntilSomebodyHasMendedWhatItGuards) {
  check_throws<Lock>(GetParam());
  check_throws<RLock>(GetParam());
}

template <class L>
void check_tells(Where where) {
  L lock(OnOwnerDeath::Tell);
  abandon(where, lock, 1);
  Acquired acquired = lock.acquire();
  EXPECT_TRUE(acquired);
  EXPECT_TRUE(acquired.owner_died());
  lock.release();
  lock.lock();
  EXPECT_TRUE(lock.owner_died());
  lock.repaired();
  EXPECT_FALSE(lock.owner_died());
  lock.unlock();
  EXPECT_FALSE(lock.acquire().owner_died());
  lock.release();
}

TEST_P(AbandonedLockTest, TellsTheNextOwnersUntilOneHasMended) {
  check_tells<Lock>(GetParam());
  check_tells<RLock>(GetParam());
}

template <class L>
void check_breaks(Where where) {
  L lock(OnOwnerDeath::Break);
  abandon(where, lock);
  for (int times = 0; times < 2; ++times) {
    EXPECT_THROW(static_cast<void>(lock.acquire()), OwnerDied);
    EXPECT_THROW(static_cast<void>(lock.recover()), OwnerDied);
    EXPECT_THROW(static_cast<void>(lock.acquire_for(1h)), OwnerDied);
  }
  EXPECT_FALSE(lock.locked());
  EXPECT_TRUE(lock.owner_died());
  EXPECT_NE(lock.to_string().find("broken"), std::string::npos) << lock.to_string();
}

TEST_P(AbandonedLockTest, IsNeverHadAgainIfThatWasChosen) {
  check_breaks<Lock>(GetParam());
  check_breaks<RLock>(GetParam());
}

TEST_P(AbandonedLockTest, IsNoticedByWhoOnlyTries) {
  Lock lock(OnOwnerDeath::Tell);
  abandon(GetParam(), lock);
  while (!lock.try_acquire()) std::this_thread::yield();
  EXPECT_TRUE(lock.owner_died());
}

TEST_P(AbandonedLockTest, OfARecursiveLockIsHadOnce) {
  RLock lock(OnOwnerDeath::Tell);
  abandon(GetParam(), lock, 3);
  EXPECT_TRUE(lock.acquire().owner_died());
  EXPECT_EQ(lock.recursion_count(), 1U);
  lock.release();
  EXPECT_FALSE(lock.locked());
}

void take_and_answer(Lock lock, Queue<bool> answers) {
  answers.put(lock.acquire().owner_died());
  lock.release();
}

TEST_P(AbandonedLockTest, IsHadByEachOfThoseWhoWaited) {
  Lock lock(OnOwnerDeath::Tell);
  Event taken;
  Queue<bool> answers;
  Process owner = testing::process_in(GetParam(), &take_and_wait<Lock>, lock, 1, taken);
  owner.start();
  taken.wait();
  std::vector<Process> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(testing::process_in(GetParam(), take_and_answer, lock, answers));
  for (Process& process : waiting) process.start();
  EXPECT_EQ(answers.get_for(50ms), std::nullopt);
  owner.kill();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(answers.get_for(kSoon), true);
  for (Process& process : waiting) process.join();
  owner.join();
}

class LockKillTest : public testing::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
    testing::LeakCheckedTest::SetUp();
  }
  std::chrono::seconds time_limit() const override { return 180s; }
};

// Whoever dies where: the next one has the lock soon, and can release it.
template <class L>
void check_next_owner(L lock) {
  const Acquired acquired = lock.acquire_for(kSoon);
  ASSERT_TRUE(acquired);
  lock.repaired();
  lock.release();
  EXPECT_TRUE(lock.try_acquire());
  lock.release();
}

template <class L>
void check_uncontended(std::size_t at_least) {
  const std::size_t before = arena_usage().in_use_bytes;
  {
    L lock(OnOwnerDeath::Tell);
    lock.acquire();  // So that the child goes the way of those who wait, and comes too late.
    const auto points = for_each_kill_point([&] { static_cast<void>(lock.acquire_for(1ms)); },
                                            [&](const std::string&) {
                                              lock.release();
                                              check_next_owner(lock);
                                              lock.acquire();
                                            });
    EXPECT_GE(points.size(), at_least);
  }
  EXPECT_EQ(arena_usage().in_use_bytes, before);
}

TEST_F(LockKillTest, AWaiterKilledAnywhereBlocksNobody) {
  check_uncontended<Lock>(2);
  check_uncontended<RLock>(2);
}

// The child waits for an abandoned lock, takes it and releases it with somebody asleep behind it.
template <class L>
void check_taking_over(std::size_t at_least) {
  std::optional<L> lock;
  const auto make = [&] {
    lock.emplace(OnOwnerDeath::Tell);
    const pid_t pid = testing::fork_child([&] {
      lock->acquire();
      return 0;  // Ends by _exit() with the lock.
    });
    EXPECT_EQ(testing::exit_code_of(pid), 0);
  };
  make();
  const auto points = for_each_kill_point(
      [&] {
        static_cast<void>(lock->acquire());
        lock->release();
      },
      [&](const std::string&) {
        std::thread other([&] { check_next_owner(*lock); });
        other.join();
        make();
      });
  EXPECT_GE(points.size(), at_least);
}

TEST_F(LockKillTest, WhoTakesAnAbandonedLockMayBeKilledAnywhere) {
  check_taking_over<Lock>(2);
  check_taking_over<RLock>(2);
}

TEST_F(LockKillTest, AWakeUpThatDiesWithTheWokenIsMadeGood) {
  Lock lock(OnOwnerDeath::Tell);
  lock.acquire();
  Event begun;
  Process first(tandem::fork, [&] {
    testing::die_at_kill_point("lock.woken");
    begun.set();
    lock.acquire();
  });
  first.start();
  begun.wait();
  Queue<bool> answers;
  Process second(take_and_answer, lock, answers);
  second.start();
  EXPECT_EQ(answers.get_for(50ms), std::nullopt);
  lock.release();
  EXPECT_TRUE(answers.get_for(kSoon).has_value());
  second.join();
  first.join();
  EXPECT_EQ(first.exitcode(), -SIGKILL);
}

// A thread that ends with an RLock cannot release it any more, nor can another.
TEST_F(LockKillTest, ARecursiveLockIsAbandonedByAThreadThatEnds) {
  RLock lock(OnOwnerDeath::Tell);
  Lock plain;
  std::thread([&] {
    lock.acquire();
    plain.acquire();
  }).join();
  EXPECT_TRUE(lock.acquire_for(kSoon).owner_died());
  lock.release();
  EXPECT_FALSE(plain.acquire_for(150ms)) << "a plain lock may be released by another thread";
  plain.release();
}

// LCK-15
TEST_F(LockKillTest, IsStillItsOwnersInAForkedProcess) {
  Lock lock;
  RLock rlock;
  lock.acquire();
  rlock.acquire();
  Event looked;
  const pid_t pid = testing::fork_child([&] {
    if (lock.owned() || rlock.owned() || rlock.recursion_count() != 0) return 1;
    if (lock.try_acquire() || rlock.try_acquire()) return 2;
    try {
      rlock.release();
      return 3;
    } catch (const NotOwner&) {
    }
    looked.set();
    lock.acquire();  // Until the parent releases it.
    lock.release();
    rlock.acquire();
    rlock.release();
    return 0;
  });
  EXPECT_TRUE(looked.wait_for(kSoon)) << "the child found something else";
  lock.release();
  rlock.release();
  EXPECT_EQ(testing::exit_code_of(pid), 0);
  EXPECT_TRUE(lock.try_acquire());
  EXPECT_TRUE(rlock.try_acquire());
}

}  // namespace
}  // namespace tandem
