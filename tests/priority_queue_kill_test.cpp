// A process is killed at each point inside the heap of a PriorityQueue, and inside the user's comparison.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/queue.hpp>
#include <tandem/wait.hpp>

#include "core/kill_point.hpp"
#include "ipc/family.hpp"
#include "support/kill_points.hpp"
#include "support/queue_kinds.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::drain;
using testing::for_each_kill_point;
using testing::numbers;

class PriorityQueueKillTest : public testing::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
    testing::LeakCheckedTest::SetUp();
  }
  std::chrono::seconds time_limit() const override { return 180s; }

  // Kills `body` at each of its points, with a queue of 0, 10, 20 ... in some order, then asks `check` about what is
  // left. After that no byte of the arena may be left.
  static void kill_everywhere(
      int items, const std::function<void(PriorityQueue<int>)>& body,
      const std::function<void(PriorityQueue<int>)>& check, const std::vector<std::string>& names,
      const std::function<void(PriorityQueue<int>)>& prepare = [](auto) {}) {
    const std::size_t before = arena_usage().in_use_bytes;
    std::optional<PriorityQueue<int>> queue;
    const auto make = [&] {
      queue.emplace();
      // 101 is prime, so this goes through all of them once if there are fewer; the rest follows.
      for (int i = 0; i < 101; ++i)
        if (i * 37 % 101 < items) queue->put(i * 37 % 101 * 10);
      for (int i = 101; i < items; ++i) queue->put(i * 10);
      prepare(*queue);
    };
    make();
    const auto points = for_each_kill_point([&] { body(*queue); },
                                            [&](const std::string&) {
                                              check(*queue);
                                              queue.reset();
                                              ASSERT_EQ(arena_usage().in_use_bytes, before);
                                              make();
                                            });
    for (const std::string& name : names) EXPECT_TRUE(std::ranges::count(points, name) > 0) << name;
    queue.reset();
    EXPECT_EQ(arena_usage().in_use_bytes, before);
  }

  static std::vector<int> tens(int first, int last) {
    std::vector<int> all = numbers(first, last);
    for (int& number : all) number *= 10;
    return all;
  }
};

TEST_F(PriorityQueueKillTest, PutThatMovesOthersAndGrowsTheHeapIsAllOrNothing) {
  kill_everywhere(
      63, [](PriorityQueue<int> queue) { queue.put(-5); },
      [](PriorityQueue<int> queue) {
        queue.put(1);
        std::vector<int> items = drain(queue);
        std::vector<int> expected = tens(0, 63);
        expected.insert(expected.begin() + 1, 1);
        if (items.front() == -5) items.erase(items.begin());
        EXPECT_EQ(items, expected);
      },
      {"queue.compared", "queue.heap.allocated", "queue.put.committed"});
}

TEST_F(PriorityQueueKillTest, GetThatMovesOthersGivesTheItemBackToItsPlaceUnlessItWasReturned) {
  kill_everywhere(
      70, [](PriorityQueue<int> queue) { static_cast<void>(queue.get()); },
      [](PriorityQueue<int> queue) {
        queue.put(-5);
        EXPECT_FALSE(queue.join_for(0s));  // Looks for the dead.
        std::vector<int> expected = tens(queue.size() == 71 ? 0 : 1, 70);
        expected.insert(expected.begin(), -5);
        EXPECT_EQ(drain(queue), expected);
      },
      {"queue.compared", "queue.get.claimed", "queue.get.received"});
}

TEST_F(PriorityQueueKillTest, GetManyGivesAllBackToTheirPlaces) {
  kill_everywhere(
      20, [](PriorityQueue<int> queue) { static_cast<void>(queue.get_many(10)); },
      [](PriorityQueue<int> queue) {
        EXPECT_FALSE(queue.join_for(0s));
        const std::vector<int> items = drain(queue);
        EXPECT_TRUE(std::ranges::is_sorted(items));
        EXPECT_GE(items.size(), 10U);
        EXPECT_TRUE(std::ranges::includes(items, tens(10, 20)));
      },
      {"queue.compared", "queue.get.claimed", "queue.get.received"});
}

// Nobody but a dead taker's successor looks: it puts many items back, and is killed at that.
TEST_F(PriorityQueueKillTest, GivingBackIsAllOrNothing) {
  kill_everywhere(
      20, [](PriorityQueue<int> queue) { static_cast<void>(queue.join_for(0s)); },
      [](PriorityQueue<int> queue) {
        EXPECT_FALSE(queue.join_for(0s));
        EXPECT_EQ(drain(queue), tens(0, 20));
      },
      {"queue.compared", "queue.taken_over"},
      [](PriorityQueue<int> queue) {
        const pid_t pid = detail::fork_member();
        if (pid == 0) {
          testing::die_at_kill_point("queue.get.claimed", 9);
          static_cast<void>(queue.get_many(10));
          _exit(0);
        }
        ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
        ASSERT_EQ(queue.size(), 10U);
      });
}

