// Tests of what the other tests stand on: a fixture that saw nothing would pass everything.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <thread>
#include <utility>

#include "core/kill_point.hpp"
#include "core/system.hpp"
#include "support/kill_points.hpp"
#include "support/leftovers.hpp"
#include "support/random.hpp"
#include "support/watchdog.hpp"

#include <gmock/gmock.h>

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Red with the thread sanitizer alone, if it does not know how exceptions are shared.
TEST(SanitizerTest, ExceptionMayEndInAnotherThreadThanTheOneThatReadIt) {
  std::exception_ptr error = std::make_exception_ptr(std::runtime_error("read by one, destroyed by another"));
  std::atomic<bool> was_read{false};
  std::thread last([&was_read, error]() mutable {
    // Relaxed: nothing but the exception's own count is between the two.
    while (!was_read.load(std::memory_order_relaxed)) std::this_thread::yield();
    error = nullptr;
  });
  try {
    std::rethrow_exception(std::exchange(error, nullptr));
  } catch (const std::runtime_error& caught) {
    EXPECT_THAT(caught.what(), HasSubstr("another"));
  }
  was_read.store(true, std::memory_order_relaxed);
  last.join();
}

TEST(InventoryTest, NamesADescriptorThatIsLeft) {
  const Inventory before = Inventory::take();
  EXPECT_EQ(Inventory::left_since(before), "");
  const detail::Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_THAT(Inventory::take().more_than(before), HasSubstr("descriptor /dev/null"));
}

TEST(InventoryTest, NamesAThreadThatIsLeft) {
  const Inventory before = Inventory::take();
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const detail::Fd reader(ends[0]);
  detail::Fd writer(ends[1]);
  std::thread thread([&reader] {
    char byte;
    static_cast<void>(::read(reader.get(), &byte, 1));
  });
  EXPECT_THAT(Inventory::take().more_than(before), HasSubstr("thread "));
  writer.reset();
  thread.join();
}

TEST(InventoryTest, NamesAChildAndAZombieThatIsLeft) {
  const Inventory before = Inventory::take();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    static_cast<void>(::write(ends[1], "", 1));
    for (;;) ::pause();
  }
  // Killed within fork() it would keep what it holds of the arena until this process ends.
  char byte = 0;
  ASSERT_EQ(::read(ends[0], &byte, 1), 1);
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_THAT(Inventory::take().more_than(before), HasSubstr("child process "));
  ::kill(pid, SIGKILL);
  siginfo_t ended;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_THAT(Inventory::take().more_than(before), HasSubstr("state Z"));
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  EXPECT_EQ(Inventory::left_since(before), "");
}

TEST(KillPointTest, EveryPointKillsOnce) {
  const auto body = [] {
    detail::pass_kill_point("first");
    std::thread([] { detail::pass_kill_point("second"); }).join();
  };
  EXPECT_THAT(kill_points_passed(body), ElementsAre("first", "second"));
  std::vector<std::string> seen;
  EXPECT_THAT(for_each_kill_point(body, [&](const std::string& at) { seen.push_back(at); }),
              ElementsAre("first", "second"));
  EXPECT_THAT(seen, ElementsAre("first", "second"));
}

TEST(KillPointTest, ABodyThatEndsIsNotKilled) {
  const KilledRun run = run_killed_at(1, [] { detail::pass_kill_point("only"); });
  EXPECT_FALSE(run.killed);
}

TEST(RandomTest, OneSeedGivesOneSequence) {
  auto first = random_engine(7), second = random_engine(7), other = random_engine(8);
  const auto value = first();
  EXPECT_EQ(value, second());
  EXPECT_NE(value, other());
}

TEST(WatchdogDeathTest, AHangEndsWithTheStacksOfAllThreads) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const Watchdog watchdog(std::chrono::seconds(1));
        for (;;) ::pause();
      },
      "the watchdog ends this test(.|\n)*=== process");
}

}  // namespace
}  // namespace tandem::testing
