// A process is killed at each point inside a Barrier's members, or while it waits there: the barrier breaks for the
// others.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/barrier.hpp>
#include <tandem/error.hpp>
#include <tandem/event.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>

#include "core/kill_point.hpp"
#include "support/kill_points.hpp"
#include "support/process_fixture.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;

class BrokenByDeathTest : public testing::ProcessesTest {};
TANDEM_TEST_IN_PROCESSES(BrokenByDeathTest);

void wait_at(Barrier barrier) {
  static_cast<void>(barrier.wait());
}

TEST_P(BrokenByDeathTest, OfOneThatWaits) {
  Barrier barrier(3);
  Process dies = testing::process_in(GetParam(), wait_at, barrier);
  dies.start();
  while (barrier.waiting() != 1) std::this_thread::yield();
  std::thread killer([&] {
    while (barrier.waiting() != 2) std::this_thread::yield();
    dies.kill();
  });
  EXPECT_THROW(static_cast<void>(barrier.wait()), BrokenBarrier);
  EXPECT_TRUE(barrier.broken());
  killer.join();
  dies.join();
}

TEST_P(BrokenByDeathTest, OfOneThatWaitedLongBeforeTheLastCame) {
  Barrier barrier(2);
  Process dies = testing::process_in(GetParam(), wait_at, barrier);
  dies.start();
  while (barrier.waiting() != 1) std::this_thread::yield();
  dies.kill();
  dies.join();
  EXPECT_FALSE(Event().wait_for(110ms));  // A death is noticed within 100 ms, not at once.
  EXPECT_THROW(static_cast<void>(barrier.wait()), BrokenBarrier);
  barrier.reset();
  EXPECT_EQ(barrier.waiting(), 0U);
}

void come_last(Barrier barrier, Event go) {
  go.wait();
  static_cast<void>(barrier.wait());
}

TEST_P(BrokenByDeathTest, OfOneThatRunsTheAction) {
  Event begun, go;
  Barrier barrier(
      2,
      +[](Event started) {
        started.set();
        testing::wait_for_ever();
      },
      begun);
  Process dies = testing::process_in(GetParam(), come_last, barrier, go);
  dies.start();
  std::thread waiter([&] { EXPECT_THROW(static_cast<void>(barrier.wait()), BrokenBarrier); });
  while (barrier.waiting() != 1) std::this_thread::yield();
  go.set();
  begun.wait();
  dies.kill();
  waiter.join();
  dies.join();
  EXPECT_TRUE(barrier.broken());
}

class BarrierKillTest : public testing::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
    testing::LeakCheckedTest::SetUp();
  }
  std::chrono::seconds time_limit() const override { return 180s; }
};

// A thread waits here while a child is killed at each point of `body`. If the child had come to the barrier, the thread
// goes on, or hears that the barrier is broken, without anybody's help; if not, the barrier is as it was.
void kill_everywhere(std::size_t at_least, std::int64_t parties, bool with_action,
                     const std::function<void(Barrier)>& body) {
  const std::size_t before = arena_usage().in_use_bytes;
  std::optional<Barrier> barrier;
  std::optional<std::thread> waiter;
  const auto make = [&] {
    if (with_action) {
      barrier.emplace(parties, [] {});
    } else {
      barrier.emplace(parties);
    }
    waiter.emplace([barrier = *barrier]() mutable {
      try {
        EXPECT_TRUE(barrier.wait_for(60s).has_value()) << "nobody told it of the death";
      } catch (const BrokenBarrier&) {
      }
    });
    while (barrier->waiting() != 1) std::this_thread::yield();
  };
  make();
  const auto points = testing::for_each_kill_point(
      [&] { body(*barrier); },
      [&](const std::string&) {
        if (!testing::killed_had_passed("barrier.entered") && !testing::killed_had_passed("barrier.acting"))
          barrier->abort();
        waiter->join();
        barrier->reset();
        EXPECT_EQ(barrier->waiting(), 0U);
        barrier.reset();
        EXPECT_EQ(arena_usage().in_use_bytes, before);
        make();
      });
  EXPECT_GE(points.size(), at_least);
  barrier->abort();
  waiter->join();
}

TEST_F(BarrierKillTest, WhoCompletesARoundMayBeKilledAnywhere) {
  kill_everywhere(8, 2, false, [](Barrier barrier) {
    try {
      static_cast<void>(barrier.wait_for(60s));
    } catch (const BrokenBarrier&) {
    }
  });
}

TEST_F(BarrierKillTest, WhoRunsTheActionMayBeKilledAnywhere) {
  kill_everywhere(8, 2, true, [](Barrier barrier) {
    try {
      static_cast<void>(barrier.wait_for(60s));
    } catch (const BrokenBarrier&) {
    }
  });
}

TEST_F(BarrierKillTest, WhoWaitsAndGivesUpMayBeKilledAnywhere) {
  kill_everywhere(8, 3, false, [](Barrier barrier) {
    try {
      static_cast<void>(barrier.wait_for(testing::kInVain));
    } catch (const BrokenBarrier&) {
    }
  });
}

// Two threads wait; whoever sends them away may be killed after the first has been told: then the other hears it too,
// or neither, and the barrier is whole.
TEST_F(BarrierKillTest, WhoResetsOrAbortsMayBeKilledAnywhere) {
  const std::function<void(Barrier&)> ways[] = {[](Barrier& barrier) { barrier.reset(); },
                                                [](Barrier& barrier) { barrier.abort(); }};
  for (const auto& send_away : ways) {
    std::optional<Barrier> barrier;
    std::vector<std::thread> waiters;
    Queue<bool> sent_away;
    const auto make = [&] {
      barrier.emplace(3);
      for (int i = 0; i < 2; ++i)
        waiters.emplace_back([barrier = *barrier, sent_away]() mutable {
          try {
            static_cast<void>(barrier.wait_for(60s));
            sent_away.put(false);
          } catch (const BrokenBarrier&) {
            sent_away.put(true);
          }
        });
      while (barrier->waiting() != 2) std::this_thread::yield();
    };
    const auto finish = [&] {
      for (std::thread& waiter : waiters) waiter.join();
      waiters.clear();
      const bool one = sent_away.get(), other = sent_away.get();
      EXPECT_EQ(one, other);
    };
    make();
    const auto points = testing::for_each_kill_point([&] { send_away(*barrier); },
                                                     [&](const std::string&) {
                                                       try {  // Completes the round, unless it is broken or over.
                                                         static_cast<void>(barrier->wait_for(150ms));
                                                       } catch (const BrokenBarrier&) {
                                                       }
                                                       finish();
                                                       barrier->reset();
                                                       EXPECT_EQ(barrier->waiting(), 0U);
                                                       make();
                                                     });
    EXPECT_GE(std::count(points.begin(), points.end(), "barrier.told"), 2);
    barrier->abort();
    finish();
  }
}

}  // namespace
}  // namespace tandem
