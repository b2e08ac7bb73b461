// PriorityQueue: the smallest first. All else is tested for every kind of queue in the files queue_*_test.cpp.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/queue.hpp>

#include "support/random.hpp"
#include "support/where.hpp"
#include "sync/queue_layout.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Worker;

class PriorityQueueTest : public testing::EverywhereTest {};
TANDEM_TEST_EVERYWHERE(PriorityQueueTest);
class PriorityQueueItemTest : public testing::LeakCheckedTest {};

// Ordered by its priority alone.
struct Job {
  int priority = 0;
  int number = 0;
  friend bool operator<(const Job& a, const Job& b) { return a.priority < b.priority; }
  friend bool operator==(const Job&, const Job&) = default;
};
void PrintTo(const Job& job, std::ostream* out) {
  *out << job.priority << '/' << job.number;
}

// Jobs of few priorities, so that many are equal, in an order that the seed gives.
std::vector<Job> jobs_of(std::uint64_t seed, int first, int count) {
  std::mt19937_64 engine(seed);
  std::vector<Job> jobs;
  for (int i = first; i < first + count; ++i) jobs.push_back({static_cast<int>(engine() % 10), i});
  return jobs;
}

void put_jobs(PriorityQueue<Job> queue, std::uint64_t seed, int first, int count) {
  for (const Job& job : jobs_of(seed, first, count)) queue.put(job);
}

void take_jobs(PriorityQueue<Job> queue, Queue<Job> taken) {
  for (const Job& job : queue) taken.put(job);
}

// QUE-14
TEST_P(PriorityQueueTest, SmallestIsTakenFirstAndEqualOnesInTheOrderInWhichTheyWerePut) {
  const std::uint64_t seed = testing::random_engine()();
  PriorityQueue<Job> queue;
  Queue<Job> taken;
  put_jobs(queue, seed, 0, 400);
  Worker putter(GetParam(), put_jobs, queue, seed + 1, 400, 400);
  putter.start();
  putter.join();
  queue.close();
  Worker taker(GetParam(), take_jobs, queue, taken);
  taker.start();
  taker.join();
  std::vector<Job> expected = jobs_of(seed, 0, 400);
  for (const Job& job : jobs_of(seed + 1, 400, 400)) expected.push_back(job);
  const std::multiset<Job> sorted(expected.begin(), expected.end());  // Keeps the order of equal ones.
  expected.assign(sorted.begin(), sorted.end());
  EXPECT_EQ(taken.get_many(1000), expected) << "seed " << seed;
}

