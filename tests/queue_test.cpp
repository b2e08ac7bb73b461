// Queues of any kind between two sides, the second of which is a thread or a process: put and get in all their forms,
// size, order.
#include <gtest/gtest.h>

#include <algorithm>
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

#include "support/queue_kinds.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Worker;
using Clock = std::chrono::steady_clock;

class QueueTest : public testing::EveryQueueTest {};
TANDEM_TEST_EVERY_QUEUE(QueueTest);

using testing::as_raced;
using testing::as_taken;
using testing::drain;
using testing::numbers;
using testing::put_range;

template <class Q>
void take(Q queue, int count, Queue<int> taken) {
  for (int i = 0; i < count; ++i) taken.put(queue.get());
}

// QUE-01
TANDEM_QUEUE_TEST(QueueTest, PutWaitsGivesUpOrRefusesWhenFull) {
  AnyQueue<int> queue(6);
  Queue<int> taken;
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

  Worker worker(where, take<AnyQueue<int>>, queue, 7, taken);
  worker.start();
  queue.put(7);  // Waits until the other side has taken one.
  worker.join();
  EXPECT_EQ(as_raced<AnyQueue>(drain(taken)), numbers(1, 8));
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
}

// QUE-02
TANDEM_QUEUE_TEST(QueueTest, GetWaitsGivesUpOrFindsNothingWhenEmpty) {
  AnyQueue<int> queue;
  EXPECT_EQ(queue.try_get(), std::nullopt);
  EXPECT_EQ(queue.get_for(0s), std::nullopt);
  const auto before = Clock::now();
  EXPECT_EQ(queue.get_for(60ms), std::nullopt);
  EXPECT_GE(Clock::now() - before, 60ms);

  Worker worker(where, put_range<AnyQueue<int>>, queue, 0, 5);
  worker.start();
  std::vector<int> got{queue.get()};
  got.push_back(queue.get_for(1h).value());
  worker.join();
  got.push_back(queue.try_get().value());
  got.push_back(queue.get_for(0s).value());
  ASSERT_EQ(queue.size(), 1U);
  got.push_back(queue.get_many(9).at(0));
  EXPECT_EQ(as_raced<AnyQueue>(got), numbers(0, 5));
  EXPECT_EQ(queue.try_get(), std::nullopt);
}

// QUE-03, QUE-55
TANDEM_QUEUE_TEST(QueueTest, WorkerStartedAfterUsePutsBehindWhatWasThere) {
  AnyQueue<int> queue;
  put_range(queue, 0, 10);
  std::vector<int> expected = numbers(0, 10);
  EXPECT_EQ(queue.get(), as_taken<AnyQueue>(expected)[0]);
  expected.erase(std::ranges::find(expected, as_taken<AnyQueue>(expected)[0]));
  Worker worker(where, put_range<AnyQueue<int>>, queue, 10, 20);
  worker.start();
  worker.join();
  for (int i = 10; i < 20; ++i) expected.push_back(i);
  EXPECT_EQ(drain(queue), as_taken<AnyQueue>(expected));
}

// QUE-04
TANDEM_QUEUE_TEST(QueueTest, SizeFollowsPutAndGet) {
  AnyQueue<int> queue;
  Queue<int> taken;
  EXPECT_EQ(queue.size(), 0U);
  Worker putter(where, put_range<AnyQueue<int>>, queue, 0, 3);
  putter.start();
  putter.join();
  EXPECT_EQ(queue.size(), 3U);
  Worker taker(where, take<AnyQueue<int>>, queue, 2, taken);
  taker.start();
  taker.join();
  EXPECT_EQ(queue.size(), 1U);
  EXPECT_EQ(queue.get(), as_taken<AnyQueue>(numbers(0, 3))[2]);
  EXPECT_EQ(queue.size(), 0U);
}

template <class Q>
void measure_get_for(Q nothing, Queue<std::int64_t> waited_ns) {
  const auto before = Clock::now();
  if (nothing.get_for(250ms)) throw std::logic_error("got what was never put");
  waited_ns.put(std::chrono::nanoseconds(Clock::now() - before).count());
}

// QUE-05
TANDEM_QUEUE_TEST(QueueTest, TimedGetNeverReturnsEarly) {
  AnyQueue<int> nothing;
  Queue<std::int64_t> waited_ns;
  Worker worker(where, measure_get_for<AnyQueue<int>>, nothing, waited_ns);
  worker.start();
  worker.join();
  EXPECT_GE(waited_ns.get(), std::chrono::nanoseconds(250ms).count());
}

template <class Q>
void tell_whether_empty(Q queue, Queue<bool> answers) {
  answers.put(queue.empty());
}

