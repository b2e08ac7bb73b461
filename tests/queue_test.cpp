// Queue between two sides, the second of which is a thread or a process: put and get in all their forms, size, order.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/queue.hpp>

#include "support/where.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Worker;
using Clock = std::chrono::steady_clock;

class QueueTest : public testing::EverywhereTest {};
TANDEM_TEST_EVERYWHERE(QueueTest);

void take(Queue<int> queue, int count, Queue<int> taken) {
  for (int i = 0; i < count; ++i) taken.put(queue.get());
}

void put_range(Queue<int> queue, int first, int last) {
  for (int i = first; i < last; ++i) queue.put(i);
}

// QUE-01
TEST_P(QueueTest, PutWaitsGivesUpOrRefusesWhenFull) {
  Queue<int> queue(6), taken;
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
  queue.put(1);
  EXPECT_TRUE(queue.put_for(2, 1h));
  EXPECT_TRUE(queue.put_for(3, 0s));
  EXPECT_TRUE(queue.try_put(4));
  queue.put_many(std::vector{5, 6});
  EXPECT_TRUE(queue.full());
  EXPECT_FALSE(queue.empty());

  EXPECT_FALSE(queue.try_put(7));
  EXPECT_FALSE(queue.put_for(7, 0s));
  const auto before = Clock::now();
  EXPECT_FALSE(queue.put_for(7, 60ms));
  EXPECT_GE(Clock::now() - before, 60ms);
  EXPECT_EQ(queue.size(), 6U);

  Worker worker(GetParam(), take, queue, 7, taken);
  worker.start();
  queue.put(7);  // Waits until the other side has taken one.
  worker.join();
  for (int i = 1; i <= 7; ++i) EXPECT_EQ(taken.get(), i);
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
}

// QUE-02
TEST_P(QueueTest, GetWaitsGivesUpOrFindsNothingWhenEmpty) {
  Queue<int> queue;
  EXPECT_EQ(queue.try_get(), std::nullopt);
  EXPECT_EQ(queue.get_for(0s), std::nullopt);
  const auto before = Clock::now();
  EXPECT_EQ(queue.get_for(60ms), std::nullopt);
  EXPECT_GE(Clock::now() - before, 60ms);

  Worker worker(GetParam(), put_range, queue, 0, 5);
  worker.start();
  EXPECT_EQ(queue.get(), 0);
  EXPECT_EQ(queue.get_for(1h), 1);
  worker.join();
  EXPECT_EQ(queue.try_get(), 2);
  EXPECT_EQ(queue.get_for(0s), 3);
  EXPECT_EQ(queue.get_many(9), std::vector{4});
  EXPECT_EQ(queue.try_get(), std::nullopt);
}

// QUE-03, QUE-55
TEST_P(QueueTest, WorkerStartedAfterUsePutsBehindWhatWasThere) {
  Queue<int> queue;
  put_range(queue, 0, 10);
  EXPECT_EQ(queue.get(), 0);
  Worker worker(GetParam(), put_range, queue, 10, 20);
  worker.start();
  worker.join();
  for (int i = 1; i < 20; ++i) EXPECT_EQ(queue.get(), i);
  EXPECT_EQ(queue.try_get(), std::nullopt);
}

// QUE-04
TEST_P(QueueTest, SizeFollowsPutAndGet) {
  Queue<int> queue, taken;
  EXPECT_EQ(queue.size(), 0U);
  Worker putter(GetParam(), put_range, queue, 0, 3);
  putter.start();
  putter.join();
  EXPECT_EQ(queue.size(), 3U);
  Worker taker(GetParam(), take, queue, 2, taken);
  taker.start();
  taker.join();
  EXPECT_EQ(queue.size(), 1U);
  EXPECT_EQ(queue.get(), 2);
  EXPECT_EQ(queue.size(), 0U);
}

void measure_get_for(Queue<int> nothing, Queue<std::int64_t> waited_ns) {
  const auto before = Clock::now();
  if (nothing.get_for(250ms)) throw std::logic_error("got what was never put");
  waited_ns.put(std::chrono::nanoseconds(Clock::now() - before).count());
}

