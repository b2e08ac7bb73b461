// The inside of a queue where no outside view is sharp enough.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include <tandem/queue.hpp>

#include "core/kill_point.hpp"
#include "support/kill_points.hpp"
#include "support/leak_checked_test.hpp"
#include "sync/locked_queue.hpp"

namespace tandem::detail {
namespace {

class QueueStateTest : public testing::LeakCheckedTest {
 protected:
  template <class T>
  static QueueState& state_of(const LifoQueue<T>& queue) {
    return *static_cast<QueueState*>(HandleAccess::object(queue)->data());
  }
};

// Two sleep; one is woken, takes what there is and leaves. The next announcement must reach the other, and not leave it
// to the end of its round.
TEST_F(QueueStateTest, WhoHasSleptLeavesWordThatOthersMaySleep) {
  LifoQueue<int> queue;
  QueueState& state = state_of(queue);
  std::atomic<bool> announced{false};
  std::thread waker([&] {
    for (bool wake = false; !wake;) {
      LockedQueue locked(state, nullptr);
      wake = state.items.announce();
      announced = wake;
      locked.unlock();
      if (wake) state.items.wake_one();
      if (!wake) std::this_thread::yield();
    }
  });
  LockedQueue locked(state, nullptr);
  EXPECT_TRUE(locked.wait(state.items, Deadline::never(), [&] { return announced.load(); }));
  EXPECT_TRUE(state.items.announce());
  locked.unlock();
  waker.join();
}

TEST_F(QueueStateTest, CloseNowKilledMidwayStillDiscards) {
  if (!kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
  Queue<int> queue;
  for (int i : {1, 2, 3}) queue.put(i);
  const pid_t pid = fork_member();
  if (pid == 0) {
    testing::die_at_kill_point("queue.closed");
    queue.close_now();
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_THROW(static_cast<void>(queue.try_get()), QueueClosed);
  EXPECT_EQ(queue.size(), 0U);
}

TEST_F(QueueStateTest, AQueueThatWasMovedFromSaysSo) {
  Queue<int> queue;
  const Queue<int> other = std::move(queue);
  EXPECT_THROW(queue.put(1), StaleHandle);  // NOLINT(bugprone-use-after-move): the point
  EXPECT_FALSE(queue == other);
}

}  // namespace
}  // namespace tandem::detail
