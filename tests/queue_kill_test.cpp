// A process is killed at each point inside each member of queues of any kind; the others go on as the header promises.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/queue.hpp>

#include "core/kill_point.hpp"
#include "support/kill_points.hpp"
#include "support/queue_kinds.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::as_taken;
using testing::drain;
using testing::for_each_kill_point;

// Longer than a death needs to be noticed; a promise kept sooner ends the wait.
constexpr auto kSoon = 60s;

class QueueKillTest : public testing::EveryQueueTest {
 protected:
  void SetUp() override {
    if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
    testing::EveryQueueTest::SetUp();
  }
  std::chrono::seconds time_limit() const override { return 180s; }
};
TANDEM_TEST_EVERY_QUEUE_KIND(QueueKillTest);

// Kills `body` at each of its points, with a queue made anew by `make` each time, then asks `check` about the queue.
// After that no byte of the arena may be left.
template <class Q>
void kill_everywhere(std::size_t at_least, const std::function<Q()>& make, const std::function<void(Q)>& body,
                     const std::function<void(Q, const std::string&)>& check, std::size_t step = 1) {
  const std::size_t before = arena_usage().in_use_bytes;
  std::optional<Q> queue = make();
  const auto points = for_each_kill_point([&] { body(*queue); },
                                          [&](const std::string& at) {
                                            SCOPED_TRACE("killed at " + at);
                                            check(*queue, at);
                                            queue.reset();
                                            ASSERT_EQ(arena_usage().in_use_bytes, before);
                                            queue = make();
                                          },
                                          step);
  EXPECT_GE(points.size() * step, at_least) << "the points inside the call are not compiled in any more";
  queue.reset();
  EXPECT_EQ(arena_usage().in_use_bytes, before);
}

// From this point on what was put must be there, for its putter is as good as through.
bool was_put() {
  return testing::killed_had_passed("queue.put.committed");
}

// What a queue of numbers must hold after a producer of 3 was killed: what was there, then 3 or not, then 4.
template <template <class> class AnyQueue>
void expect_put_is_whole(AnyQueue<int> queue) {
  ASSERT_TRUE(queue.put_for(4, kSoon));
  const std::vector<int> items = drain(queue);
  if (was_put() || items.size() == 4) {
    EXPECT_EQ(items, as_taken<AnyQueue>(std::vector{1, 2, 3, 4}));
  } else {
    EXPECT_EQ(items, as_taken<AnyQueue>(std::vector{1, 2, 4}));
  }
}

template <class Q>
Q queue_of_1_and_2() {
  Q queue;
  queue.put(1);
  queue.put(2);
  return queue;
}

TANDEM_QUEUE_TEST(QueueKillTest, PutOfASmallItemIsAllOrNothing) {
  kill_everywhere<AnyQueue<int>>(
      10, queue_of_1_and_2<AnyQueue<int>>, [](AnyQueue<int> queue) { queue.put(3); },
      [](AnyQueue<int> queue, const std::string&) { expect_put_is_whole<AnyQueue>(queue); });
}

TANDEM_QUEUE_TEST(QueueKillTest, PutThatWaitsForSpaceBlocksNobody) {
  kill_everywhere<AnyQueue<int>>(
      5,
      [] {
        AnyQueue<int> queue(2);
        queue.put(1);
        queue.put(2);
        return queue;
      },
      [](AnyQueue<int> queue) { static_cast<void>(queue.put_for(3, testing::kInVain)); },
      [](AnyQueue<int> queue, const std::string&) {
        const std::vector<int> there = as_taken<AnyQueue>(std::vector{1, 2});
        EXPECT_EQ(queue.get_for(kSoon), there[0]);
        ASSERT_TRUE(queue.put_for(4, kSoon));
        EXPECT_EQ(drain(queue), as_taken<AnyQueue>(std::vector{there[1], 4}));
      });
}

