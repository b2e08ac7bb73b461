// Barrier between threads and processes: rounds, numbers, actions, and how it breaks.
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <tandem/barrier.hpp>
#include <tandem/error.hpp>
#include <tandem/event.hpp>
#include <tandem/lock.hpp>
#include <tandem/queue.hpp>

#include "support/where.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Worker;
using Clock = std::chrono::steady_clock;

class BarrierTest : public testing::EverywhereTest {};
TANDEM_TEST_EVERYWHERE(BarrierTest);

constexpr int kBroken = -1;

int wait_at(Barrier& barrier) {
  try {
    return static_cast<int>(barrier.wait());
  } catch (const BrokenBarrier&) {
    return kBroken;
  }
}

void wait_rounds(Barrier barrier, int rounds, Queue<int> results) {
  for (int i = 0; i < rounds; ++i) results.put(wait_at(barrier));
}

/// Workers that wait at a barrier, and what each wait gave. Owner.
class Party {
 public:
  Party(testing::Where where, const Barrier& barrier, int count, int rounds = 1) {
    for (int i = 0; i < count; ++i) workers_.emplace_back(where, wait_rounds, barrier, rounds, results_);
    for (Worker& worker : workers_) worker.start();
  }
  std::multiset<int> join() {
    for (Worker& worker : workers_) worker.join();
    std::multiset<int> results;
    while (const auto result = results_.try_get()) results.insert(*result);
    return results;
  }

 private:
  Queue<int> results_;
  std::vector<Worker> workers_;
};

void until_waiting(const Barrier& barrier, std::size_t count) {
  while (barrier.waiting() != count) std::this_thread::yield();
}

// BAR-01
TEST_P(BarrierTest, RefusesImpossibleNumbers) {
  EXPECT_THROW(Barrier(0), std::invalid_argument);
  EXPECT_THROW(Barrier(-3), std::invalid_argument);
  EXPECT_THROW(Barrier(BarrierOptions{.parties = 2, .timeout = -1ms}), std::invalid_argument);
  Barrier barrier(2);
  EXPECT_THROW(static_cast<void>(barrier.wait_for(-1ms)), std::invalid_argument);
  EXPECT_FALSE(barrier.broken());
  EXPECT_EQ(barrier.waiting(), 0U);
}

// BAR-03, BAR-04, BAR-13, BAR-14, BAR-15
TEST_P(BarrierTest, GivesEachOfARoundADifferentNumber) {
  constexpr int kRounds = 10;
  Barrier barrier(3);
  EXPECT_EQ(barrier.parties(), 3U);
  Party party(GetParam(), barrier, 2, kRounds);
  std::multiset<int> mine;
  for (int round = 0; round < kRounds; ++round) mine.insert(wait_at(barrier));
  std::multiset<int> all = party.join();
  all.insert(mine.begin(), mine.end());
  for (int number = 0; number < 3; ++number) EXPECT_EQ(all.count(number), static_cast<std::size_t>(kRounds));
  EXPECT_EQ(all.size(), 3U * kRounds);
}

// BAR-11, BAR-22
TEST_P(BarrierTest, OfOneNeverWaits) {
  Barrier barrier(1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(barrier.wait(), 0U);
  EXPECT_EQ(barrier.wait_for(0s), 0U);
  Party party(GetParam(), barrier, 1);
  EXPECT_EQ(party.join(), std::multiset<int>({0}));
}

void count(Queue<int> calls) {
  calls.put(1);
}

// BAR-05
TEST_P(BarrierTest, CallsItsActionOnceBeforeAnyGoesOn) {
  Queue<int> calls;
  Barrier barrier(3, count, calls);
  for (std::size_t round = 1; round <= 4; ++round) {
    Party party(GetParam(), barrier, 2);
    static_cast<void>(barrier.wait());
    EXPECT_EQ(calls.size(), round);
    party.join();
    EXPECT_EQ(calls.size(), round);
  }
}

void fail() {
  throw std::out_of_range("an action that fails");
}

TEST_P(BarrierTest, BreaksWhenItsActionThrows) {
  Barrier barrier(2, fail);
  Party party(GetParam(), barrier, 1);
  until_waiting(barrier, 1);
  EXPECT_THROW(static_cast<void>(barrier.wait()), std::out_of_range);
  EXPECT_EQ(party.join(), std::multiset<int>({kBroken}));
  EXPECT_TRUE(barrier.broken());
}

// BAR-06, BAR-12, BAR-17
TEST_P(BarrierTest, AbortBreaksItForAll) {
  Barrier barrier(4);
  EXPECT_EQ(barrier.to_string(), "<Barrier(0 of 4 have come)>");
  Party party(GetParam(), barrier, 3);
  until_waiting(barrier, 3);
  EXPECT_EQ(barrier.to_string(), "<Barrier(3 of 4 have come)>");
  barrier.abort();
  EXPECT_EQ(party.join(), std::multiset<int>({kBroken, kBroken, kBroken}));
  EXPECT_TRUE(barrier.broken());
  EXPECT_EQ(barrier.to_string(), "<Barrier(broken)>");
  EXPECT_THROW(static_cast<void>(barrier.wait()), BrokenBarrier);
  EXPECT_THROW(static_cast<void>(barrier.wait_for(1h)), BrokenBarrier);
  barrier.abort();
}

// BAR-07, BAR-18
TEST_P(BarrierTest, ResetSendsTheWaitingAwayAndStartsAnew) {
  Barrier barrier(3);
  Party party(GetParam(), barrier, 2);
  until_waiting(barrier, 2);
  barrier.reset();
  EXPECT_EQ(party.join(), std::multiset<int>({kBroken, kBroken}));
  EXPECT_FALSE(barrier.broken());
  Party next(GetParam(), barrier, 2);
  EXPECT_GE(wait_at(barrier), 0);
  EXPECT_EQ(next.join().count(kBroken), 0U);
}

// BAR-08, BAR-19
TEST_P(BarrierTest, IsUsableAgainAfterItBrokeAndWasReset) {
  Barrier barrier(3);
  Party party(GetParam(), barrier, 2);
  until_waiting(barrier, 1 + 1);
  barrier.abort();
  party.join();
  barrier.reset();
  EXPECT_FALSE(barrier.broken());
  Party next(GetParam(), barrier, 2, 5);
  for (int round = 0; round < 5; ++round) EXPECT_GE(wait_at(barrier), 0);
  EXPECT_EQ(next.join().count(kBroken), 0U);
}

// BAR-09, BAR-20
TEST_P(BarrierTest, BreaksForAllWhenOneGivesUp) {
  Barrier barrier(4);
  Party party(GetParam(), barrier, 2);
  until_waiting(barrier, 2);
  const auto before = Clock::now();
  EXPECT_EQ(barrier.wait_for(150ms), std::nullopt);
  EXPECT_GE(Clock::now() - before, 150ms);
  EXPECT_TRUE(barrier.broken());
  EXPECT_EQ(party.join(), std::multiset<int>({kBroken, kBroken}));
}

// BAR-10, BAR-21
TEST_P(BarrierTest, GivesUpAfterTheTimeOfItsOptions) {
  Barrier barrier(BarrierOptions{.parties = 3, .timeout = 120ms});
  Party party(GetParam(), barrier, 1);
  EXPECT_EQ(wait_at(barrier), kBroken);
  EXPECT_EQ(party.join(), std::multiset<int>({kBroken}));
  EXPECT_TRUE(barrier.broken());
}

void keep_in_step(Barrier barrier, Queue<int> log, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    log.put(round);
    static_cast<void>(barrier.wait());
  }
}

