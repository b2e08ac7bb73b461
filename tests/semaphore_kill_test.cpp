// Processes are killed at each point inside a semaphore's members, or with units in hand: the units come back, or stay
// out.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/event.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>
#include <tandem/semaphore.hpp>

#include "core/kill_point.hpp"
#include "support/kill_points.hpp"
#include "support/process_fixture.hpp"
#include "support/thread_fixture.hpp"
#include "sync/units.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Where;

constexpr auto kSoon = 60s;

class SemaphoreOfTheDeadTest : public testing::ProcessesTest {};
TANDEM_TEST_IN_PROCESSES(SemaphoreOfTheDeadTest);

template <class S>
void take_and_wait(S semaphore, int acquires, int releases, Event taken) {
  for (int i = 0; i < acquires; ++i) semaphore.acquire();
  for (int i = 0; i < releases; ++i) semaphore.release();
  taken.set();
  testing::wait_for_ever();
}

template <class S>
void die_with_units(Where where, S semaphore, int acquires, int releases) {
  Event taken;
  Process process = testing::process_in(where, &take_and_wait<S>, semaphore, acquires, releases, taken);
  process.start();
  taken.wait();
  process.kill();
  process.join();
}

template <class S>
std::size_t take_all_soon(S semaphore, std::size_t expected) {
  std::size_t count = 0;
  while (count < expected && semaphore.acquire_for(kSoon)) ++count;
  while (semaphore.try_acquire()) ++count;
  return count;
}

TEST_P(SemaphoreOfTheDeadTest, UnitsComeBackAsManyAsItHad) {
  Semaphore semaphore(5);
  die_with_units(GetParam(), semaphore, 4, 1);
  EXPECT_EQ(take_all_soon(semaphore, 5), 5U);
  EXPECT_FALSE(semaphore.acquire_for(150ms));
}

TEST_P(SemaphoreOfTheDeadTest, UnitsComeBackUpToTheBoundOnly) {
  BoundedSemaphore semaphore(2);
  die_with_units(GetParam(), semaphore, 2, 0);
  EXPECT_TRUE(semaphore.acquire_for(kSoon));
  EXPECT_EQ(semaphore.value(), 1U);
  semaphore.release();
  EXPECT_THROW(semaphore.release(), OverRelease);
}

TEST_P(SemaphoreOfTheDeadTest, UnitsStayOutIfThatWasChosen) {
  Semaphore semaphore(2, UnitsOfTheDead::StayOut);
  die_with_units(GetParam(), semaphore, 2, 0);
  EXPECT_FALSE(semaphore.acquire_for(250ms));
  semaphore.release();
  EXPECT_TRUE(semaphore.try_acquire());
}

TEST_P(SemaphoreOfTheDeadTest, WhatItReleasedBeyondItsOwnIsKept) {
  Semaphore semaphore(1);
  die_with_units(GetParam(), semaphore, 0, 2);
  EXPECT_EQ(take_all_soon(semaphore, 3), 3U);
}

TEST_P(SemaphoreOfTheDeadTest, ThoseWhoWaitGetItsUnits) {
  Semaphore semaphore(1);
  Event taken;
  Process owner = testing::process_in(GetParam(), &take_and_wait<Semaphore>, semaphore, 1, 0, taken);
  owner.start();
  taken.wait();
  EXPECT_FALSE(semaphore.acquire_for(20ms));
  owner.kill();
  EXPECT_TRUE(semaphore.acquire_for(kSoon));
  owner.join();
}

void wait_for_sleeper(const Semaphore& semaphore) {
  const auto& object = detail::HandleAccess::object(semaphore);
  while (!static_cast<detail::UnitsState*>(object->data())->load().sleepers()) std::this_thread::yield();
}

// More processes one after the other than one block of records has: those of the dead are used again.
TEST(SemaphoreRecordsTest, AreUsedAgain) {
  Semaphore semaphore(2);
  const auto use_in_a_child = [&] {
    const pid_t pid = testing::fork_child([&] {
      semaphore.acquire();
      return 0;
    });
    EXPECT_EQ(testing::exit_code_of(pid), 0);
  };
  semaphore.acquire();
  use_in_a_child();
  const std::size_t before = arena_usage().in_use_bytes;
  for (int i = 0; i < 70; ++i) use_in_a_child();
  EXPECT_EQ(arena_usage().in_use_bytes, before);
  EXPECT_TRUE(semaphore.acquire_for(kSoon));
  semaphore.release(2);
  EXPECT_EQ(semaphore.value(), 2U);
}

TEST_P(SemaphoreOfTheDeadTest, WhoOnlyLooksSeesThemComeBack) {
  Semaphore semaphore(1);
  die_with_units(GetParam(), semaphore, 1, 0);
  while (semaphore.value() != 1) std::this_thread::yield();
}

