// The end of a queue of any kind: close() lets it be drained, close_now() discards, whoever waits is told.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include <tandem/queue.hpp>

#include "support/queue_kinds.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Worker;

class QueueCloseTest : public testing::EveryQueueTest {};
TANDEM_TEST_EVERY_QUEUE(QueueCloseTest);

using testing::as_taken;

// What a member did, as text: for the other side to compare.
template <class Call>
std::string outcome(Call call) {
  try {
    return call() ? "done" : "not done";
  } catch (const QueueClosed&) {
    return "closed";
  }
}

template <class Q>
std::string try_everything(Q& queue) {
  std::string text = outcome([&] { return queue.put(1), true; });
  text += ", " + outcome([&] { return queue.try_put(1); });
  text += ", " + outcome([&] { return queue.put_for(1, 1h); });
  text += ", " + outcome([&] { return queue.put_many(std::vector{1, 2}), true; });
  text += ", " + outcome([&] { return static_cast<void>(queue.get()), true; });
  text += ", " + outcome([&] { return queue.try_get().has_value(); });
  text += ", " + outcome([&] { return queue.get_for(1h).has_value(); });
  text += ", " + outcome([&] { return !queue.get_many(5).empty(); });
  return text + ", " + outcome([&] { return !queue.get_many_for(5, 1h).empty(); });
}

constexpr const char* kAllClosed = "closed, closed, closed, closed, closed, closed, closed, closed, closed";

template <class Q>
void report(Q queue, Queue<std::string> reports) {
  reports.put(try_everything(queue));
}

// What all members do, here and on the other side.
template <class Q>
std::vector<std::string> on_both_sides(testing::Where where, Q queue) {
  Queue<std::string> reports;
  Worker worker(where, report<Q>, queue, reports);
  worker.start();
  worker.join();
  return {reports.get(), try_everything(queue)};
}

// QUE-09, QUE-13
TANDEM_QUEUE_TEST(QueueCloseTest, EveryMemberThrowsOnceClosedAndDrained) {
  AnyQueue<int> unused;
  unused.close();
  EXPECT_EQ(on_both_sides(where, unused), std::vector<std::string>(2, kAllClosed));
  AnyQueue<int> used;
  used.put(1);
  EXPECT_EQ(used.get(), 1);
  used.close();
  EXPECT_EQ(on_both_sides(where, used), std::vector<std::string>(2, kAllClosed));
}

template <class Q>
void close_it(Q queue, bool now) {
  now ? queue.close_now() : queue.close();
}

template <class Q>
void close_elsewhere(testing::Where where, Q queue, bool now) {
  Worker worker(where, close_it<Q>, queue, now);
  worker.start();
  worker.join();
}

// QUE-12
TANDEM_QUEUE_TEST(QueueCloseTest, ClosingTwiceIsFine) {
  AnyQueue<int> queue;
  close_elsewhere(where, queue, false);
  queue.close();
  close_elsewhere(where, queue, true);
  queue.close_now();
  EXPECT_TRUE(queue.closed());
  EXPECT_THROW(static_cast<void>(queue.try_get()), QueueClosed);
}

// QUE-19, QUE-22
TANDEM_QUEUE_TEST(QueueCloseTest, ClosedQueueIsDrainedThenThrows) {
  AnyQueue<int> queue(3);
  queue.put_many(std::vector{1, 2, 3});
  close_elsewhere(where, queue, false);
  EXPECT_TRUE(queue.closed());
  EXPECT_EQ(queue.size(), 3U);
  EXPECT_TRUE(queue.full());
  EXPECT_THROW(queue.put(4), QueueClosed);  // Also while it is full: not the timeout's answer.
  EXPECT_THROW(static_cast<void>(queue.try_put(4)), QueueClosed);
  const std::vector<int> expected = as_taken<AnyQueue>(std::vector{1, 2, 3});
  EXPECT_EQ(queue.get(), expected[0]);
  EXPECT_EQ(queue.try_get(), expected[1]);
  EXPECT_EQ(queue.get_many(9), std::vector{expected[2]});
  EXPECT_EQ(try_everything(queue), kAllClosed);
  EXPECT_TRUE(queue.empty());
}

// QUE-20, QUE-23
TANDEM_QUEUE_TEST(QueueCloseTest, CloseNowDiscardsWhatWaits) {
  AnyQueue<int> queue(3);
  queue.put_many(std::vector{1, 2, 3});
  close_elsewhere(where, queue, true);
  EXPECT_TRUE(queue.closed());
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(on_both_sides(where, queue), std::vector<std::string>(2, kAllClosed));
  EXPECT_TRUE(queue.join_for(0s));
  for (int i : queue) FAIL() << i << " was discarded";
}

// QUE-21
TANDEM_QUEUE_TEST(QueueCloseTest, ClosingGoesOneWayOnly) {
  AnyQueue<int> queue;
  queue.put_many(std::vector{1, 2});
  close_elsewhere(where, queue, false);
  EXPECT_EQ(queue.get(), as_taken<AnyQueue>(std::vector{1, 2})[0]);
  close_elsewhere(where, queue, true);
  EXPECT_THROW(static_cast<void>(queue.get()), QueueClosed);
  close_elsewhere(where, queue, false);
  EXPECT_TRUE(queue.closed());
  EXPECT_THROW(queue.put(3), QueueClosed);
  EXPECT_THROW(static_cast<void>(queue.get()), QueueClosed);
}

// Takes until told of the end; says how many it took.
template <class Q>
void take_until_closed(Q queue, Queue<int> ready, Queue<int> counts) {
  ready.put(1);
  int taken = 0;
  try {
    for (;; ++taken) static_cast<void>(queue.get());
  } catch (const QueueClosed&) {
    counts.put(taken);
  }
}