// BAR-23
TEST_P(BarrierTest, KeepsTheOrderOfAThousandRounds) {
  constexpr int kRounds = 1000, kWorkers = 5;
  Barrier barrier(kWorkers);
  Queue<int> log;
  std::vector<Worker> workers;
  for (int i = 0; i < kWorkers; ++i) workers.emplace_back(GetParam(), keep_in_step, barrier, log, kRounds);
  for (Worker& worker : workers) worker.start();
  for (int i = 0; i < kRounds * kWorkers; ++i) ASSERT_EQ(log.get(), i / kWorkers);
  for (Worker& worker : workers) worker.join();
}

void slow_action(Event begun, Event end) {
  begun.set();
  end.wait();
}

void say_and_wait(Barrier barrier, Event coming, Queue<int> results) {
  coming.set();
  results.put(wait_at(barrier));
}

TEST_P(BarrierTest, WhoComesWhileTheActionRunsBelongsToTheNextRound) {
  Event begun, end, coming;
  Queue<int> results;
  Barrier barrier(2, slow_action, begun, end);
  Party first(GetParam(), barrier, 2);
  begun.wait();
  Worker second(GetParam(), say_and_wait, barrier, coming, results);
  second.start();
  coming.wait();
  EXPECT_EQ(results.get_for(50ms), std::nullopt);
  // Giving up there concerns nobody.
  const auto before = Clock::now();
  EXPECT_EQ(barrier.wait_for(60ms), std::nullopt);
  EXPECT_GE(Clock::now() - before, 60ms);
  EXPECT_EQ(barrier.waiting(), 2U);
  end.set();
  EXPECT_EQ(first.join(), std::multiset<int>({0, 1}));
  EXPECT_GE(wait_at(barrier), 0);
  second.join();
  EXPECT_GE(results.get(), 0);
}

TEST_P(BarrierTest, AbortDuringTheActionBreaksTheRound) {
  Event begun, end;
  Barrier barrier(2, slow_action, begun, end);
  Party party(GetParam(), barrier, 2);
  begun.wait();
  barrier.abort();
  end.set();
  EXPECT_EQ(party.join(), std::multiset<int>({kBroken, kBroken}));
  barrier.reset();
  EXPECT_FALSE(barrier.broken());
}

// BAR-24
TEST_P(BarrierTest, CanBeBuiltOfTwoPlainLocks) {
  // The pair passes a token to and fro: each release lets the other side take exactly one step.
  Lock left, right;
  Queue<int> steps;
  left.acquire();
  right.acquire();
  Worker worker(
      GetParam(),
      +[](Lock mine, Lock yours, Queue<int> log) {
        for (int i = 0; i < 200; ++i) {
          mine.acquire();
          log.put(2 * i + 1);
          yours.release();
        }
      },
      right, left, steps);
  worker.start();
  for (int i = 0; i < 200; ++i) {
    steps.put(2 * i);
    right.release();
    left.acquire();
  }
  worker.join();
  for (int i = 0; i < 400; ++i) ASSERT_EQ(steps.get(), i);
}

}  // namespace
}  // namespace tandem
