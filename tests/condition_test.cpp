// Condition between threads and processes: who is notified, who waits on, what is refused.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <tandem/condition.hpp>
#include <tandem/event.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>

#include "core/kill_point.hpp"
#include "support/kill_points.hpp"
#include "support/process_fixture.hpp"
#include "support/where.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Worker;
using Clock = std::chrono::steady_clock;

constexpr auto kSoon = 60s;

class ConditionTest : public testing::EverywhereTest {};
TANDEM_TEST_EVERYWHERE(ConditionTest);

// Waits, each time with the lock, and says so before and after.
void wait_and_say(Condition condition, Queue<int> said, int times) {
  for (int i = 0; i < times; ++i) {
    const std::scoped_lock guard(condition);
    condition.wait();
    said.put(i);
  }
}

/// Workers that wait at a condition. Owner.
class Waiters {
 public:
  Waiters(testing::Where where, Condition condition, int count, int times = 1) : condition_(std::move(condition)) {
    for (int i = 0; i < count; ++i) workers_.emplace_back(where, wait_and_say, condition_, said_, times);
    for (Worker& worker : workers_) worker.start();
  }
  /// Until so many wait.
  void expect_waiting(std::size_t count) const {
    while (condition_.waiting() != count) std::this_thread::yield();
  }
  /// That exactly so many have gone on.
  void expect_gone_on(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) EXPECT_TRUE(said_.get_for(kSoon).has_value());
    EXPECT_EQ(said_.get_for(30ms), std::nullopt) << "a spurious wake-up";
  }
  void join() {
    for (Worker& worker : workers_) worker.join();
  }

 private:
  Condition condition_;
  Queue<int> said_;
  std::vector<Worker> workers_;
};

std::size_t notify(Condition condition, std::size_t count) {
  const std::scoped_lock guard(condition);
  return condition.notify(count);
}

// CND-02, CND-03
TEST_P(ConditionTest, IsUsedWithItsLockOnly) {
  for (Condition condition : {Condition(), Condition(Lock()), Condition(RLock())}) {
    EXPECT_THROW(condition.wait(), NotOwner);
    EXPECT_THROW(static_cast<void>(condition.wait_for(1ms)), NotOwner);
    EXPECT_THROW(condition.notify(), NotOwner);
    EXPECT_THROW(condition.notify_all(), NotOwner);
    condition.acquire();
    EXPECT_THROW(static_cast<void>(condition.wait_for(-1ms)), std::invalid_argument);
    EXPECT_EQ(condition.notify(), 0U);
    std::thread([&] { EXPECT_THROW(condition.notify(), NotOwner); }).join();
    condition.release();
    EXPECT_FALSE(condition.locked());
  }
}

// CND-04, CND-09, CND-11
TEST_P(ConditionTest, WakesAsManyAsItIsTold) {
  Condition condition;
  Waiters waiters(GetParam(), condition, 5, 2);
  waiters.expect_waiting(5);
  waiters.expect_gone_on(0);
  EXPECT_EQ(notify(condition, 3), 3U);
  waiters.expect_gone_on(3);
  waiters.expect_waiting(5);  // Three of them for the second time.
  EXPECT_EQ(notify(condition, 5), 5U);
  waiters.expect_gone_on(5);
  waiters.expect_waiting(2);
  EXPECT_EQ(notify(condition, static_cast<std::size_t>(-1)), 2U);
  waiters.expect_gone_on(2);
  // A notification that nobody waits for is gone.
  EXPECT_EQ(notify(condition, 1), 0U);
  waiters.join();
  EXPECT_EQ(condition.waiting(), 0U);
}

// CND-10
TEST_P(ConditionTest, NotifyAllWakesAllAtOnce) {
  Condition condition((Lock()));
  Waiters waiters(GetParam(), condition, 3);
  Waiters threads(testing::Where::Thread, condition, 3);
  waiters.expect_waiting(6);
  {
    const std::scoped_lock guard(condition);
    EXPECT_EQ(condition.notify_all(), 6U);
  }
  waiters.expect_gone_on(3);
  threads.expect_gone_on(3);
  waiters.join();
  threads.join();
}

