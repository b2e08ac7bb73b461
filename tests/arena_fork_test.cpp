// The very first use of the arena: by several threads at once, and while another thread forks.
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/queue.hpp>

#include "core/kill_point.hpp"
#include "ipc/arena.hpp"
#include "ipc/family.hpp"
#include "support/kill_points.hpp"
#include "support/watchdog.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;

// Many times, each in a process that has no arena yet.
class ArenaFirstUseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (detail::Arena::exists()) GTEST_SKIP() << "needs a process of its own";
  }
  static int exit_code_of(const std::function<bool()>& body) {
    const pid_t pid = ::fork();
    if (pid == 0) _exit(body() ? 0 : 1);
    int status = -1;
    ::waitpid(pid, &status, 0);
    return status;
  }
  testing::Watchdog watchdog_{180s};
};

bool queue_works() {
  Queue<std::string> queue;
  queue.put(std::string(1000, 'x'));
  return queue.get().size() == 1000;
}

TEST_F(ArenaFirstUseTest, SeveralThreadsMakeTheFirstObjectTogether) {
  for (int round = 0; round < 200; ++round) {
    ASSERT_EQ(exit_code_of([] {
                std::atomic<int> ready{0};
                std::atomic<int> working{0};
                std::vector<std::thread> threads;
                for (int i = 0; i < 4; ++i)
                  threads.emplace_back([&] {
                    for (++ready; ready < 4;) std::this_thread::yield();
                    working += queue_works() ? 1 : 0;
                  });
                for (std::thread& thread : threads) thread.join();
                return working == 4;
              }),
              0);
  }
}

TEST_F(ArenaFirstUseTest, ForkWhileAnotherThreadMakesTheArena) {
  for (int round = 0; round < 200; ++round) {
    ASSERT_EQ(exit_code_of([] {
                std::atomic<bool> go{false};
                std::thread maker([&] {
                  go = true;
                  static_cast<void>(queue_works());
                });
                while (!go) std::this_thread::yield();
                const bool child_works = exit_code_of(queue_works) == 0;
                maker.join();
                return child_works && queue_works();
              }),
              0);
  }
}

// A child that dies in its first instructions, whose number another process has got since.
TEST(ForkedMemberTest, WhatAChildHeldIsGivenBackHoweverEarlyItDied) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
  const testing::Watchdog watchdog(60s);
  const std::size_t before = arena_usage().in_use_bytes;
  {
    Queue<int> queue;
    const std::size_t with_a_queue = arena_usage().in_use_bytes;
    testing::die_at_kill_point("family.forked");
    const pid_t child = detail::fork_member();
    ASSERT_GT(child, 0);
    detail::kill_point_hook = nullptr;
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));

    // The kernel tells two processes with one number by the hundredth of a second in which they began.
    const auto later = std::chrono::steady_clock::now() + 20ms;
    while (std::chrono::steady_clock::now() < later) std::this_thread::yield();
    // The kernel can be asked for a certain number only by root. Without the handlers of fork().
    clone_args arguments{};
    arguments.exit_signal = SIGCHLD;
    arguments.set_tid = reinterpret_cast<std::uintptr_t>(&child);
    arguments.set_tid_size = 1;
    const auto other = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
    if (other == 0)
      for (;;) ::syscall(SYS_pause);
    if (other < 0) GTEST_SKIP() << "a process cannot have the number " << child << " again: " << std::strerror(errno);
    queue = Queue<int>();
    const std::size_t with_one_queue = arena_usage().in_use_bytes;
    ::kill(other, SIGKILL);
    ::waitpid(other, nullptr, 0);
    EXPECT_EQ(with_one_queue, with_a_queue) << "the first queue is still held";
  }
  EXPECT_EQ(arena_usage().in_use_bytes, before);
}

}  // namespace
}  // namespace tandem
