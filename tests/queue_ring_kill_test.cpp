// What a queue's ring promises while somebody is between two steps: stopped there, or killed.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/queue.hpp>

#include "core/kill_point.hpp"
#include "ipc/family.hpp"
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

}  // namespace
}  // namespace tandem