// QUE-05
TEST_P(QueueTest, TimedGetNeverReturnsEarly) {
  Queue<int> nothing;
  Queue<std::int64_t> waited_ns;
  Worker worker(GetParam(), measure_get_for, nothing, waited_ns);
  worker.start();
  worker.join();
  EXPECT_GE(waited_ns.get(), std::chrono::nanoseconds(250ms).count());
}

void tell_whether_empty(Queue<int> queue, Queue<bool> answers) {
  answers.put(queue.empty());
}

// QUE-11, QUE-48
TEST_P(QueueTest, EmptinessIsSeenByTheOtherSide) {
  Queue<int> queue;
  Queue<bool> answers;
  const auto ask = [&] {
    Worker worker(GetParam(), tell_whether_empty, queue, answers);
    worker.start();
    worker.join();
    return answers.get();
  };
  EXPECT_TRUE(ask());
  queue.put(1);
  EXPECT_FALSE(ask());
  EXPECT_EQ(queue.get(), 1);
  EXPECT_TRUE(ask());
}

// QUE-14
TEST_P(QueueTest, BlockedPutAndBlockedGetReleaseEachOther) {
  // Twice with one queue: it is as new when it is empty again.
  Queue<int> queue(1), taken;
  for (int round = 0; round < 2; ++round) {
    {
      Worker taker(GetParam(), take, queue, 20, taken);
      taker.start();
      put_range(queue, 0, 20);  // Blocks again and again, for there is room for one.
      taker.join();
      for (int i = 0; i < 20; ++i) EXPECT_EQ(taken.get(), i);
    }
    Worker putter(GetParam(), put_range, queue, 0, 20);
    putter.start();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(queue.get(), i);
    putter.join();
    EXPECT_TRUE(queue.empty());
  }
}