TANDEM_QUEUE_TEST(QueueKillTest, PutOfManyItemsKeepsOrderWithoutHoles) {
  const std::vector<int> many = testing::numbers(0, 150);  // More than one lock takes.
  kill_everywhere<AnyQueue<int>>(
      50, [] { return AnyQueue<int>(); }, [&many](AnyQueue<int> queue) { queue.put_many(many); },
      [](AnyQueue<int> queue, const std::string&) {
        const std::vector<int> items = drain(queue);
        ASSERT_EQ(items, as_taken<AnyQueue>(testing::numbers(0, static_cast<int>(items.size()))));
        if (was_put()) {
          ASSERT_GT(items.size(), 0U);
        }
      },
      testing::kSanitized ? 13 : 1);
}

const std::string kLarge(100'000, 'g');  // Between "first" and "last", for the PriorityQueue.

TANDEM_QUEUE_TEST(QueueKillTest, PutOfALargeItemIsAllOrNothing) {
  kill_everywhere<AnyQueue<std::string>>(
      20,
      [] {
        AnyQueue<std::string> queue;
        queue.put("first");
        return queue;
      },
      [](AnyQueue<std::string> queue) { queue.put(kLarge); },
      [](AnyQueue<std::string> queue, const std::string&) {
        queue.put("last");
        const std::vector<std::string> items = drain(queue);
        const bool is_there = items == as_taken<AnyQueue>(std::vector<std::string>{"first", kLarge, "last"});
        EXPECT_TRUE(is_there || items == as_taken<AnyQueue>(std::vector<std::string>{"first", "last"}))
            << items.size() << " items";
        if (was_put()) {
          EXPECT_TRUE(is_there);
        }
      });
}

TANDEM_QUEUE_TEST(QueueKillTest, PutOfAHandleKeepsItsObjectWithTheItem) {
  kill_everywhere<AnyQueue<AnyQueue<int>>>(
      20, [] { return AnyQueue<AnyQueue<int>>(); },
      [](AnyQueue<AnyQueue<int>> queue) {
        AnyQueue<int> inner;
        inner.put(7);
        queue.put(inner);
      },
      [](AnyQueue<AnyQueue<int>> queue, const std::string&) {
        for (AnyQueue<int>& inner : drain(queue)) EXPECT_EQ(inner.get_for(kSoon), 7);
      });
}

// A taker that dies gives its item back, up to the very end of its get().
TANDEM_QUEUE_TEST(QueueKillTest, GetOfASmallItemGivesItBackUnlessItWasReturned) {
  bool received = false;
  kill_everywhere<AnyQueue<int>>(
      5, queue_of_1_and_2<AnyQueue<int>>, [](AnyQueue<int> queue) { static_cast<void>(queue.get()); },
      [&](AnyQueue<int> queue, const std::string& at) {
        std::vector<int> items = drain(queue);
        std::ranges::sort(items);  // It comes back when the death is noticed, maybe behind what others took meanwhile.
        const bool taken = items == std::vector{as_taken<AnyQueue>(std::vector{1, 2})[1]};
        EXPECT_TRUE(taken || items == std::vector({1, 2})) << ::testing::PrintToString(items);
        if (at == "queue.get.claimed" || at == "queue.get.received") {
          EXPECT_FALSE(taken);
        }
        if (at == "queue.get.received") {
          received = true;
        } else if (testing::killed_had_passed("queue.get.received")) {
          EXPECT_TRUE(taken) << "given back although get() had taken it";
        }
      });
  EXPECT_TRUE(received);
}

TANDEM_QUEUE_TEST(QueueKillTest, GetOfALargeItemGivesItBackUnlessItWasReturned) {
  bool committed = false;
  kill_everywhere<AnyQueue<std::string>>(
      20,
      [] {
        AnyQueue<std::string> queue;
        for (const std::string& item : as_taken<AnyQueue>(std::vector<std::string>{kLarge, "second"})) queue.put(item);
        return queue;
      },
      [](AnyQueue<std::string> queue) { static_cast<void>(queue.get()); },
      [&](AnyQueue<std::string> queue, const std::string& at) {
        std::vector<std::string> items = drain(queue);
        const bool taken = items == std::vector<std::string>{"second"};
        std::ranges::sort(items);
        EXPECT_TRUE(taken || items == (std::vector<std::string>{kLarge, "second"})) << items.size() << " items";
        if (taken) {
          EXPECT_TRUE(testing::killed_had_passed("queue.get.received"));
          committed = true;
        }
        if (at == "queue.get.claimed" || at == "queue.get.received") {
          EXPECT_FALSE(taken);
        }
        if (at == "queue.get.committed") {
          EXPECT_TRUE(taken);
        }
      });
  EXPECT_TRUE(committed);
}

TANDEM_QUEUE_TEST(QueueKillTest, GetOfAHandleGivesBackItemAndObject) {
  kill_everywhere<AnyQueue<AnyQueue<int>>>(
      20,
      [] {
        AnyQueue<AnyQueue<int>> queue;
        AnyQueue<int> inner;
        inner.put(7);
        queue.put(inner);
        return queue;
      },
      [](AnyQueue<AnyQueue<int>> queue) { static_cast<void>(queue.get()); },
      [](AnyQueue<AnyQueue<int>> queue, const std::string& at) {
        const auto items = drain(queue);
        if (at == "queue.get.received" || !testing::killed_had_passed("queue.get.received")) {
          ASSERT_EQ(items.size(), 1U);
        }
        for (AnyQueue<int> inner : items) EXPECT_EQ(inner.get_for(kSoon), 7);
      });
}

TANDEM_QUEUE_TEST(QueueKillTest, GetThatWaitsBlocksNobody) {
  kill_everywhere<AnyQueue<int>>(
      5, [] { return AnyQueue<int>(); },
      [](AnyQueue<int> queue) { static_cast<void>(queue.get_for(testing::kInVain)); },
      [](AnyQueue<int> queue, const std::string&) {
        queue.put(1);
        EXPECT_EQ(queue.get_for(kSoon), 1);
      });
}

TANDEM_QUEUE_TEST(QueueKillTest, TaskDoneCountsOnceOrNotAtAll) {
  kill_everywhere<AnyQueue<int>>(
      5, queue_of_1_and_2<AnyQueue<int>>,
      [](AnyQueue<int> queue) {
        static_cast<void>(queue.get());
        queue.task_done();
      },
      [](AnyQueue<int> queue, const std::string&) {
        // What the dead one had taken counts as done; the rest is ours.
        while (queue.try_get()) queue.task_done();
        EXPECT_TRUE(queue.join_for(kSoon));
        EXPECT_THROW(queue.task_done(), std::logic_error);
      });
}

TANDEM_QUEUE_TEST(QueueKillTest, CloseNowLeavesTheQueueOpenOrClosed) {
  kill_everywhere<AnyQueue<std::string>>(
      10,
      [] {
        AnyQueue<std::string> queue;
        queue.put(kLarge);
        queue.put("small");
        return queue;
      },
      [](AnyQueue<std::string> queue) { queue.close_now(); },
      [](AnyQueue<std::string> queue, const std::string&) {
        queue.close_now();
        EXPECT_TRUE(queue.closed());
        EXPECT_EQ(queue.size(), 0U);
        EXPECT_TRUE(queue.join_for(kSoon));
        EXPECT_THROW(static_cast<void>(queue.try_get()), QueueClosed);
      });
}

TANDEM_QUEUE_TEST(QueueKillTest, MakingAndDroppingAQueueLeavesNothing) {
  kill_everywhere<AnyQueue<int>>(
      20, [] { return AnyQueue<int>(); },
      [](AnyQueue<int>) {
        AnyQueue<std::string> other;
        other.put("small");
        other.put(kLarge);
        Queue<AnyQueue<std::string>> outer;
        outer.put(other);
      },
      [](AnyQueue<int> queue, const std::string&) {
        queue.put(1);
        EXPECT_EQ(queue.get_for(kSoon), 1);
      });
}

}  // namespace
}  // namespace tandem
