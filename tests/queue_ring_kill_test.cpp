// What a queue's ring promises while somebody is between two steps: stopped there, or killed.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/event.hpp>
#include <tandem/queue.hpp>

#include "core/kill_point.hpp"
#include "ipc/family.hpp"
#include "support/kill_points.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem {
namespace {

// Where the hook acts, once, and what it does there.
std::string act_at;
void (*act)() = nullptr;

void act_once(const char* name) {
  if (act_at != name) return;
  act_at.clear();
  act();
}

class QueueRingKillTest : public testing::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
    testing::LeakCheckedTest::SetUp();
  }
  void TearDown() override {
    detail::kill_point_hook = nullptr;
    testing::LeakCheckedTest::TearDown();
  }
  static void once_at(const std::string& name, void (*what)()) {
    act_at = name;
    act = what;
    detail::kill_point_hook = act_once;
  }
};

Queue<int>* shared = nullptr;

// A put that was begun before close() may still succeed. Whoever was told of the end would never get its item.
TEST_F(QueueRingKillTest, EndOfAClosedQueueComesBehindAPutThatIsUnderWay) {
  Queue<int> queue;
  shared = &queue;
  once_at("queue.put.claimed", [] {
    std::thread([] {
      shared->close();
      EXPECT_FALSE(shared->try_get().has_value());
    }).join();
  });
  queue.put(1);
  EXPECT_EQ(queue.get(), 1);
  EXPECT_THROW(static_cast<void>(queue.get()), QueueClosed);
}

TEST_F(QueueRingKillTest, EndOfAClosedQueueComesBehindAPutThatIsUnderWayForGetManyToo) {
  Queue<int> queue;
  shared = &queue;
  once_at("queue.put.claimed", [] {
    std::thread([] {
      shared->close();
      EXPECT_TRUE(shared->get_many_for(5, std::chrono::seconds(0)).empty());
    }).join();
  });
  queue.put(1);
  EXPECT_EQ(queue.get_many(5), std::vector{1});
  EXPECT_THROW(static_cast<void>(queue.get()), QueueClosed);
}

// Others put into a new chunk as soon as they see it: the death of who made it must not take it away again.
TEST_F(QueueRingKillTest, ChunkThatOthersUseOutlivesWhoMadeIt) {
  const std::size_t before = arena_usage().in_use_bytes;
  {
    Queue<std::uint64_t> queue;
    EXPECT_EQ(queue.size(), 0U);  // So that this thread needs no lock later, which the child will hold.
    const pid_t pid = detail::fork_member();
    if (pid == 0) {
      once_at("queue.ring.given", [] { raise(SIGSTOP); });
      for (std::uint64_t i = 0;; ++i) queue.put(i);
    }
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, WUNTRACED), pid);
    ASSERT_TRUE(WIFSTOPPED(status));
    const std::uint64_t from_child = queue.size();
    std::uint64_t next = from_child;
    queue.put(next++);
    kill(pid, SIGKILL);
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    for (; next < 20 * from_child; ++next) queue.put(next);  // Several chunks more.
    for (std::uint64_t i = 0; i < next; ++i) ASSERT_EQ(queue.get(), i);
    EXPECT_EQ(queue.size(), 0U);
  }
  EXPECT_EQ(arena_usage().in_use_bytes, before);
}

