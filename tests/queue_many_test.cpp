// Queues of any kind with many producers and consumers, many items at once, large ones, and items whose own code throws
// or comes back.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <tandem/queue.hpp>

#include "support/queue_kinds.hpp"
#include "support/random.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::put_range;
using testing::Where;
using testing::Worker;

class QueueManyTest : public testing::EveryQueueTest {
 protected:
  std::chrono::seconds time_limit() const override { return 100s; }
};
TANDEM_TEST_EVERY_QUEUE(QueueManyTest);
// What only a first-in first-out queue promises.
class QueueManyInOrderTest : public testing::EverywhereTest {
 protected:
  std::chrono::seconds time_limit() const override { return 100s; }
};
TANDEM_TEST_EVERYWHERE(QueueManyInOrderTest);
class QueueBatchTest : public testing::LeakCheckedTest {};

enum class Getting : std::uint8_t { Waiting, Trying, Timed };

// Takes until closed and drained, in one of the three ways, and hands on what it took.
template <class Q>
void take_all(Q queue, Getting getting, Queue<std::vector<int>> results) {
  std::vector<int> taken;
  try {
    for (;;) {
      std::optional<int> item;
      if (getting == Getting::Waiting) item = queue.get();
      if (getting == Getting::Trying) item = queue.try_get();
      if (getting == Getting::Timed) item = queue.get_for(10us);
      if (item) taken.push_back(*item);
    }
  } catch (const QueueClosed&) {
  }
  results.put(taken);
}

// Nothing lost, nothing twice: every number of [0, count) has come once.
void expect_each_once(Queue<std::vector<int>>& results, int count) {
  std::vector<int> times(static_cast<std::size_t>(count), 0);
  while (const auto taken = results.try_get())
    for (int i : *taken) ++times.at(static_cast<std::size_t>(i));
  EXPECT_EQ(times, std::vector<int>(static_cast<std::size_t>(count), 1));
}

// 50 producers and 50 consumers of 10,000 items; fewer where a process costs a whole program.
template <class Q>
void pass_through_a_crowd(Where where, Getting getting) {
  const int side = testing::kSanitized || where == Where::Spawn ? 10 : 50;
  constexpr int kItems = 10'000;
  Q queue;
  Queue<std::vector<int>> results;
  std::deque<Worker> consumers, producers;
  for (int i = 0; i < side; ++i) consumers.emplace_back(where, take_all<Q>, queue, getting, results).start();
  for (int i = 0; i < side; ++i)
    producers.emplace_back(where, put_range<Q>, queue, kItems / side * i, kItems / side * (i + 1)).start();
  for (Worker& producer : producers) producer.join();
  queue.close();
  for (Worker& consumer : consumers) consumer.join();
  EXPECT_EQ(results.size(), static_cast<std::size_t>(side));
  expect_each_once(results, kItems);
}

// QUE-35
TANDEM_QUEUE_TEST(QueueManyTest, CrowdLosesNothing) {
  pass_through_a_crowd<AnyQueue<int>>(where, Getting::Waiting);
}
// QUE-36
TANDEM_QUEUE_TEST(QueueManyTest, CrowdThatTriesLosesNothing) {
  pass_through_a_crowd<AnyQueue<int>>(where, Getting::Trying);
}
// QUE-37
TANDEM_QUEUE_TEST(QueueManyTest, CrowdWithShortTimeoutsLosesNothing) {
  pass_through_a_crowd<AnyQueue<int>>(where, Getting::Timed);
}

void put_messages(Queue<std::uint64_t> queue, int producer, int count) {
  for (int i = 0; i < count; ++i) queue.put(static_cast<std::uint64_t>(producer) << 32 | static_cast<unsigned>(i));
}

// Checks that each producer's messages come in order as far as they come here; hands on how many came.
void count_messages(Queue<std::uint64_t> queue, Queue<std::int64_t> counts) {
  std::vector<std::int64_t> last(100, -1);
  std::int64_t count = 0;
  for (const std::uint64_t message : queue) {
    std::int64_t& before = last.at(message >> 32);
    const auto number = static_cast<std::int64_t>(message & 0xffffffff);
    if (number <= before) throw std::logic_error("messages of one producer came in another order");
    before = number;
    ++count;
  }
  counts.put(count);
}

