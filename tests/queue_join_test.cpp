// task_done() and join() of queues of any kind: waiting until all work is done.
#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <stdexcept>
#include <string>
#include <vector>

#include <tandem/queue.hpp>

#include "support/queue_kinds.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Worker;

class QueueJoinTest : public testing::EveryQueueTest {};
TANDEM_TEST_EVERY_QUEUE(QueueJoinTest);

// Marks each item done only behind noting it, so that join() tells that all are noted.
template <class Q>
void work_until_closed(Q queue, Queue<int> noted) {
  for (int i : queue) {
    noted.put(i);
    queue.task_done();
  }
}

template <class Q>
std::deque<Worker> start_workers(testing::Where where, int count, Q queue, Queue<int> noted) {
  std::deque<Worker> workers;
  for (int i = 0; i < count; ++i) workers.emplace_back(where, work_until_closed<Q>, queue, noted).start();
  return workers;
}

int sum(Queue<int>& noted) {
  int total = 0;
  while (const auto i = noted.try_get()) total += *i;
  return total;
}

// JQU-01
TANDEM_QUEUE_TEST(QueueJoinTest, JoinReturnsOnceFourWorkersHaveDoneAll) {
  AnyQueue<int> queue;
  Queue<int> noted;
  auto workers = start_workers(where, 4, queue, noted);
  for (int i = 1; i <= 100; ++i) queue.put(i);
  queue.join();
  EXPECT_EQ(noted.size(), 100U);
  EXPECT_EQ(sum(noted), 5050);
  queue.close();
  for (Worker& worker : workers) worker.join();
}

template <class Q>
void mark_one_too_many(Q queue, Queue<std::string> texts) {
  try {
    queue.task_done();
    texts.put("accepted");
  } catch (const std::logic_error& error) {
    texts.put(error.what());
  }
}

// JQU-02
TANDEM_QUEUE_TEST(QueueJoinTest, MarkingMoreDoneThanWasPutIsAnError) {
  AnyQueue<int> queue;
  EXPECT_THROW(queue.task_done(), std::logic_error);
  queue.put(1);
  static_cast<void>(queue.get());
  queue.task_done();
  Queue<std::string> texts;
  Worker worker(where, mark_one_too_many<AnyQueue<int>>, queue, texts);
  worker.start();
  worker.join();
  EXPECT_EQ(texts.get(), "task_done() called more often than items were put into the queue");
  EXPECT_TRUE(queue.join_for(0s));
}

// JQU-03
TANDEM_QUEUE_TEST(QueueJoinTest, JoinWaitsForAllWorkAndMayBeCalledAgain) {
  AnyQueue<int> queue;
  Queue<int> noted;
  queue.join();  // Nothing was put.
  {
    auto workers = start_workers(where, 2, queue, noted);
    for (int round = 1; round <= 3; ++round) {
      queue.put_many(std::vector<int>(50, 1));
      queue.join();
      queue.join();
      EXPECT_EQ(noted.size(), 50U * static_cast<unsigned>(round));
    }
    queue.close();
    for (Worker& worker : workers) worker.join();
  }
  EXPECT_THROW(queue.task_done(), std::logic_error);
  EXPECT_TRUE(queue.join_for(0s));
}

TANDEM_QUEUE_TEST(QueueJoinTest, JoinForGivesUpWhileWorkIsLeft) {
  AnyQueue<int> queue;
  queue.put(1);
  static_cast<void>(queue.get());
  const auto before = std::chrono::steady_clock::now();
  EXPECT_FALSE(queue.join_for(60ms));
  EXPECT_GE(std::chrono::steady_clock::now() - before, 60ms);
  EXPECT_FALSE(queue.join_for(0s));
  queue.task_done();
  EXPECT_TRUE(queue.join_for(0s));
}

template <class Q>
void join_then_tell(Q queue, Queue<int> ready, Queue<int> noted, Queue<std::size_t> noted_at_return) {
  ready.put(1);
  queue.join();
  noted_at_return.put(noted.size());
}

// JQU-04, JQU-08
TANDEM_QUEUE_TEST(QueueJoinTest, AfterCloseJoinersReturnWhenTheRestIsDone) {
  AnyQueue<int> queue;
  Queue<int> ready, noted;
  Queue<std::size_t> noted_at_return;
  queue.put_many(std::vector<int>(200, 1));
  std::deque<Worker> joiners;
  for (int i = 0; i < 2; ++i)
    joiners.emplace_back(where, join_then_tell<AnyQueue<int>>, queue, ready, noted, noted_at_return).start();
  for (int i = 0; i < 2; ++i) static_cast<void>(ready.get());
  queue.close();
  EXPECT_EQ(noted_at_return.try_get(), std::nullopt) << "200 items are not done";
  auto workers = start_workers(where, 3, queue, noted);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(noted_at_return.get(), 200U);
  for (Worker& worker : workers) worker.join();
  for (Worker& joiner : joiners) joiner.join();
}

// JQU-05
TANDEM_QUEUE_TEST(QueueJoinTest, CloseNowReleasesJoiners) {
  AnyQueue<int> queue;
  Queue<int> ready, noted;
  Queue<std::size_t> noted_at_return;
  queue.put_many(std::vector<int>(10, 1));
  static_cast<void>(queue.get());  // Taken, never to be marked done.
  std::deque<Worker> joiners;
  for (int i = 0; i < 2; ++i)
    joiners.emplace_back(where, join_then_tell<AnyQueue<int>>, queue, ready, noted, noted_at_return).start();
  for (int i = 0; i < 2; ++i) static_cast<void>(ready.get());
  EXPECT_FALSE(queue.join_for(0s));
  queue.close_now();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(noted_at_return.get(), 0U);
  for (Worker& joiner : joiners) joiner.join();
}

template <class Q>
void put_one(Q queue, Queue<int> ready, Queue<std::string> outcomes) {
  ready.put(1);
  try {
    queue.put(1);
    outcomes.put("put");
  } catch (const QueueClosed&) {
    outcomes.put("closed");
  }
}

// A full queue with one that waits to put and one that joins, both told of the end.
template <template <class> class AnyQueue>
void end_putter_and_joiner(testing::Where where, bool now) {
  AnyQueue<int> queue(1);
  Queue<int> ready, noted;
  Queue<std::string> outcomes;
  Queue<std::size_t> noted_at_return;
  queue.put(7);
  Worker putter(where, put_one<AnyQueue<int>>, queue, ready, outcomes);
  Worker joiner(where, join_then_tell<AnyQueue<int>>, queue, ready, noted, noted_at_return);
  putter.start();
  joiner.start();
  for (int i = 0; i < 2; ++i) static_cast<void>(ready.get());
  now ? queue.close_now() : queue.close();
  EXPECT_EQ(outcomes.get(), "closed");
  if (!now) {
    EXPECT_FALSE(queue.join_for(0s));
    EXPECT_EQ(queue.get(), 7);
    queue.task_done();
  }
  joiner.join();
  putter.join();
  EXPECT_TRUE(queue.join_for(0s));
}

// JQU-06
TANDEM_QUEUE_TEST(QueueJoinTest, CloseEndsABlockedPutAndThenTheJoiner) {
  end_putter_and_joiner<AnyQueue>(where, false);
}

// JQU-07
TANDEM_QUEUE_TEST(QueueJoinTest, CloseNowEndsABlockedPutAndTheJoiner) {
  end_putter_and_joiner<AnyQueue>(where, true);
}

}  // namespace
}  // namespace tandem
