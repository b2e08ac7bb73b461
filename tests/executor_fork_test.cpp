// Executors and a plain fork().
#include <tandem/executor.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <latch>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

class ExecutorForkTest : public ThreadFixture {};

TEST_F(ExecutorForkTest, ExecutorIsVoidInAForkedProcess) {
  std::optional<ThreadExecutor> executor(std::in_place, 2);
  std::latch begun(1), go(1);
  const Future<int> done = executor->submit([] { return 5; });
  done.wait();
  const Future<void> held = executor->submit([&] {
    begun.count_down();
    go.wait();
  });
  begun.wait();
  const pid_t child = fork_child([&] {
    if (done.get() != 5) return 1;
    try {
      static_cast<void>(executor->submit([] {}));
      return 2;
    } catch (const StateError&) {
    }
    try {
      held.wait();
      return 3;
    } catch (const StateError&) {
    }
    executor.reset();  // Waits for nothing.
    ThreadExecutor own(2);
    return own.submit([] { return 42; }).get() == 42 ? 0 : 4;
  });
  EXPECT_EQ(exit_code_of(child), 0);
  go.count_down();
  held.get();
}

// EXE-35: a child that is forked by a task ends as any other, and waits for none of the pool's threads.
TEST_F(ExecutorForkTest, ChildForkedByATaskExits) {
  ThreadExecutor executor(2);
  const pid_t child = executor.submit([] { return fork_child([] { return 7; }); }).get();
  EXPECT_EQ(exit_code_of(child), 7);
}

// A deadline that nobody could watch is refused, and does no harm to what comes behind.
TEST_F(ExecutorForkTest, DeadlineWithoutAThreadForTheClockIsRefused) {
  const pid_t child = fork_child([] {
    ThreadExecutor executor(1);
    executor.submit([] {}).get();
    // Root is exempt from the limit.
    if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 20;
    rlimit before{};
    ::getrlimit(RLIMIT_NPROC, &before);
    const rlimit none = {0, before.rlim_max};
    if (::setrlimit(RLIMIT_NPROC, &none) != 0) return 21;
    const TaskOptions options{.deadline = std::chrono::milliseconds(10)};
    for (int round = 0; round < 2; ++round) {
      try {
        static_cast<void>(executor.submit(options, [] {}));
        return 22;
      } catch (const std::system_error& error) {
        if (error.code().value() != EAGAIN) return 23;
      }
    }
    if (executor.submit([] { return 5; }).get() != 5 || executor.counters().submitted != 2) return 24;
    ::setrlimit(RLIMIT_NPROC, &before);
    const auto until_stopped = [](const std::stop_token& stop) {
      while (!stop.stop_requested()) std::this_thread::yield();
    };
    try {
      executor.submit(options, until_stopped).get();
      return 25;
    } catch (const DeadlineExceeded&) {
      return 0;
    }
  });
  EXPECT_EQ(exit_code_of(child), 0);
}

// EXE-34: children are forked, and use executors, while a pool is busy submitting to itself.
TEST_F(ExecutorForkTest, ForkWhileAPoolIsBusy) {
  std::atomic<bool> stop{false};
  std::function<void()> again;
  ThreadExecutor executor(2);
  again = [&] {
    if (!stop) static_cast<void>(executor.submit(again));
  };
  again();
  again();
  for (int round = 0; round < 50; ++round) {
    const pid_t child = fork_child([] {
      ThreadExecutor own(2);
      return own.submit([] { return 3; }).get();
    });
    EXPECT_EQ(exit_code_of(child), 3);
  }
  stop = true;
}

}  // namespace
}  // namespace tandem::testing