class SemaphoreKillTest : public testing::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
    testing::LeakCheckedTest::SetUp();
  }
  std::chrono::seconds time_limit() const override { return 180s; }

  // Kills `body` at each of its points; whatever it had then, there are `units` to be had again.
  static void kill_everywhere(std::size_t at_least, std::size_t units, const std::function<void(Semaphore)>& prepare,
                              const std::function<void(Semaphore)>& body) {
    const std::size_t before = arena_usage().in_use_bytes;
    std::optional<Semaphore> semaphore;
    const auto make = [&] { prepare(semaphore.emplace(static_cast<std::int64_t>(units))); };
    make();
    const auto points = testing::for_each_kill_point([&] { body(*semaphore); },
                                                     [&](const std::string&) {
                                                       EXPECT_EQ(take_all_soon(*semaphore, units), units);
                                                       EXPECT_FALSE(semaphore->acquire_for(110ms));
                                                       semaphore.reset();
                                                       EXPECT_EQ(arena_usage().in_use_bytes, before);
                                                       make();
                                                     });
    EXPECT_GE(points.size(), at_least);
  }
};

TEST_F(SemaphoreKillTest, AcquireAndReleaseMayBeKilledAnywhere) {
  kill_everywhere(
      6, 3, [](const Semaphore&) {},
      [](Semaphore semaphore) {
        semaphore.acquire();
        semaphore.acquire();
        semaphore.release();
      });
}

// The parent has changed the count before: its number is settled in its record, and read from there again.
TEST_F(SemaphoreKillTest, TheHandOverFromAnotherProcessMayBeKilledAnywhere) {
  kill_everywhere(
      6, 3,
      [](Semaphore semaphore) {
        semaphore.acquire();
        semaphore.release();
      },
      [](Semaphore semaphore) {
        semaphore.acquire();
        semaphore.acquire();
        semaphore.release(2);
      });
}

TEST_F(SemaphoreKillTest, AWaiterMayBeKilledAnywhere) {
  Semaphore semaphore(0);
  const auto points = testing::for_each_kill_point([&] { static_cast<void>(semaphore.acquire_for(testing::kInVain)); },
                                                   [&](const std::string&) {
                                                     semaphore.release();
                                                     EXPECT_TRUE(semaphore.acquire_for(kSoon));
                                                     EXPECT_EQ(semaphore.value(), 0U);
                                                   });
  EXPECT_GE(points.size(), 2U);
}

// Who gives back the units of a dead process is killed on the way: another does it, and none comes back twice.
TEST_F(SemaphoreKillTest, WhoGivesBackForTheDeadMayBeKilledAnywhere) {
  std::optional<Semaphore> semaphore;
  const auto make = [&] {
    semaphore.emplace(2);
    const pid_t pid = testing::fork_child([&] {
      semaphore->acquire();
      semaphore->acquire();
      return 0;
    });
    EXPECT_EQ(testing::exit_code_of(pid), 0);
  };
  make();
  const auto points = testing::for_each_kill_point([&] { semaphore->acquire(); },
                                                   [&](const std::string&) {
                                                     EXPECT_EQ(take_all_soon(*semaphore, 2), 2U);
                                                     EXPECT_FALSE(semaphore->acquire_for(110ms));
                                                     make();
                                                   });
  EXPECT_GE(points.size(), 3U);
}

TEST_F(SemaphoreKillTest, AWakeUpThatDiesWithTheWokenIsMadeGood) {
  Semaphore semaphore(0, UnitsOfTheDead::StayOut);
  Event done;
  Process first(tandem::fork, [&] {
    // Dies when it is woken for the unit, or finds that a round of its sleep is over.
    testing::die_at_kill_point("semaphore.woken");
    semaphore.acquire();
  });
  first.start();
  wait_for_sleeper(semaphore);
  Process second(tandem::fork, [&] {
    semaphore.acquire();
    done.set();
  });
  second.start();
  semaphore.release();
  first.join();
  // It was killed, or came too late: then the second one had been faster.
  EXPECT_TRUE(done.wait_for(kSoon));
  second.join();
  EXPECT_EQ(first.exitcode(), -SIGKILL);
}

// Somebody sleeps for the unit that the child is killed over.
TEST_F(SemaphoreKillTest, WhoReleasesToASleeperMayBeKilledAnywhere) {
  std::optional<Semaphore> semaphore;
  std::optional<std::thread> sleeper;
  const auto make = [&] {
    semaphore.emplace(0, UnitsOfTheDead::StayOut);
    sleeper.emplace([semaphore = *semaphore]() mutable { EXPECT_TRUE(semaphore.acquire_for(kSoon)); });
    wait_for_sleeper(*semaphore);
  };
  make();
  const auto points = testing::for_each_kill_point([&] { semaphore->release(); },
                                                   [&](const std::string&) {
                                                     // Unless the child has done so; then this one is left.
                                                     semaphore->release();
                                                     sleeper->join();
                                                     make();
                                                   });
  EXPECT_NE(std::find(points.begin(), points.end(), "semaphore.released"), points.end());
  sleeper->join();
}

}  // namespace
}  // namespace tandem