TEST_F(PriorityQueueKillTest, HeapThatShrinksLosesNeitherItemsNorMemory) {
  kill_everywhere(
      257,
      [](PriorityQueue<int> queue) {
        for (int i = 0; i < 20; ++i) static_cast<void>(queue.get());
      },
      [](PriorityQueue<int> queue) {
        EXPECT_FALSE(queue.join_for(0s));
        const std::vector<int> items = drain(queue);
        ASSERT_GE(items.size(), 117U);
        EXPECT_EQ(items, tens(257 - static_cast<int>(items.size()), 257));
      },
      {"queue.heap.released"},
      [](PriorityQueue<int> queue) {
        for (int i = 0; i < 120; ++i) static_cast<void>(queue.get());
      });
}

TEST_F(PriorityQueueKillTest, CloseNowFreesAllPlaces) {
  kill_everywhere(
      130, [](PriorityQueue<int> queue) { queue.close_now(); },
      [](PriorityQueue<int> queue) {
        queue.close_now();
        EXPECT_EQ(queue.size(), 0U);
        EXPECT_TRUE(queue.join_for(60s));
        EXPECT_THROW(static_cast<void>(queue.try_get()), QueueClosed);
      },
      {"queue.closed"});
}

struct Job {
  int priority = 0;
  int number = 0;
  bool operator<(const Job& other) const { return priority < other.priority; }
};

TEST_F(PriorityQueueKillTest, ItemOfAKilledTakerIsInFrontOfEqualOnesPutLater) {
  PriorityQueue<Job> queue;
  for (const Job& job : {Job{1, 0}, Job{1, 1}, Job{2, 2}}) queue.put(job);
  const pid_t pid = detail::fork_member();
  if (pid == 0) {
    testing::die_at_kill_point("queue.get.claimed");
    static_cast<void>(queue.get());
    _exit(0);
  }
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  queue.put({1, 3});
  queue.put({0, 4});
  EXPECT_FALSE(queue.join_for(0s));
  std::vector<int> order;
  for (const Job& job : drain(queue)) order.push_back(job.number);
  EXPECT_EQ(order, (std::vector{4, 0, 1, 3, 2}));
}

// Who waits in wait() looks for the dead too, and so compares.
TEST_F(PriorityQueueKillTest, WaitFindsTheItemsOfAKilledTaker) {
  PriorityQueue<int> queue;
  Queue<int> never;
  for (int i : {3, 1, 2, 5, 4}) queue.put(i);
  const pid_t pid = detail::fork_member();
  if (pid == 0) {
    testing::die_at_kill_point("queue.get.claimed", 4);
    static_cast<void>(queue.get_many(5));
    _exit(0);
  }
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  ASSERT_TRUE(queue.empty());
  EXPECT_EQ(wait({never, queue}), std::vector<std::size_t>{1});
  EXPECT_EQ(queue.get_many(9), (std::vector{1, 2, 3, 4, 5}));
}

// Kills its process when it has compared so often.
struct Deadly {
  static inline int left = -1;
  bool operator()(const std::string& a, const std::string& b) const {
    if (left >= 0 && left-- == 0) ::kill(::getpid(), SIGKILL);
    return a < b;
  }
};

TEST_F(PriorityQueueKillTest, ProcessKilledWhileComparingHasChangedNothing) {
  using Texts = PriorityQueue<std::string, Deadly>;
  const std::function<void(Texts)> members[] = {
      [](Texts queue) { queue.put("aa"); }, [](Texts queue) { queue.put(std::string(100'000, 'a')); },
      [](Texts queue) { static_cast<void>(queue.get()); }, [](Texts queue) { static_cast<void>(queue.get_many(1)); }};
  const std::size_t before = arena_usage().in_use_bytes;
  for (const auto& member : members) {
    for (int compared = 0; compared < 3; ++compared) {
      Texts queue;
      std::vector<std::string> items;
      for (int i = 0; i < 20; ++i) items.push_back("b" + std::to_string(i * 7 % 20));
      queue.put_many(items);
      const pid_t pid = detail::fork_member();
      if (pid == 0) {
        Deadly::left = compared;
        member(queue);
        _exit(0);
      }
      int status = 0;
      ASSERT_EQ(::waitpid(pid, &status, 0), pid);
      ASSERT_TRUE(WIFSIGNALED(status)) << "compared " << compared << " times";
      std::ranges::sort(items);
      EXPECT_EQ(drain(queue), items);
    }
    EXPECT_EQ(arena_usage().in_use_bytes, before);
  }
}

}  // namespace
}  // namespace tandem
