// A process is killed at each point inside each member of Queue; the others go on as the header promises.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/queue.hpp>

#include "core/kill_point.hpp"
#include "support/kill_points.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::for_each_kill_point;

// Longer than a death needs to be noticed; a promise kept sooner ends the wait.
constexpr auto kSoon = 10s;

class QueueKillTest : public testing::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
    testing::LeakCheckedTest::SetUp();
  }
  std::chrono::seconds time_limit() const override { return 180s; }

  // Kills `body` at each of its points, with a queue made anew by `make` each time, then asks `check` about the queue.
  // After that no byte of the arena may be left.
  template <class Q>
  void kill_everywhere(std::size_t at_least, const std::function<Q()>& make, const std::function<void(Q)>& body,
                       const std::function<void(Q, const std::string&)>& check) {
    const std::size_t before = arena_usage().in_use_bytes;
    std::optional<Q> queue = make();
    const auto points = for_each_kill_point([&] { body(*queue); },
                                            [&](const std::string& at) {
                                              SCOPED_TRACE("killed at " + at);
                                              check(*queue, at);
                                              queue.reset();
                                              ASSERT_EQ(arena_usage().in_use_bytes, before);
                                              queue = make();
                                            });
    EXPECT_GE(points.size(), at_least) << "the points inside the call are not compiled in any more";
    queue.reset();
    EXPECT_EQ(arena_usage().in_use_bytes, before);
  }
};

template <class T>
std::vector<T> drain(Queue<T>& queue) {
  queue.close();
  std::vector<T> items;
  for (T& item : queue) items.push_back(std::move(item));
  return items;
}

// What a queue of numbers must hold after a producer of 3 was killed: what was there, then 3 or not, then 4.
void expect_put_is_whole(Queue<int> queue) {
  ASSERT_TRUE(queue.put_for(4, kSoon));
  const std::vector<int> items = drain(queue);
  EXPECT_TRUE(items == std::vector({1, 2, 4}) || items == std::vector({1, 2, 3, 4})) << ::testing::PrintToString(items);
}

Queue<int> queue_of_1_and_2() {
  Queue<int> queue;
  queue.put(1);
  queue.put(2);
  return queue;
}

TEST_F(QueueKillTest, PutOfASmallItemIsAllOrNothing) {
  kill_everywhere<Queue<int>>(
      10, queue_of_1_and_2, [](Queue<int> queue) { queue.put(3); },
      [](Queue<int> queue, const std::string&) { expect_put_is_whole(queue); });
}

TEST_F(QueueKillTest, PutThatWaitsForSpaceBlocksNobody) {
  kill_everywhere<Queue<int>>(
      5,
      [] {
        Queue<int> queue(2);
        queue.put(1);
        queue.put(2);
        return queue;
      },
      [](Queue<int> queue) { static_cast<void>(queue.put_for(3, 1ms)); },
      [](Queue<int> queue, const std::string&) {
        EXPECT_EQ(queue.get_for(kSoon), 1);
        expect_put_is_whole([&] {
          Queue<int> rest;
          rest.put(1);
          EXPECT_EQ(queue.get_for(kSoon), 2);
          rest.put(2);
          while (const auto item = queue.try_get()) rest.put(*item);
          return rest;
        }());
      });
}

TEST_F(QueueKillTest, PutOfManyItemsKeepsOrderWithoutHoles) {
  std::vector<int> many(150);  // More than one lock takes.
  std::iota(many.begin(), many.end(), 0);
  kill_everywhere<Queue<int>>(
      100, [] { return Queue<int>(); }, [&many](Queue<int> queue) { queue.put_many(many); },
      [](Queue<int> queue, const std::string&) {
        const std::vector<int> items = drain(queue);
        for (std::size_t i = 0; i < items.size(); ++i) ASSERT_EQ(items[i], static_cast<int>(i));
      });
}

