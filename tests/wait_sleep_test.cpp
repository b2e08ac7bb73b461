// How wait() sleeps: on more words than the kernel takes, on an old kernel, beside others, and killed.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include <tandem/connection.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>
#include <tandem/wait.hpp>

#include "core/kill_point.hpp"
#include "core/system.hpp"
#include "support/kill_points.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;

using Places = std::vector<std::size_t>;

class WaitSleepTest : public testing::LeakCheckedTest {};

TEST_F(WaitSleepTest, MoreQueuesThanTheKernelTakesAtOnce) {
  std::vector<Queue<int>> queues(300);
  auto [here, there] = Pipe();
  for (const std::size_t place : {std::size_t{299}, std::size_t{0}, std::size_t{130}}) {
    std::vector<Waitable> things(queues.begin(), queues.end());
    EXPECT_TRUE(wait_for(things, 1ms).empty());
    std::thread putting([&] { queues[place].put(1); });
    EXPECT_EQ(wait(things), Places{place});
    putting.join();
    things.emplace_back(here);
    EXPECT_EQ(wait(things), Places{place});
    EXPECT_EQ(queues[place].get(), 1);
    EXPECT_TRUE(wait_for(things, 1ms).empty());
    std::thread sending([end = there]() mutable { end.send(1); });
    EXPECT_EQ(wait(things), Places{300});
    EXPECT_EQ(here.recv<int>(), 1);
    sending.join();
  }
}

// Who waits takes no wake-up away from those who get.
TEST_F(WaitSleepTest, WaitersAndGettersLeaveNoItemBehind) {
  Queue<int> queue, other;
  constexpr int kItems = 3000;
  std::atomic<bool> over{false};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 2; ++i)
    waiters.emplace_back([&] {
      const std::vector<Waitable> things{queue, other};
      while (!over) static_cast<void>(wait(things));
    });
  std::thread getter([&] {
    for (int i = 0; i < kItems; ++i) EXPECT_EQ(queue.get(), i);
  });
  for (int i = 0; i < kItems; ++i) queue.put(i);
  getter.join();
  over = true;
  other.close();
  for (std::thread& waiter : waiters) waiter.join();
}

// From now on this process is on a kernel without futex_waitv(2).
void forget_futex_waitv() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex_waitv, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(code), code};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
    detail::throw_errno("cannot filter system calls");
}

TEST_F(WaitSleepTest, AnOldKernelWillDo) {
  std::vector<Queue<int>> queues(3);
  auto [here, there] = Pipe();
  Process process(
      tandem::fork,
      [&](std::vector<Queue<int>> all, Connection other) {
        forget_futex_waitv();
        std::vector<Waitable> things(all.begin(), all.end());
        for (const std::size_t place : {std::size_t{2}, std::size_t{0}, std::size_t{1}}) {
          if (wait(things) != Places{place}) throw std::logic_error("not what was put");
          if (all[place].get() != static_cast<int>(place)) throw std::logic_error("not what was put");
          other.send(0);
        }
        things.emplace_back(other);
        if (wait(things) != Places{3}) throw std::logic_error("not what was sent");
      },
      queues, there);
  process.start();
  for (const std::size_t place : {std::size_t{2}, std::size_t{0}, std::size_t{1}}) {
    queues[place].put(static_cast<int>(place));
    EXPECT_EQ(here.recv<int>(), 0);
  }
  here.send(0);
  process.join();
  EXPECT_EQ(process.exitcode(), 0);
}

TEST_F(WaitSleepTest, AKilledWaiterCostsNobodyAnItem) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
  Queue<int> queue;
  auto [here, there] = Pipe();
  const auto points = testing::for_each_kill_point(
      [&] {
        EXPECT_TRUE(wait_for({queue, here}, testing::kInVain).empty());
        queue.put(1);
        static_cast<void>(wait({queue, here}));
      },
      [&](const std::string&) {
        std::thread putting([&] { queue.put(2); });
        EXPECT_TRUE(queue.get_for(60s).has_value());
        putting.join();
        while (queue.try_get()) {
        }
      });
  EXPECT_GE(points.size(), 10U);
}

}  // namespace
}  // namespace tandem