void refuse_negative_timeouts(Queue<int> queue) {
  EXPECT_THROW(static_cast<void>(queue.put_for(1, -1ns)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(queue.get_for(-1s)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(queue.get_many_for(3, -1ms)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(queue.join_for(-1h)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(queue.get_for(std::chrono::duration<double>(-0.5))), std::invalid_argument);
  if (::testing::Test::HasFailure()) throw std::logic_error("a negative timeout was accepted");
  queue.put(static_cast<int>(queue.size()));
}

// QUE-15, QUE-33
TEST_P(QueueTest, NegativeTimeoutIsAnErrorBeforeAnySideEffect) {
  Queue<int> queue;
  Worker worker(GetParam(), refuse_negative_timeouts, queue);
  worker.start();
  worker.join();
  EXPECT_EQ(queue.try_get(), 0);
  EXPECT_EQ(queue.try_get(), std::nullopt);
}

void fill_without_waiting(Queue<int> queue, Queue<int> refused_at) {
  int i = 0;
  while (queue.try_put(i)) ++i;
  refused_at.put(i);
}

// QUE-16, QUE-53
TEST_P(QueueTest, WithoutWaitingTheBoundsAreSeenAtOnce) {
  Queue<int> queue(5), refused_at;
  Worker worker(GetParam(), fill_without_waiting, queue, refused_at);
  worker.start();
  worker.join();
  EXPECT_EQ(refused_at.get(), 5);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(queue.try_get(), i);
  EXPECT_EQ(queue.try_get(), std::nullopt);
  EXPECT_TRUE(queue.try_put(9));
}

void echo(Queue<int> there, Queue<int> back) {
  for (int i : there) back.put(i);
  back.close();
}

// QUE-32, QUE-40
TEST_P(QueueTest, UnboundedQueueTakesAllAndGivesAll) {
  Queue<int> there, back;
  constexpr int kMany = 10'000;
  put_range(there, 0, kMany);  // Without a reader.
  EXPECT_EQ(there.size(), static_cast<std::size_t>(kMany));
  EXPECT_FALSE(there.full());
  EXPECT_EQ(there.capacity(), 0U);
  there.close();
  Worker worker(GetParam(), echo, there, back);
  worker.start();
  int expected = 0;
  for (int i : back) EXPECT_EQ(i, expected++);
  EXPECT_EQ(expected, kMany);
  worker.join();
}

// QUE-34, QUE-54
TEST_P(QueueTest, OneProducerAndOneConsumerKeepTheOrder) {
  for (std::size_t capacity : {0, 1, 10}) {
    Queue<int> queue(capacity);
    Worker worker(GetParam(), put_range, queue, 0, 3000);
    worker.start();
    for (int i = 0; i < 3000; ++i) ASSERT_EQ(queue.get(), i);
    worker.join();
    EXPECT_TRUE(queue.empty());
  }
}

void drop_a_handle(Queue<Queue<std::string>> queue) {
  static_cast<void>(queue.get());
}

// QUE-38
TEST_P(QueueTest, TakenItemIsLetGoOf) {
  Queue<Queue<std::string>> outer;
  // With a first item: what a queue keeps for reuse is there, and the worker's record.
  const auto pass_one = [&] {
    Queue<std::string> inner;
    inner.put(std::string(1 << 20, 'x'));
    outer.put(inner);
    Worker worker(GetParam(), drop_a_handle, outer);
    worker.start();
    worker.join();
  };
  pass_one();
  const std::size_t before = arena_usage().in_use_bytes;
  pass_one();
  EXPECT_LT(arena_usage().in_use_bytes, before + (1 << 20));
}

using Mixed = std::tuple<std::map<std::string, std::vector<double>>, std::optional<int>,
                         std::variant<std::monostate, std::string, std::int64_t>, std::array<std::uint8_t, 3>>;

void send_back(Queue<Mixed> there, Queue<Mixed> back) {
  back.put(there.get());
}

// QUE-45
TEST_P(QueueTest, MixedStructureSurvivesTheRoundTrip) {
  const Mixed message{{{"a", {1.5, -2}}, {"", {}}}, std::nullopt, "text\0 with zero", {1, 2, 255}};
  Queue<Mixed> there, back;
  Worker worker(GetParam(), send_back, there, back);
  worker.start();
  there.put(message);
  EXPECT_EQ(back.get(), message);
  worker.join();
}

// Brings its own way of travelling: encrypted, so to speak.
struct Sealed {
  std::string text;
  static inline std::atomic<int> times_saved{0};
  template <class Archive>
  void save(Archive& archive) const {
    ++times_saved;
    archive(std::string(text.rbegin(), text.rend()));
  }
  template <class Archive>
  void load(Archive& archive) {
    std::string reversed;
    archive(reversed);
    text = "opened: " + std::string(reversed.rbegin(), reversed.rend());
  }
};

void open_sealed(Queue<Sealed> sealed, Queue<std::string> texts) {
  for (const Sealed& one : sealed) texts.put(one.text);
}

// QUE-56
TEST_P(QueueTest, UsersOwnFunctionsAreUsedForEveryItem) {
  Queue<Sealed> sealed;
  Queue<std::string> texts;
  const int before = Sealed::times_saved;
  sealed.put({"abc"});
  sealed.put_many(std::vector<Sealed>{{"def"}, {""}});
  EXPECT_EQ(Sealed::times_saved, before + 3);
  sealed.close();
  Worker worker(GetParam(), open_sealed, sealed, texts);
  worker.start();
  worker.join();
  EXPECT_EQ(texts.get_many(9), (std::vector<std::string>{"opened: abc", "opened: def", "opened: "}));
}

class QueueBytesTest : public testing::LeakCheckedTest {};

// QUE-49
TEST_F(QueueBytesTest, BytesHeldAreReportedAndGrow) {
  Queue<std::string> queue;
  std::size_t before = arena_usage().in_use_bytes;
  for (int i = 0; i < 5; ++i) {
    queue.put(std::string(100'000, 'x'));
    const std::size_t now = arena_usage().in_use_bytes;
    EXPECT_GE(now, before + 100'000);
    before = now;
  }
  for (int i = 0; i < 5; ++i) static_cast<void>(queue.get());
  EXPECT_LE(arena_usage().in_use_bytes, before - 500'000);
}

}  // namespace
}  // namespace tandem