// QUE-41
TEST_P(QueueManyInOrderTest, TwentyProducersAndThreeConsumersOfTwoMillionMessages) {
  const int messages = testing::kSanitized ? 2'001 : 100'001;
  Queue<std::uint64_t> queue;
  Queue<std::int64_t> counts;
  std::deque<Worker> consumers, producers;
  for (int i = 0; i < 3; ++i) consumers.emplace_back(GetParam(), count_messages, queue, counts).start();
  for (int i = 0; i < 20; ++i) producers.emplace_back(GetParam(), put_messages, queue, i, messages).start();
  for (Worker& producer : producers) producer.join();
  queue.close();
  for (Worker& consumer : consumers) consumer.join();
  std::int64_t total = 0;
  for (int i = 0; i < 3; ++i) total += counts.try_get().value_or(0);
  EXPECT_EQ(total, std::int64_t{20} * messages);
}

// A message of a size and content that a seed gives.
std::string message_of(std::uint64_t seed, std::size_t largest) {
  std::mt19937_64 engine(seed);
  std::string message(engine() % largest, '\0');
  for (std::size_t i = 0; i + 8 <= message.size(); i += 8) {
    const std::uint64_t word = engine();
    std::memcpy(message.data() + i, &word, 8);
  }
  return message;
}

using Seeded = std::pair<std::uint64_t, std::string>;
constexpr std::size_t kLargest = 10 << 20;

template <class Q>
void put_seeded(Q queue, std::uint64_t first, int count) {
  for (std::uint64_t seed = first; seed < first + static_cast<unsigned>(count); ++seed)
    queue.put({seed, message_of(seed, kLargest)});
}

// QUE-43
TANDEM_QUEUE_TEST(QueueManyTest, MessagesOfAnySizeUpToTenMegabytesArriveWhole) {
  const int count = testing::kSanitized ? 3 : 15;
  const std::uint64_t first = testing::random_engine()();
  AnyQueue<Seeded> queue(4);
  Worker a(where, put_seeded<AnyQueue<Seeded>>, queue, first, count);
  Worker b(where, put_seeded<AnyQueue<Seeded>>, queue, first + 1000, count);
  a.start();
  b.start();
  for (int i = 0; i < 2 * count; ++i) {
    const auto [seed, message] = queue.get();
    EXPECT_TRUE(message == message_of(seed, kLargest)) << "seed " << seed;
  }
  a.join();
  b.join();
}

void put_batches(Queue<std::string> queue, int batches) {
  for (int batch = 0; batch < batches; ++batch) {
    std::vector<std::string> items;
    for (int i = 0; i < 100; ++i) items.push_back(std::to_string(batch * 100 + i) + std::string(batch % 3 * 100, '.'));
    queue.put_many(items);
  }
  queue.close();
}

// QUE-46
TEST_P(QueueManyInOrderTest, BatchesKeepContentsAndOrder) {
  for (const std::size_t capacity : {0, 30}) {
    Queue<std::string> queue(capacity);
    Worker worker(GetParam(), put_batches, queue, 20);
    worker.start();
    int next = 0;
    try {
      for (;;) {
        const std::vector<std::string> items = queue.get_many(37);
        ASSERT_GE(items.size(), 1U);
        ASSERT_LE(items.size(), 37U);
        for (const std::string& item : items) {
          EXPECT_EQ(item, std::to_string(next) + std::string(next / 100 % 3 * 100, '.'));
          ++next;
        }
      }
    } catch (const QueueClosed&) {
    }
    EXPECT_EQ(next, 2000);
    worker.join();
  }
  Queue<std::vector<std::string>> containers;
  containers.put({"one", "message"});
  EXPECT_EQ(containers.get(), (std::vector<std::string>{"one", "message"}));
}

// QUE-51
TANDEM_QUEUE_TEST(QueueManyTest, MixedUseWithTimeouts) {
  AnyQueue<int> queue;
  EXPECT_TRUE(queue.get_many_for(5, 1ms).empty());
  EXPECT_TRUE(queue.get_many_for(0, 1h).empty());
  EXPECT_TRUE(queue.get_many(0).empty());
  Worker worker(where, put_range<AnyQueue<int>>, queue, 0, 100);
  worker.start();
  std::vector<int> got;
  const auto add = [&](const std::vector<int>& items) { got.insert(got.end(), items.begin(), items.end()); };
  while (got.size() < 90) {
    add({queue.get()});
    if (const auto item = queue.get_for(1us)) add({*item});
    if (const auto item = queue.try_get()) add({*item});
    add(queue.get_many_for(4, 1ms));
  }
  while (got.size() < 100) add(queue.get_many(3));
  EXPECT_EQ(testing::as_raced<AnyQueue>(got), testing::numbers(0, 100));
  worker.join();
  EXPECT_TRUE(queue.empty());
}

