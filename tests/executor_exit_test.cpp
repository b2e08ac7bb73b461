// Executors at the end of the program. Each test runs again in a process of its own, which exits.
#include <gmock/gmock.h>
#include <tandem/executor.hpp>

#include <cstdio>
#include <cstdlib>
#include <latch>

#include <tandem/exit.hpp>

#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::ExitedWithCode;

class ExecutorExitDeathTest : public ThreadFixture {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    ThreadFixture::SetUp();
  }
};

void say(const char* text) {
  std::fputs(text, stderr);
}
/// One that is never destroyed: it is not its destructor that waits.
ThreadExecutor& kept_executor() {
  static auto* const executor = new ThreadExecutor(2);
  return *executor;
}
// Returns once main is left: so what follows it in a task happens while the exit waits.
void wait_until_main_is_left() {
  main_thread().join();
}

// SHD-02, SHD-06
TEST_F(ExecutorExitDeathTest, LeavingMainWaitsForWhatWasSubmitted) {
  EXPECT_EXIT(
      {
        for (int task = 0; task < 2; ++task) static_cast<void>(kept_executor().submit(wait_until_main_is_left));
        static_cast<void>(kept_executor().submit([] { say("the last task has run"); }));
        std::exit(0);
      },
      ExitedWithCode(0), "^the last task has run$");
}

// SHD-06, SHD-14: after a close() that did not wait.
TEST_F(ExecutorExitDeathTest, LeavingMainBehindCloseRunsOrCancelsTheRest) {
  EXPECT_EXIT(
      {
        static_cast<void>(kept_executor().submit(wait_until_main_is_left));
        static_cast<void>(kept_executor().submit([] { say("ran"); }));
        kept_executor().close();
        std::exit(0);
      },
      ExitedWithCode(0), "^ran$");
  EXPECT_EXIT(
      {
        ThreadExecutor& executor = kept_executor();
        static std::latch begun(2);
        for (int task = 0; task < 2; ++task)
          static_cast<void>(executor.submit([] {
            begun.count_down();
            wait_until_main_is_left();
          }));
        begun.wait();
        for (int task = 0; task < 100; ++task) static_cast<void>(executor.submit([] { wait_until_main_is_left(); }));
        executor.close(Backlog::Cancel);
        std::exit(3);
      },
      ExitedWithCode(3), "^$");
}

// SHD-03
TEST_F(ExecutorExitDeathTest, ExitHookCannotSubmit) {
  EXPECT_EXIT(
      {
        kept_executor().submit([] {}).get();
        at_exit([] {
          try {
            static_cast<void>(kept_executor().submit([] {}));
          } catch (const ExecutorShutDown&) {
            say("refused");
          }
          try {
            ThreadExecutor another(1);
          } catch (const StateError&) {
            say(" both");
          }
        });
        std::exit(0);
      },
      ExitedWithCode(0), "^refused both$");
}

// An executor that is a static object is destroyed behind the exit of its threads.
TEST_F(ExecutorExitDeathTest, StaticExecutorIsDestroyedInPeace) {
  EXPECT_EXIT(
      {
        static ThreadExecutor executor(2);
        executor.submit([] {}).get();
        std::exit(0);
      },
      ExitedWithCode(0), "^$");
}

}  // namespace
}  // namespace tandem::testing