void notify_when_told(Condition condition, Event go) {
  go.wait();
  const std::scoped_lock guard(condition);
  condition.notify();
}

// CND-05, CND-12, CND-15 (but for the signal, which signal_test.cpp sends)
TEST_P(ConditionTest, WaitForTellsWhetherItWasNotified) {
  Condition condition;
  const std::scoped_lock guard(condition);
  EXPECT_FALSE(condition.wait_for(0s));
  const auto before = Clock::now();
  EXPECT_FALSE(condition.wait_for(150ms));
  EXPECT_GE(Clock::now() - before, 150ms);
  EXPECT_TRUE(condition.owned());
  Event go;
  Worker worker(GetParam(), notify_when_told, condition, go);
  worker.start();
  go.set();
  EXPECT_TRUE(condition.wait_for(1h));
  worker.join();
}

void count_to(Condition condition, Queue<int> number, int last) {
  for (int i = 1; i <= last; ++i) {
    const std::scoped_lock guard(condition);
    static_cast<void>(number.get());
    number.put(i);
    condition.notify();
  }
}

int peek(Queue<int>& number) {
  const int value = number.get();
  number.put(value);
  return value;
}

// CND-06, CND-13
TEST_P(ConditionTest, WaitsUntilAPredicateHolds) {
  Condition condition;
  Queue<int> number;
  number.put(0);
  Worker worker(GetParam(), count_to, condition, number, 4);
  const std::scoped_lock guard(condition);
  worker.start();
  condition.wait([&] { return peek(number) == 4; });
  EXPECT_TRUE(condition.wait_for(0s, [] { return true; }));
  worker.join();
}

// CND-07, CND-14
TEST_P(ConditionTest, GivesUpOnAPredicateThatNeverHolds) {
  Condition condition;
  Queue<int> number;
  number.put(0);
  Worker worker(GetParam(), count_to, condition, number, 3);
  const std::scoped_lock guard(condition);
  worker.start();
  const auto before = Clock::now();
  EXPECT_FALSE(condition.wait_for(150ms, [&] { return peek(number) == 17; }));
  EXPECT_GE(Clock::now() - before, 150ms);
  static_cast<void>(condition.wait_for(kSoon, [&] { return peek(number) == 3; }));
  worker.join();
}

// CND-08
TEST_P(ConditionTest, HasTheMembersOfItsLock) {
  Condition condition;
  EXPECT_TRUE(condition.acquire());
  EXPECT_TRUE(condition.try_acquire());  // An RLock.
  EXPECT_TRUE(condition.acquire_for(0s));
  EXPECT_TRUE(condition.locked());
  condition.release();
  condition.release();
  EXPECT_EQ(condition.to_string().find("<Condition(<RLock(held 1 times by this thread"), 0U) << condition.to_string();
  condition.release();
  EXPECT_THROW(condition.release(), NotOwner);

  RLock shared;
  Condition first(shared), second(shared);
  EXPECT_FALSE(first == second);
  first.acquire();
  EXPECT_TRUE(second.owned());
  EXPECT_EQ(second.notify(), 0U);
  shared.release();
}

// A lock that the waiter has several times is released in full, and taken back as often.
TEST_P(ConditionTest, ReleasesARecursiveLockInFullWhileItWaits) {
  Condition condition;
  condition.acquire();
  condition.acquire();
  condition.acquire();
  Event go;
  Worker worker(GetParam(), notify_when_told, condition, go);
  worker.start();
  go.set();
  condition.wait();
  condition.release();
  condition.release();
  EXPECT_TRUE(condition.owned());
  condition.release();
  EXPECT_FALSE(condition.locked());
  worker.join();
}

// ---------------------------------------------------------------------------------------------------------------------
// Killed peers

class ConditionKillTest : public testing::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
    testing::LeakCheckedTest::SetUp();
  }
  std::chrono::seconds time_limit() const override { return 180s; }
};