// Throws where it is told to.
struct Failing {
  enum When : std::uint8_t { Never, Saved, Loaded };
  int number = 0;
  When when = Never;
  std::string padding{};
  template <class Archive>
  void save(Archive& archive) const {
    if (when == Saved) throw std::runtime_error("will not be saved");
    archive(number, when, padding);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(number, when, padding);
    if (when == Loaded) throw std::runtime_error("will not be loaded");
  }
  bool operator<(const Failing& other) const { return number < other.number; }
};

template <class Q>
void take_failing(Q queue, Queue<int> numbers) {
  try {
    for (;;) {
      try {
        numbers.put(queue.get().number);
      } catch (const std::runtime_error& error) {
        if (dynamic_cast<const QueueClosed*>(&error) != nullptr) throw;
        numbers.put(-1);
      }
      queue.task_done();
    }
  } catch (const QueueClosed&) {
  }
}

// QUE-06, QUE-31
TANDEM_QUEUE_TEST(QueueManyTest, ItemThatThrowsLeavesQueueAndWaitersConsistent) {
  for (const std::size_t size : {10, 100'000}) {
    const std::string padding(size, 'x');
    AnyQueue<Failing> queue(1);
    Queue<int> numbers;
    Worker worker(where, take_failing<AnyQueue<Failing>>, queue, numbers);
    EXPECT_THROW(queue.put({1, Failing::Saved, padding}), std::runtime_error);
    EXPECT_EQ(queue.size(), 0U);
    EXPECT_FALSE(queue.full());
    queue.put({2, Failing::Never, padding});
    EXPECT_THROW(static_cast<void>(queue.try_put({3, Failing::Saved, padding})), std::runtime_error);
    worker.start();
    queue.put({4, Failing::Loaded, padding});
    queue.put({5, Failing::Never, padding});
    queue.join();
    EXPECT_EQ(numbers.get_many(9), (std::vector{2, -1, 5}));
    EXPECT_THROW(queue.task_done(), std::logic_error);
    queue.close();
    worker.join();
  }
}

// get_many() must not lose what it had taken before an item that fails.
TEST_F(QueueBatchTest, GetManyReturnsWhatCameBeforeAnItemThatFails) {
  Queue<Failing> queue;
  for (int i = 0; i < 5; ++i) queue.put({i, i == 2 ? Failing::Loaded : Failing::Never});
  const std::vector<Failing> first = queue.get_many(10);
  ASSERT_EQ(first.size(), 2U);
  EXPECT_EQ(first[1].number, 1);
  EXPECT_EQ(queue.size(), 3U);
  EXPECT_THROW(static_cast<void>(queue.get_many(10)), std::runtime_error);
  const std::vector<Failing> rest = queue.get_many(10);
  ASSERT_EQ(rest.size(), 2U);
  EXPECT_EQ(rest[0].number, 3);
  for (int i = 0; i < 5; ++i) queue.task_done();
  EXPECT_TRUE(queue.join_for(0s));
}

// Uses the queue that it travels through, on its way in and out and at its end.
struct Reentrant {
  static inline std::function<void(int depth)> put;
  static inline std::function<void()> take;
  int depth = 0;
  template <class Archive>
  void save(Archive& archive) const {
    if (depth > 0) put(depth - 1);
    archive(depth);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(depth);
    if (depth == 2) take();
  }
  ~Reentrant() {
    if (depth == 5) put(0);
  }
};

// QUE-39
TEST_F(QueueBatchTest, PutAndGetMayBeCalledInsidePutAndGet) {
  Queue<Reentrant> queue;
  Reentrant::put = [&](int depth) { queue.put({depth}); };
  Reentrant::take = [&] { static_cast<void>(queue.try_get()); };
  queue.put({3});
  EXPECT_EQ(queue.size(), 4U);  // 0, 1, 2, 3
  EXPECT_EQ(queue.get().depth, 0);
  EXPECT_EQ(queue.get().depth, 1);
  EXPECT_EQ(queue.get().depth, 2);  // takes 3 meanwhile
  EXPECT_TRUE(queue.empty());
  {
    Reentrant at_its_end{5};
  }
  EXPECT_EQ(queue.get().depth, 0);
}

}  // namespace
}  // namespace tandem