void send_texts(PriorityQueue<std::string, std::greater<>> queue) {
  queue.put_many(std::vector<std::string>{"b", std::string(100'000, 'c'), "a"});
}

// QUE-14
TEST_P(PriorityQueueTest, AnotherComparisonGivesAnotherOrder) {
  PriorityQueue<std::string, std::greater<>> queue;
  Worker worker(GetParam(), send_texts, queue);
  worker.start();
  worker.join();
  queue.put("bb");
  EXPECT_EQ(queue.get(), std::string(100'000, 'c'));
  EXPECT_EQ(queue.get_many(9), (std::vector<std::string>{"bb", "b", "a"}));
}

void echo(PriorityQueue<Job> there, Queue<int> back) {
  for (const Job& job : there) back.put(job.number);
}

// QUE-14
TEST_P(PriorityQueueTest, PutWaitsForSpaceAndGetForItems) {
  PriorityQueue<Job> queue(2);
  Queue<int> back;
  Worker worker(GetParam(), echo, queue, back);
  worker.start();
  for (int i = 0; i < 200; ++i) queue.put({i % 3, i});
  queue.close();
  worker.join();
  std::vector<int> numbers = back.get_many(1000);
  std::ranges::sort(numbers);
  ASSERT_EQ(numbers.size(), 200U);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(numbers[static_cast<std::size_t>(i)], i);
}

TEST_F(PriorityQueueItemTest, BehavesAsASortedListOverRandomPutsAndGets) {
  auto engine = testing::random_engine();
  PriorityQueue<Job> queue;
  std::multimap<int, int> model;  // Keeps equal ones in the order in which they came.
  int number = 0;
  for (const int most : {70, 1000, 3, 300}) {
    for (int step = 0; step < 5000; ++step) {
      const bool put = model.empty() || (static_cast<int>(model.size()) < most && engine() % 2 == 0);
      if (put) {
        const Job job{static_cast<int>(engine() % 50), number++};
        queue.put(job);
        model.emplace(job.priority, job.number);
      } else {
        const Job job = queue.get();
        ASSERT_EQ(job.priority, model.begin()->first);
        ASSERT_EQ(job.number, model.begin()->second);
        model.erase(model.begin());
      }
      ASSERT_EQ(queue.size(), model.size());
    }
  }
}

TEST_F(PriorityQueueItemTest, ManyAtOnceComeInOrder) {
  PriorityQueue<int> queue;
  std::vector<int> items(1000);
  for (int i = 0; i < 1000; ++i) items[static_cast<std::size_t>(i)] = i * 7919 % 1000;
  queue.put_many(items);
  std::ranges::sort(items);
  std::vector<int> got;
  while (got.size() < 1000)
    for (int item : queue.get_many(300)) got.push_back(item);
  EXPECT_EQ(got, items);
}

TEST_F(PriorityQueueItemTest, MemoryForPlacesIsGivenBackAndReused) {
  PriorityQueue<int> queue;
  auto& state = *static_cast<detail::PriorityState*>(detail::HandleAccess::object(queue)->data());
  const auto segments = [&] { return std::ranges::count_if(state.segments, [](auto& s) { return s.load() != 0; }); };
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 5000; ++i) queue.put(i * 7919 % 5000);
    EXPECT_EQ(segments(), 8);  // 64 places, and 64, 128, 256, ... up to 4096.
    for (int i = 0; i < 5000; ++i) ASSERT_EQ(queue.get(), i);
    EXPECT_LE(segments(), 2);
  }
  EXPECT_EQ(state.moving.load(), 0U);
}

// Compares by length, and does what it is told to meanwhile.
struct Interrupted {
  static inline std::function<void()> meanwhile;
  bool operator()(const std::string& a, const std::string& b) const {
    if (meanwhile) meanwhile();
    return a.size() < b.size();
  }
};

class PriorityQueueCompareTest : public testing::LeakCheckedTest {
 protected:
  void TearDown() override {
    Interrupted::meanwhile = nullptr;
    testing::LeakCheckedTest::TearDown();
  }
  const std::string kLarge = std::string(100'000, 'x');
  const std::vector<std::string> kItems{"a", "bb", "ccc", "dddd", kLarge};
};

TEST_F(PriorityQueueCompareTest, ComparisonThatThrowsLeavesTheQueueAsItWas) {
  PriorityQueue<std::string, Interrupted> queue;
  queue.put_many(kItems);
  const std::size_t before = arena_usage().in_use_bytes;
  Interrupted::meanwhile = [] { throw std::runtime_error("cannot compare"); };
  EXPECT_THROW(queue.put("new"), std::runtime_error);
  EXPECT_THROW(static_cast<void>(queue.try_put(std::string(200'000, 'y'))), std::runtime_error);
  EXPECT_THROW(queue.put_many(std::vector<std::string>{"new", "new"}), std::runtime_error);
  EXPECT_THROW(static_cast<void>(queue.get()), std::runtime_error);
  EXPECT_THROW(static_cast<void>(queue.try_get()), std::runtime_error);
  EXPECT_THROW(static_cast<void>(queue.get_many(3)), std::runtime_error);
  EXPECT_EQ(queue.size(), 5U);
  Interrupted::meanwhile = nullptr;
  EXPECT_LT(arena_usage().in_use_bytes, before + 100'000);  // Small nodes are kept for reuse.
  EXPECT_EQ(queue.get_many(9), kItems);
  for (int i = 0; i < 5; ++i) queue.task_done();
  EXPECT_TRUE(queue.join_for(0s));
}

TEST_F(PriorityQueueCompareTest, GetManyThatThrowsMidwayTakesNothing) {
  PriorityQueue<std::string, Interrupted> queue;
  queue.put_many(kItems);
  int left = 4;
  Interrupted::meanwhile = [&] {
    if (left-- == 0) throw std::runtime_error("cannot compare");
  };
  EXPECT_THROW(static_cast<void>(queue.get_many(5)), std::runtime_error);
  Interrupted::meanwhile = nullptr;
  EXPECT_EQ(queue.size(), 5U);
  EXPECT_EQ(queue.get_many(9), kItems);
}

TEST_F(PriorityQueueCompareTest, ComparisonMustNotUseAPriorityQueue) {
  PriorityQueue<std::string, Interrupted> queue;
  PriorityQueue<int> other;
  queue.put_many(kItems);
  const std::function<void()> uses[] = {[&] { static_cast<void>(queue.size()); }, [&] { other.put(1); },
                                        [&] { queue.close(); }};
  for (const auto& use : uses) {
    Interrupted::meanwhile = use;
    EXPECT_THROW(queue.put("small"), std::logic_error);
    EXPECT_THROW(queue.put(kLarge), std::logic_error);
    EXPECT_THROW(static_cast<void>(queue.get()), std::logic_error);
  }
  Interrupted::meanwhile = nullptr;
  EXPECT_TRUE(other.empty());
  EXPECT_FALSE(queue.closed());
  EXPECT_EQ(queue.get_many(9), kItems);
}

TEST_F(PriorityQueueCompareTest, ComparisonMayUseOtherQueuesAndMakeObjects) {
  PriorityQueue<std::string, Interrupted> queue;
  Queue<std::string> log;
  Interrupted::meanwhile = [&] {
    Queue<int>().put(1);
    log.put(kLarge);
  };
  queue.put_many(kItems);
  Interrupted::meanwhile = nullptr;
  EXPECT_EQ(queue.get_many(9), kItems);
  EXPECT_EQ(log.get(), kLarge);
}

// Its decoding makes a queue, drops it and attaches another one.
struct Call {
  int priority = 0;
  Queue<int> answer;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(priority, answer);
  }
  bool operator<(const Call& other) const { return priority < other.priority; }
};

void answer_all(PriorityQueue<Call> calls) {
  for (Call& call : calls) call.answer.put(call.priority);
}

TEST_P(PriorityQueueTest, ItemsWithHandlesAreComparedToo) {
  PriorityQueue<Call> calls;
  std::deque<Queue<int>> answers(20);
  for (int i = 0; i < 20; ++i) calls.put({i * 7 % 20, answers[static_cast<std::size_t>(i)]});
  calls.close();
  Worker worker(GetParam(), answer_all, calls);
  worker.start();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(answers[static_cast<std::size_t>(i)].get(), i * 7 % 20);
  worker.join();
}

// Cannot be decoded while its number is `refused`.
struct Failing {
  static inline int refused = -1;
  int priority = 0;
  int number = 0;
  template <class Archive>
  void save(Archive& archive) const {
    archive(priority, number);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(priority, number);
    if (number == refused) throw std::runtime_error("will not be loaded");
  }
  bool operator<(const Failing& other) const { return priority < other.priority; }
};

TEST_F(PriorityQueueItemTest, ItemThatCannotBeDecodedComesFirst) {
  Failing::refused = 3;
  PriorityQueue<Failing> queue;
  for (int i = 0; i < 7; ++i) queue.put({i, i});
  EXPECT_THROW(static_cast<void>(queue.get_many(9)), std::runtime_error);
  std::vector<int> numbers;
  for (const Failing& item : queue.get_many(9)) numbers.push_back(item.number);
  EXPECT_EQ(numbers, (std::vector{0, 1, 2, 4, 5, 6}));
  Failing::refused = -1;
}

TEST_F(PriorityQueueItemTest, WhatGetManyHandsBackIsInFrontOfEqualOnesPutLater) {
  PriorityQueue<Failing> queue;
  for (int i = 0; i < 5; ++i) queue.put({1, i});
  Failing::refused = 1;  // From now on.
  EXPECT_EQ(queue.get_many(5).size(), 1U);
  Failing::refused = -1;
  queue.put({1, 5});
  queue.put({0, 6});
  std::vector<int> numbers;
  for (const Failing& item : queue.get_many(9)) numbers.push_back(item.number);
  EXPECT_EQ(numbers, (std::vector{6, 1, 2, 3, 4, 5}));
}

}  // namespace
}  // namespace tandem