// An item that comes behind the look of who closed the queue for good is dropped by who puts it: there may be nobody
// else.
TEST_F(QueueRingKillTest, PutThatIsUnderWayDropsItsItemIfTheQueueIsClosedForGood) {
  static Queue<std::string>* queue = nullptr;
  const std::string large(100'000, 'x');
  const std::function<void()> puts[] = {[&] { queue->put("small"); }, [&] { queue->put(large); },
                                        [&] { queue->put_many(std::vector<std::string>(4, "one of many")); }};
  for (const auto& put : puts) {
    Queue<std::string> made;
    queue = &made;
    made.put("first");
    EXPECT_EQ(made.get(), "first");
    const std::size_t before = arena_usage().in_use_bytes;
    once_at("queue.put.claimed", [] { std::thread([] { queue->close_now(); }).join(); });
    put();
    EXPECT_EQ(arena_usage().in_use_bytes, before);
    EXPECT_EQ(made.size(), 0U);
    EXPECT_TRUE(made.join_for(std::chrono::seconds(0)));
  }
}

TEST_F(QueueRingKillTest, WhoWaitsForSpaceIsToldOfACloseThoughItsCloserWasKilled) {
  Queue<int> queue(1);
  queue.put(1);
  static Event* sleeps = nullptr;
  Event asleep;
  sleeps = &asleep;
  once_at("queue.sleep", [] { sleeps->set(); });
  std::thread putting([&] { EXPECT_THROW(queue.put(2), QueueClosed); });
  asleep.wait();
  const pid_t pid = detail::fork_member();
  if (pid == 0) {
    testing::die_at_kill_point("queue.closed");
    queue.close();
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFSIGNALED(status));
  putting.join();
  EXPECT_EQ(queue.get(), 1);
  EXPECT_THROW(static_cast<void>(queue.get()), QueueClosed);
}

// What comes back goes to the others in its order, though the end of the queue lags behind it: who put it has not come
// to move that yet.
TEST_F(QueueRingKillTest, ItemsOfADeadTakerComeBackInOrder) {
  static Queue<int>* queue = nullptr;
  Queue<int> made;
  queue = &made;
  static int left = 0;
  left = 4;
  static void (*act_at_last)() = [] {
    if (--left > 0) {
      act_at = "queue.put.published";
      return;
    }
    std::thread([] {
      const pid_t pid = detail::fork_member();
      if (pid == 0) {
        testing::die_at_kill_point("queue.get.claimed", 2);  // One, two, and the last.
        static_cast<void>(queue->get_many(4));
        ::_exit(1);
      }
      int status = 0;
      ASSERT_EQ(waitpid(pid, &status, 0), pid);
      ASSERT_TRUE(WIFSIGNALED(status));
      for (int i = 0; i < 4; ++i) EXPECT_EQ(queue->get(), i);
    }).join();
  };
  once_at("queue.put.published", act_at_last);
  made.put_many(std::vector{0, 1, 2, 3});
  EXPECT_EQ(left, 0);
  EXPECT_EQ(made.size(), 0U);
}

// Somebody puts an item and is off its core before it has moved the end of the queue on; the item is taken, and the
// front is ahead of the end. Who had looked at the end before that must not think that there is no room.
TEST_F(QueueRingKillTest, EndThatLagsBehindTheFrontDoesNotMakeAQueueGrow) {
  Queue<int> queue;
  shared = &queue;
  queue.put(0);
  EXPECT_EQ(queue.get(), 0);
  static pid_t child = 0;
  once_at("queue.put.looked", [] {
    child = detail::fork_member();
    if (child == 0) {
      once_at("queue.put.published", [] { raise(SIGSTOP); });
      shared->put(1);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
    ASSERT_TRUE(WIFSTOPPED(status));
    std::thread([] { EXPECT_EQ(shared->get(), 1); }).join();
  });
  const std::size_t before = arena_usage().in_use_bytes;
  queue.put_many(std::vector{2});
  kill(child, SIGKILL);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(queue.get(), 2);
  detail::sweep_family();
  EXPECT_EQ(arena_usage().in_use_bytes, before);
}

// task_done() for what another one took, and by that one: the last item counts once.
TEST_F(QueueRingKillTest, TwoThatMarkTheLastItemDoneAreToldThatOneIsTooMany) {
  Queue<int> queue;
  shared = &queue;
  queue.put(1);
  static_cast<void>(queue.get());
  once_at("queue.done.begun", [] { std::thread([] { shared->task_done(); }).join(); });
  EXPECT_THROW(queue.task_done(), std::logic_error);
  EXPECT_TRUE(queue.join_for(std::chrono::seconds(0)));
  queue.put(2);
  EXPECT_FALSE(queue.join_for(std::chrono::milliseconds(0)));
  static_cast<void>(queue.get());
  queue.task_done();
  EXPECT_TRUE(queue.join_for(std::chrono::seconds(0)));
}

}  // namespace
}  // namespace tandem