// QUE-11, QUE-48
TANDEM_QUEUE_TEST(QueueTest, EmptinessIsSeenByTheOtherSide) {
  AnyQueue<int> queue;
  Queue<bool> answers;
  const auto ask = [&] {
    Worker worker(where, tell_whether_empty<AnyQueue<int>>, queue, answers);
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
TANDEM_QUEUE_TEST(QueueTest, BlockedPutAndBlockedGetReleaseEachOther) {
  // Twice with one queue: it is as new when it is empty again.
  AnyQueue<int> queue(1);
  Queue<int> taken;
  for (int round = 0; round < 2; ++round) {
    {
      Worker taker(where, take<AnyQueue<int>>, queue, 20, taken);
      taker.start();
      put_range(queue, 0, 20);  // Blocks again and again, for there is room for one.
      taker.join();
      for (int i = 0; i < 20; ++i) EXPECT_EQ(taken.get(), i);
    }
    Worker putter(where, put_range<AnyQueue<int>>, queue, 0, 20);
    putter.start();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(queue.get(), i);
    putter.join();
    EXPECT_TRUE(queue.empty());
  }
}

template <class Q>
void refuse_negative_timeouts(Q queue) {
  EXPECT_THROW(static_cast<void>(queue.put_for(1, -1ns)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(queue.get_for(-1s)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(queue.get_many_for(3, -1ms)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(queue.join_for(-1h)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(queue.get_for(std::chrono::duration<double>(-0.5))), std::invalid_argument);
  if (::testing::Test::HasFailure()) throw std::logic_error("a negative timeout was accepted");
  queue.put(static_cast<int>(queue.size()));
}

// QUE-15, QUE-33
TANDEM_QUEUE_TEST(QueueTest, NegativeTimeoutIsAnErrorBeforeAnySideEffect) {
  AnyQueue<int> queue;
  Worker worker(where, refuse_negative_timeouts<AnyQueue<int>>, queue);
  worker.start();
  worker.join();
  EXPECT_EQ(queue.try_get(), 0);
  EXPECT_EQ(queue.try_get(), std::nullopt);
}

template <class Q>
void fill_without_waiting(Q queue, Queue<int> refused_at) {
  int i = 0;
  while (queue.try_put(i)) ++i;
  refused_at.put(i);
}

// QUE-16, QUE-53
TANDEM_QUEUE_TEST(QueueTest, WithoutWaitingTheBoundsAreSeenAtOnce) {
  AnyQueue<int> queue(5);
  Queue<int> refused_at;
  Worker worker(where, fill_without_waiting<AnyQueue<int>>, queue, refused_at);
  worker.start();
  worker.join();
  EXPECT_EQ(refused_at.get(), 5);
  for (int i : as_taken<AnyQueue>(numbers(0, 5))) EXPECT_EQ(queue.try_get(), i);
  EXPECT_EQ(queue.try_get(), std::nullopt);
  EXPECT_TRUE(queue.try_put(9));
}

template <class Q>
void echo(Q there, Queue<int> back) {
  for (int i : there) back.put(i);
  back.close();
}

// QUE-32, QUE-40
TANDEM_QUEUE_TEST(QueueTest, UnboundedQueueTakesAllAndGivesAll) {
  AnyQueue<int> there;
  Queue<int> back;
  constexpr int kMany = 10'000;
  put_range(there, 0, kMany);  // Without a reader.
  EXPECT_EQ(there.size(), static_cast<std::size_t>(kMany));
  EXPECT_FALSE(there.full());
  EXPECT_EQ(there.capacity(), 0U);
  there.close();
  Worker worker(where, echo<AnyQueue<int>>, there, back);
  worker.start();
  std::vector<int> came;
  for (int i : back) came.push_back(i);
  EXPECT_EQ(came, as_taken<AnyQueue>(numbers(0, kMany)));
  worker.join();
}

// QUE-34, QUE-54
TANDEM_QUEUE_TEST(QueueTest, OneProducerAndOneConsumerKeepTheOrder) {
  for (std::size_t capacity : {0, 1, 10}) {
    AnyQueue<int> queue(capacity);
    Worker worker(where, put_range<AnyQueue<int>>, queue, 0, 3000);
    worker.start();
    std::vector<int> got;
    while (got.size() < 3000) got.push_back(queue.get());
    EXPECT_EQ(as_raced<AnyQueue>(got), numbers(0, 3000));
    worker.join();
    EXPECT_TRUE(queue.empty());
  }
}

template <class Q>
void drop_a_handle(Q queue) {
  static_cast<void>(queue.get());
}

// QUE-38
TANDEM_QUEUE_TEST(QueueTest, TakenItemIsLetGoOf) {
  AnyQueue<AnyQueue<std::string>> outer;
  // With a first item: what a queue keeps for reuse is there, and the worker's record.
  const auto pass_one = [&] {
    AnyQueue<std::string> inner;
    inner.put(std::string(1 << 20, 'x'));
    outer.put(inner);
    Worker worker(where, drop_a_handle<AnyQueue<AnyQueue<std::string>>>, outer);
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

template <class Q>
void send_back(Q there, Q back) {
  back.put(there.get());
}

// QUE-45
TANDEM_QUEUE_TEST(QueueTest, MixedStructureSurvivesTheRoundTrip) {
  const Mixed message{{{"a", {1.5, -2}}, {"", {}}}, std::nullopt, "text\0 with zero", {1, 2, 255}};
  AnyQueue<Mixed> there, back;
  Worker worker(where, send_back<AnyQueue<Mixed>>, there, back);
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

template <class Q>
void open_sealed(Q sealed, Queue<std::string> texts) {
  for (const Sealed& one : sealed) texts.put(one.text);
}

// QUE-56
TANDEM_QUEUE_TEST(QueueTest, UsersOwnFunctionsAreUsedForEveryItem) {
  AnyQueue<Sealed> sealed;
  Queue<std::string> texts;
  const int before = Sealed::times_saved;
  sealed.put({"abc"});
  sealed.put_many(std::vector<Sealed>{{"def"}, {""}});
  EXPECT_EQ(Sealed::times_saved, before + 3);
  sealed.close();
  Worker worker(where, open_sealed<AnyQueue<Sealed>>, sealed, texts);
  worker.start();
  worker.join();
  EXPECT_EQ(texts.get_many(9), as_taken<AnyQueue>(std::vector<std::string>{"opened: abc", "opened: def", "opened: "}));
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
