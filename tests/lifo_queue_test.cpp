// LifoQueue: what came last goes first. All else is tested for every kind of queue in the files queue_*_test.cpp.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include <tandem/queue.hpp>

#include "core/kill_point.hpp"
#include "ipc/family.hpp"
#include "support/kill_points.hpp"
#include "support/where.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Worker;

class LifoQueueTest : public testing::EverywhereTest {};
TANDEM_TEST_EVERYWHERE(LifoQueueTest);
class LifoQueueItemTest : public testing::LeakCheckedTest {};

void put_three(LifoQueue<std::string> queue, int first) {
  for (int i = first; i < first + 3; ++i) queue.put(std::to_string(i) + std::string(i % 2 * 1000, '.'));
}

void take_all(LifoQueue<std::string> queue, Queue<std::string> taken) {
  for (const std::string& item : queue) taken.put(item.substr(0, item.find('.')));
}

// QUE-14
TEST_P(LifoQueueTest, LastPutIsTakenFirstWhoeverPutIt) {
  LifoQueue<std::string> queue;
  Queue<std::string> taken;
  put_three(queue, 0);
  Worker putter(GetParam(), put_three, queue, 3);
  putter.start();
  putter.join();
  queue.close();
  Worker taker(GetParam(), take_all, queue, taken);
  taker.start();
  taker.join();
  EXPECT_EQ(taken.get_many(9), (std::vector<std::string>{"5", "4", "3", "2", "1", "0"}));
}

TEST_F(LifoQueueItemTest, PutsAndGetsMayAlternate) {
  LifoQueue<int> queue;
  queue.put(1);
  queue.put(2);
  EXPECT_EQ(queue.get(), 2);
  queue.put(3);
  EXPECT_EQ(queue.get(), 3);
  EXPECT_EQ(queue.get(), 1);
  EXPECT_EQ(queue.try_get(), std::nullopt);
}

TEST_F(LifoQueueItemTest, BatchesArePutInOrderAndTakenInReverse) {
  LifoQueue<int> queue;
  queue.put_many(std::vector{1, 2, 3, 4, 5});
  EXPECT_EQ(queue.get_many(2), (std::vector{5, 4}));
  EXPECT_EQ(queue.get_many(9), (std::vector{3, 2, 1}));
}

// Cannot be decoded if it is 2.
struct Failing {
  int number = 0;
  template <class Archive>
  void save(Archive& archive) const {
    archive(number);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(number);
    if (number == 2) throw std::runtime_error("will not be loaded");
  }
};

TEST_F(LifoQueueItemTest, WhatGetManyHandsBackIsOnTopAsBefore) {
  LifoQueue<Failing> queue;
  for (int i = 0; i < 5; ++i) queue.put({i});
  EXPECT_EQ(queue.get_many(9).size(), 2U);  // 4 and 3; then comes 2.
  queue.put({7});
  EXPECT_EQ(queue.get().number, 7);
  EXPECT_THROW(static_cast<void>(queue.get()), std::runtime_error);
  EXPECT_EQ(queue.get().number, 1);
  EXPECT_EQ(queue.get().number, 0);
}

TEST_F(LifoQueueItemTest, ItemOfAKilledTakerGoesBackOnTop) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
  LifoQueue<int> queue;
  for (int i : {1, 2, 3}) queue.put(i);
  const pid_t pid = detail::fork_member();
  if (pid == 0) {
    testing::die_at_kill_point("queue.get.claimed");
    static_cast<void>(queue.get());
    _exit(0);
  }
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  EXPECT_EQ(queue.size(), 2U);
  EXPECT_FALSE(queue.join_for(0s));  // Looks for the dead.
  EXPECT_EQ(queue.get_many(9), (std::vector{3, 2, 1}));
}

TEST_F(LifoQueueItemTest, AHandleOfAnotherKindIsStale) {
  const LifoQueue<int> lifo;
  detail::Encoder encoder;
  encode(encoder, lifo);
  detail::Decoder as_lifo(encoder.bytes());
  EXPECT_EQ(detail::decode<LifoQueue<int>>(as_lifo), lifo);
  detail::Decoder as_queue(encoder.bytes());
  EXPECT_THROW(detail::decode<Queue<int>>(as_queue), StaleHandle);
  detail::Decoder as_priority(encoder.bytes());
  EXPECT_THROW(detail::decode<PriorityQueue<int>>(as_priority), StaleHandle);
}

}  // namespace
}  // namespace tandem