const std::string kLarge(100'000, 'x');

TEST_F(QueueKillTest, PutOfALargeItemIsAllOrNothing) {
  kill_everywhere<Queue<std::string>>(
      20,
      [] {
        Queue<std::string> queue;
        queue.put("first");
        return queue;
      },
      [](Queue<std::string> queue) { queue.put(kLarge); },
      [](Queue<std::string> queue, const std::string&) {
        queue.put("last");
        const std::vector<std::string> items = drain(queue);
        EXPECT_TRUE(items == (std::vector<std::string>{"first", "last"}) ||
                    items == (std::vector<std::string>{"first", kLarge, "last"}))
            << items.size() << " items";
      });
}

TEST_F(QueueKillTest, PutOfAHandleKeepsItsObjectWithTheItem) {
  kill_everywhere<Queue<Queue<int>>>(
      20, [] { return Queue<Queue<int>>(); },
      [](Queue<Queue<int>> queue) {
        Queue<int> inner;
        inner.put(7);
        queue.put(inner);
      },
      [](Queue<Queue<int>> queue, const std::string&) {
        for (Queue<int>& inner : drain(queue)) EXPECT_EQ(inner.get_for(kSoon), 7);
      });
}

// A taker that dies gives its item back, up to the very end of its get().
TEST_F(QueueKillTest, GetOfASmallItemGivesItBackUnlessItWasReturned) {
  bool returned = false;
  kill_everywhere<Queue<int>>(
      5, queue_of_1_and_2, [](Queue<int> queue) { static_cast<void>(queue.get()); },
      [&](Queue<int> queue, const std::string& at) {
        std::vector<int> items = drain(queue);
        std::ranges::sort(items);  // It comes back when the death is noticed, maybe behind what others took meanwhile.
        const bool taken = items == std::vector({2});
        EXPECT_TRUE(taken || items == std::vector({1, 2})) << ::testing::PrintToString(items);
        if (at == "queue.get.claimed" || at == "queue.get.received") {
          EXPECT_FALSE(taken);
        }
        if (returned) {
          EXPECT_TRUE(taken) << "given back although get() had returned";
        }
        returned |= at == "queue.get.received";  // The last point inside.
      });
  EXPECT_TRUE(returned);
}

TEST_F(QueueKillTest, GetOfALargeItemGivesItBackUnlessItWasReturned) {
  bool committed = false;
  kill_everywhere<Queue<std::string>>(
      20,
      [] {
        Queue<std::string> queue;
        queue.put(kLarge);
        queue.put("second");
        return queue;
      },
      [](Queue<std::string> queue) { static_cast<void>(queue.get()); },
      [&](Queue<std::string> queue, const std::string& at) {
        std::vector<std::string> items = drain(queue);
        const bool taken = items == std::vector<std::string>{"second"};
        std::ranges::sort(items);
        EXPECT_TRUE(taken || items == (std::vector<std::string>{"second", kLarge})) << items.size() << " items";
        if (committed) {
          EXPECT_TRUE(taken);
        }
        committed |= taken;
        if (at == "queue.get.claimed" || at == "queue.get.received") {
          EXPECT_FALSE(taken);
        }
        if (at == "queue.get.committed") {
          EXPECT_TRUE(taken);
        }
      });
  EXPECT_TRUE(committed);
}

TEST_F(QueueKillTest, GetOfAHandleGivesBackItemAndObject) {
  kill_everywhere<Queue<Queue<int>>>(
      20,
      [] {
        Queue<Queue<int>> queue;
        Queue<int> inner;
        inner.put(7);
        queue.put(inner);
        return queue;
      },
      [](Queue<Queue<int>> queue) { static_cast<void>(queue.get()); },
      [](Queue<Queue<int>> queue, const std::string& at) {
        const auto items = drain(queue);
        if (at == "queue.get.received") {
          ASSERT_EQ(items.size(), 1U);
        }
        for (Queue<int> inner : items) EXPECT_EQ(inner.get_for(kSoon), 7);
      });
}

TEST_F(QueueKillTest, GetThatWaitsBlocksNobody) {
  kill_everywhere<Queue<int>>(
      5, [] { return Queue<int>(); }, [](Queue<int> queue) { static_cast<void>(queue.get_for(1ms)); },
      [](Queue<int> queue, const std::string&) {
        queue.put(1);
        EXPECT_EQ(queue.get_for(kSoon), 1);
      });
}

TEST_F(QueueKillTest, TaskDoneCountsOnceOrNotAtAll) {
  kill_everywhere<Queue<int>>(
      5, queue_of_1_and_2,
      [](Queue<int> queue) {
        static_cast<void>(queue.get());
        queue.task_done();
      },
      [](Queue<int> queue, const std::string&) {
        // What the dead one had taken counts as done; the rest is ours.
        while (queue.try_get()) queue.task_done();
        EXPECT_TRUE(queue.join_for(kSoon));
        EXPECT_THROW(queue.task_done(), std::logic_error);
      });
}

TEST_F(QueueKillTest, CloseNowLeavesTheQueueOpenOrClosed) {
  kill_everywhere<Queue<std::string>>(
      10,
      [] {
        Queue<std::string> queue;
        queue.put(kLarge);
        queue.put("small");
        return queue;
      },
      [](Queue<std::string> queue) { queue.close_now(); },
      [](Queue<std::string> queue, const std::string&) {
        queue.close_now();
        EXPECT_TRUE(queue.closed());
        EXPECT_EQ(queue.size(), 0U);
        EXPECT_TRUE(queue.join_for(kSoon));
        EXPECT_THROW(static_cast<void>(queue.try_get()), QueueClosed);
      });
}

TEST_F(QueueKillTest, MakingAndDroppingAQueueLeavesNothing) {
  kill_everywhere<Queue<int>>(
      20, [] { return Queue<int>(); },
      [](Queue<int>) {
        Queue<std::string> other;
        other.put("small");
        other.put(kLarge);
        Queue<Queue<std::string>> outer;
        outer.put(other);
      },
      [](Queue<int> queue, const std::string&) {
        queue.put(1);
        EXPECT_EQ(queue.get_for(kSoon), 1);
      });
}

}  // namespace
}  // namespace tandem