// Three takers, of which `items` items can satisfy some; gives how many items they took in all.
template <class Q>
int take_by_three(testing::Where where, Q queue, bool now, Queue<int> ready) {
  Queue<int> counts;
  std::deque<Worker> takers;
  for (int i = 0; i < 3; ++i) takers.emplace_back(where, take_until_closed<Q>, queue, ready, counts).start();
  for (int i = 0; i < 3; ++i) static_cast<void>(ready.get());
  close_it(queue, now);
  for (Worker& taker : takers) taker.join();
  EXPECT_EQ(counts.size(), 3U) << "somebody was not told";
  int taken = 0;
  while (const auto count = counts.try_get()) taken += *count;
  return taken;
}

template <class Q>
void take_one(Q queue, Queue<std::string> outcomes) {
  outcomes.put(outcome([&] { return static_cast<void>(queue.get()), true; }));
}

// QUE-26
TANDEM_QUEUE_TEST(QueueCloseTest, OfThreeTakersOfTwoItemsOneIsToldOfTheEnd) {
  AnyQueue<int> queue;
  Queue<std::string> outcomes;
  queue.put_many(std::vector{1, 2});
  std::deque<Worker> takers;
  for (int i = 0; i < 3; ++i) takers.emplace_back(where, take_one<AnyQueue<int>>, queue, outcomes).start();
  EXPECT_EQ(outcomes.get(), "done");
  EXPECT_EQ(outcomes.get(), "done");
  queue.close();  // The third is waiting, or will find it closed.
  EXPECT_EQ(outcomes.get(), "closed");
  for (Worker& taker : takers) taker.join();
}

// QUE-27
TANDEM_QUEUE_TEST(QueueCloseTest, CloseNowTellsAllTakers) {
  AnyQueue<int> queue;
  Queue<int> ready;
  EXPECT_EQ(take_by_three(where, queue, true, ready), 0);
}

// QUE-30
TANDEM_QUEUE_TEST(QueueCloseTest, TakerThatWaitsIsWokenByTheEnd) {
  for (int round = 0; round < 5; ++round) {
    AnyQueue<int> queue;
    Queue<int> ready;
    EXPECT_EQ(take_by_three(where, queue, false, ready), 0);
  }
}

template <class Q>
void put_one(Q queue, Queue<std::string> outcomes) {
  outcomes.put(outcome([&] { return queue.put(9), true; }));
}

// QUE-29
TANDEM_QUEUE_TEST(QueueCloseTest, PutterThatWaitsIsToldOfTheEnd) {
  for (const bool now : {false, true}) {
    AnyQueue<int> queue(2);
    Queue<std::string> outcomes;
    queue.put_many(std::vector{1, 2});
    std::deque<Worker> putters;
    for (int i = 0; i < 3; ++i) putters.emplace_back(where, put_one<AnyQueue<int>>, queue, outcomes).start();
    EXPECT_EQ(outcomes.try_get(), std::nullopt) << "there is no room";
    close_it(queue, now);
    for (Worker& putter : putters) putter.join();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(outcomes.get(), "closed");
    EXPECT_EQ(queue.size(), now ? 0U : 2U);
  }
}

template <class Q>
void put_until_closed(Q queue, Queue<int> progress, Queue<int> counts) {
  int put = 0;
  try {
    for (; put < 16'384; ++put) {
      queue.put(put);
      if (put == 1000) progress.put(1);
    }
  } catch (const QueueClosed&) {
  }
  counts.put(put);
}

struct Crowd {
  int put = 0;
  int taken = 0;
};

// 4 producers of 16 Ki items each and 6 consumers; the queue is closed when one producer is well under way.
template <class Q>
Crowd close_amid_a_crowd(testing::Where where, Q queue, bool now) {
  Queue<int> progress, ready, put_counts, taken_counts;
  std::deque<Worker> workers;
  for (int i = 0; i < 6; ++i) workers.emplace_back(where, take_until_closed<Q>, queue, ready, taken_counts).start();
  for (int i = 0; i < 4; ++i) workers.emplace_back(where, put_until_closed<Q>, queue, progress, put_counts).start();
  static_cast<void>(progress.get());
  close_it(queue, now);
  for (Worker& worker : workers) worker.join();
  Crowd crowd;
  EXPECT_EQ(put_counts.size(), 4U);
  EXPECT_EQ(taken_counts.size(), 6U);
  while (const auto count = put_counts.try_get()) crowd.put += *count;
  while (const auto count = taken_counts.try_get()) crowd.taken += *count;
  EXPECT_TRUE(queue.empty());
  return crowd;
}

// QUE-24
TANDEM_QUEUE_TEST(QueueCloseTest, CloseAmidACrowdLosesNothing) {
  for (const std::size_t capacity : {0, 100}) {
    const Crowd crowd = close_amid_a_crowd(where, AnyQueue<int>(capacity), false);
    EXPECT_EQ(crowd.taken, crowd.put);
    EXPECT_GT(crowd.put, 1000);
  }
}

template <class Q>
void join_it(Q queue) {
  queue.join();
}

// QUE-25
TANDEM_QUEUE_TEST(QueueCloseTest, CloseNowAmidACrowdLetsEverybodyLeave) {
  AnyQueue<int> queue;
  queue.put(1);
  std::deque<Worker> joiners;
  for (int i = 0; i < 2; ++i) joiners.emplace_back(where, join_it<AnyQueue<int>>, queue).start();
  const Crowd crowd = close_amid_a_crowd(where, queue, true);
  EXPECT_LE(crowd.taken, crowd.put + 1);
  for (Worker& joiner : joiners) joiner.join();
  EXPECT_EQ(queue.size(), 0U);
}

}  // namespace
}  // namespace tandem