// The child waits in front of this thread and is killed at each of its points; the one notification there is arrives
// here.
TEST_F(ConditionKillTest, AKilledWaiterCostsNobodyAWakeUp) {
  for (const std::string point : {"condition.entered", "condition.released", "wait_list.sleep", "wait_list.woken",
                                  "condition.acquire", "condition.left"}) {
    SCOPED_TRACE(point);
    Condition condition{Lock(OnOwnerDeath::Tell)};
    Event begun;
    Process first(tandem::fork, [&] {
      const std::scoped_lock guard(condition);
      testing::die_at_kill_point(point);
      begun.set();
      condition.wait();
    });
    first.start();
    begun.wait();
    // It dies before it sleeps, or sleeps.
    const bool dies_woken = point == "wait_list.woken" || point == "condition.acquire" || point == "condition.left";
    if (dies_woken) {
      while (condition.waiting() != 1 && first.is_alive()) std::this_thread::yield();
    } else {
      first.join();
    }
    Queue<bool> notified;
    Event in_hand;
    std::thread second([&] {
      const std::scoped_lock guard(condition);
      in_hand.set();
      notified.put(condition.wait_for(kSoon));
    });
    in_hand.wait();
    {
      // Which is to be had once the second one waits.
      const std::scoped_lock guard(condition);
      condition.notify();
    }
    // It had its wake-up and died with the lock behind that; or was told before it slept, and went its way.
    const auto has_taken_it = [&] {
      first.join();
      return first.exitcode() == 0 || point == "condition.left";
    };
    if (dies_woken && has_taken_it()) {
      const std::scoped_lock guard(condition);
      condition.notify();
    }
    EXPECT_TRUE(notified.get());
    second.join();
    first.join();
    EXPECT_TRUE(first.exitcode() == -SIGKILL || point == "wait_list.woken") << first.exitcode().value();
  }
}

// What a waiter was told that then died is not for one who came later.
TEST_F(ConditionKillTest, ANotificationIsForThoseWhoWaitedWhenItWasGiven) {
  Condition condition{Lock(OnOwnerDeath::Tell)};
  Event begun;
  Process first(tandem::fork, [&] {
    const std::scoped_lock guard(condition);
    begun.set();
    testing::die_at_kill_point("condition.acquire");
    condition.wait();
  });
  first.start();
  begun.wait();
  {
    const std::scoped_lock guard(condition);  // To be had once it waits.
    EXPECT_EQ(condition.notify(), 1U);
  }
  first.join();
  const std::scoped_lock guard(condition);
  EXPECT_FALSE(condition.wait_for(250ms));
}

TEST_F(ConditionKillTest, WhoNotifiesMayBeKilledAnywhere) {
  std::optional<Condition> condition;
  std::optional<std::thread> waiter;
  Queue<bool> notified;
  const auto make = [&] {
    condition.emplace(Lock(OnOwnerDeath::Tell));
    waiter.emplace([&, condition = *condition]() mutable {
      const std::scoped_lock guard(condition);
      notified.put(condition.wait_for(kSoon));
    });
    while (condition->waiting() != 1) std::this_thread::yield();
  };
  make();
  const auto points = testing::for_each_kill_point(
      [&] {
        const std::scoped_lock guard(*condition);
        condition->notify();
      },
      [&](const std::string&) {
        {
          const std::scoped_lock guard(*condition);
          condition->notify();  // Does nothing if the killed one has done it.
        }
        EXPECT_TRUE(notified.get());
        waiter->join();
        make();
      });
  EXPECT_GE(points.size(), 8U);
  // The last child came to its end and has notified.
  EXPECT_TRUE(notified.get());
  waiter->join();
}

TEST_F(ConditionKillTest, AWaitThatGetsAnAbandonedLockBackTellsItWithTheLockHeld) {
  Condition condition;  // Its lock throws.
  Event notified;
  Process owner(tandem::fork, [&] {
    condition.acquire();
    condition.notify();
    notified.set();
    testing::wait_for_ever();
  });
  std::unique_lock guard(condition);
  owner.start();
  std::thread killer([&] {
    notified.wait();
    owner.kill();
  });
  EXPECT_THROW(condition.wait(), OwnerDied);
  EXPECT_TRUE(condition.owned());
  condition.repaired();
  guard.unlock();
  killer.join();
  owner.join();
}

}  // namespace
}  // namespace tandem
