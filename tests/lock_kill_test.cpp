// A process is killed at each point inside each member of Lock and RLock, or with the lock in hand; the next owner gets
// it and is told as was chosen.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <latch>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/event.hpp>
#include <tandem/lock.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>
#include <tandem/rlock.hpp>

#include "core/kill_point.hpp"
#include "support/asleep.hpp"
#include "support/kill_points.hpp"
#include "support/process_fixture.hpp"
#include "support/thread_fixture.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::for_each_kill_point;
using testing::Where;

constexpr auto kSoon = 60s;  // Far longer than a death needs to be noticed.

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
  EXPECT_THROW(lock.release(), OwnerDied);
  EXPECT_THROW(lock.repaired(), OwnerDied);
  EXPECT_NO_THROW(lock.unlock());
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

void take_and_answer(Lock lock, Event come, Queue<std::string> answers) {
  come.set();
  try {
    const Acquired acquired = lock.acquire();
    answers.put(acquired.owner_died() ? "told" : "whole");
    lock.release();
  } catch (const OwnerDied&) {
    answers.put("thrown");
  }
}

TEST_P(AbandonedLockTest, IsHeardOfByEachOfThoseWhoSleepForIt) {
  for (const auto& [choice, answer] : {std::pair{OnOwnerDeath::Tell, "told"}, std::pair{OnOwnerDeath::Throw, "thrown"},
                                       std::pair{OnOwnerDeath::Break, "thrown"}}) {
    Lock lock(choice);
    Event taken;
    Queue<std::string> answers;
    Process owner = testing::process_in(GetParam(), &take_and_wait<Lock>, lock, 1, taken);
    owner.start();
    taken.wait();
    std::vector<Event> come(3);
    std::vector<Process> waiting;
    for (const Event& event : come)
      waiting.push_back(testing::process_in(GetParam(), take_and_answer, lock, event, answers));
    for (Process& process : waiting) process.start();
    for (std::size_t i = 0; i < come.size(); ++i) {
      come[i].wait();
      testing::wait_until_asleep(waiting[i].native_id().value());
    }
    EXPECT_TRUE(answers.empty());
    owner.kill();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(answers.get_for(kSoon), answer);
    for (Process& process : waiting) process.join();
    owner.join();
  }
}

TEST_P(AbandonedLockTest, IsSeenByWhoOnlyLooks) {
  Lock lock;
  RLock rlock;
  abandon(GetParam(), lock);
  abandon(GetParam(), rlock);
  while (lock.locked() || rlock.locked()) std::this_thread::yield();
  EXPECT_TRUE(lock.owner_died());
  EXPECT_TRUE(rlock.owner_died());
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
    const auto points = for_each_kill_point([&] { static_cast<void>(lock.acquire_for(testing::kInVain)); },
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

// The child takes an abandoned lock and releases it; a thread sleeps for it all the while.
template <class L>
void check_taking_over() {
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
  EXPECT_GE(points.size(), 2U);
}

TEST_F(LockKillTest, WhoTakesAnAbandonedLockMayBeKilledAnywhere) {
  check_taking_over<Lock>();
  check_taking_over<RLock>();
}

// Killed between the release and the wake-up.
TEST_F(LockKillTest, WhoReleasesToASleeperMayBeKilledBeforeItWakesIt) {
  for (int round = 0; round < 5; ++round) {
    Lock lock;
    lock.acquire();  // Which the child releases: any thread may.
    std::thread sleeper([lock]() mutable {
      EXPECT_TRUE(lock.acquire_for(kSoon));
      lock.release();
    });
    while (lock.to_string().find("somebody sleeps") == std::string::npos) std::this_thread::yield();
    const pid_t pid = testing::fork_child([&] {
      testing::die_at_kill_point("lock.released");
      lock.release();
      return 0;
    });
    EXPECT_EQ(testing::exit_code_of(pid), -SIGKILL);
    sleeper.join();
    EXPECT_FALSE(lock.locked());
  }
}

TEST_F(LockKillTest, AWakeUpThatDiesWithTheWokenIsMadeGood) {
  Lock lock(OnOwnerDeath::Tell);
  lock.acquire();
  Event begun;
  Process first(tandem::fork, [&] {
    begun.set();
    // Dies when it is woken for the lock, or finds that a round of its sleep is over.
    testing::die_at_kill_point("lock.woken");
    lock.acquire();
  });
  first.start();
  begun.wait();
  Queue<std::string> answers;
  Process second(take_and_answer, lock, Event(), answers);
  second.start();
  first.join();
  EXPECT_EQ(first.exitcode(), -SIGKILL);
  lock.release();
  EXPECT_TRUE(answers.get_for(kSoon).has_value());
  second.join();
}

// A thread that ends with an RLock cannot release it any more, nor can another.
TEST_F(LockKillTest, ARecursiveLockIsAbandonedByAThreadThatEnds) {
  RLock lock(OnOwnerDeath::Tell);
  Lock plain;
  std::thread([&] {
    lock.acquire();
    plain.acquire();
  }).join();
  EXPECT_NE(plain.to_string().find("a thread that has ended"), std::string::npos) << plain.to_string();
  // Whatever number the kernel gives to the next threads, none of them is the one that ended.
  for (int i = 0; i < 50; ++i) std::thread([&] { EXPECT_FALSE(lock.owned()); }).join();
  EXPECT_TRUE(lock.acquire_for(kSoon).owner_died());
  EXPECT_EQ(lock.recursion_count(), 1U);
  lock.release();
  EXPECT_FALSE(plain.acquire_for(150ms)) << "a plain lock may be released by another thread";
  plain.release();
}

// The first thread of a process stays in the kernel's list until the last one has ended.
TEST_F(LockKillTest, ARecursiveLockIsAbandonedByAMainThreadThatEnds) {
  const pid_t pid = testing::fork_child([] {
    static RLock lock(OnOwnerDeath::Tell);
    static std::latch taken(1);
    std::thread([] {
      taken.wait();
      ::_exit(lock.acquire_for(kSoon).owner_died() ? 0 : 1);
    }).detach();
    lock.acquire();
    taken.count_down();
    ::syscall(SYS_exit, 0);  // Of this thread; pthread_exit() would unwind the test.
    return 2;
  });
  EXPECT_EQ(testing::exit_code_of(pid), 0);
}

// A parent that has no descriptor left learns of its child's death all the same.
TEST_F(LockKillTest, IsNoticedWithoutADescriptorToSpare) {
  const pid_t pid = testing::fork_child([] {
    Lock lock(OnOwnerDeath::Tell);
    const pid_t child = testing::fork_child([&] {
      lock.acquire();
      return 0;
    });
    siginfo_t ended{};
    if (::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT) != 0) return 2;
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return 3;
    return lock.acquire_for(kSoon).owner_died() ? 0 : 1;
  });
  EXPECT_EQ(testing::exit_code_of(pid), 0);
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
