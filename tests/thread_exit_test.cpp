// What happens when main is left. Each test runs again in a process of its own, which exits.
#include <tandem/exit.hpp>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>
#include <tandem/thread.hpp>
#include <tandem/timer.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "support/bodies.hpp"
#include "support/thread_fixture.hpp"
#include "thread/process_exit.hpp"

namespace tandem::testing {
namespace {

using ::testing::ExitedWithCode;
using ::testing::KilledBySignal;

class ThreadExitDeathTest : public ThreadFixture {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    ThreadFixture::SetUp();
  }
};

void say(const char* text) {
  std::fputs(text, stderr);
}

// Keeps threads that nobody joins: never destroyed, so that it is not their owner that waits for them.
void keep(std::unique_ptr<Thread> thread) {
  static auto* const mutex = new std::mutex;
  static auto* const kept = new std::vector<std::unique_ptr<Thread>>;
  const std::lock_guard guard(*mutex);
  kept->push_back(std::move(thread));
}

template <class Body>
void start_and_forget(ThreadOptions options, Body body) {
  auto thread = std::make_unique<Thread>(std::move(options), std::move(body));
  thread->start();
  keep(std::move(thread));
}

// Returns once main is left: so what follows it in a thread happens while the exit waits.
void wait_until_main_is_left() {
  main_thread().join();
}

// THR-29
TEST_F(ThreadExitDeathTest, LeavingMainWaitsForAThreadThatIsNoDaemon) {
  EXPECT_EXIT(
      {
        start_and_forget({}, [] {
          wait_until_main_is_left();
          say("the thread has ended");
        });
        std::exit(0);
      },
      ExitedWithCode(0), "^the thread has ended$");
}

// THR-33
TEST_F(ThreadExitDeathTest, LeavingMainWaitsForAThreadStartedMeanwhile) {
  EXPECT_EXIT(
      {
        start_and_forget({}, [] {
          wait_until_main_is_left();
          start_and_forget({}, [] { start_and_forget({}, [] { say("the last has ended"); }); });
        });
        std::exit(0);
      },
      ExitedWithCode(0), "^the last has ended$");
}

struct MadeLate {
  ~MadeLate() {
    text = nullptr;
    say("static object destroyed");
  }
  const char* text = "thread uses it. ";
};
MadeLate& made_late() {
  static MadeLate object;
  return object;
}

TEST_F(ThreadExitDeathTest, StaticObjectsOutliveTheThreadsThatUseThem) {
  EXPECT_EXIT(
      {
        start_and_forget({}, [] {
          static_cast<void>(made_late());
          wait_until_main_is_left();
          say(made_late().text);
        });
        std::exit(0);
      },
      ExitedWithCode(0), "^thread uses it. static object destroyed$");
}

// THR-18
struct AsksAtExit {
  ~AsksAtExit() {
    const bool sane = current_thread() == main_thread() && enumerate() == std::vector<ThreadInfo>{main_thread()};
    say(sane ? "sane" : "insane");
  }
  bool used = false;
};
TEST_F(ThreadExitDeathTest, ObjectsDestroyedAtExitSeeTheMainThreadOnly) {
  EXPECT_EXIT(
      {
        static AsksAtExit asks;
        asks.used = true;
        start_and_forget({}, wait_until_main_is_left);
        std::exit(0);
      },
      ExitedWithCode(0), "^sane$");
}

// THR-20
TEST_F(ThreadExitDeathTest, FirstUseInASecondaryThreadGivesACleanExit) {
  EXPECT_EXIT(
      {
        std::thread([] {
          Thread thread(bodies::do_nothing);
          thread.start();
          thread.join();
          start_and_forget({}, [] { wait_until_main_is_left(); });
        }).join();
        std::exit(0);
      },
      ExitedWithCode(0), "^$");
}

// THR-32, SHD-32: and the exit code is kept.
TEST_F(ThreadExitDeathTest, DaemonThreadsThatAreBusyDoNotDisturbTheExit) {
  EXPECT_EXIT(
      {
        std::latch busy(40);
        for (int i = 0; i < 40; ++i)
          start_and_forget({.daemon = true}, [&busy] {
            busy.count_down();
            for (;;) {
              const int fd = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
              char bytes[512];
              static_cast<void>(::read(fd, bytes, sizeof bytes));
              ::close(fd);
            }
          });
        busy.wait();
        std::exit(6);
      },
      ExitedWithCode(6), "^$");
}

// THR-43
TEST_F(ThreadExitDeathTest, AForeignThreadThatStillLivesDoesNotDisturbTheExit) {
  EXPECT_EXIT(
      {
        std::latch registered(1);
        std::thread([&registered] {
          static_cast<void>(current_thread());
          registered.count_down();
          for (;;) ::pause();
        }).detach();
        registered.wait();
        std::exit(0);
      },
      ExitedWithCode(0), "^$");
}

// SIG-10
TEST_F(ThreadExitDeathTest, InterruptWhileTheExitWaitsEndsTheProgram) {
  EXPECT_EXIT(
      {
        start_and_forget({}, [] {
          wait_until_main_is_left();
          ::kill(::getpid(), SIGINT);
          for (;;) ::pause();
        });
        std::exit(0);
      },
      KilledBySignal(SIGINT), "");
}

// SHD-34
TEST_F(ThreadExitDeathTest, AfterTheWaitNoThreadCanBeStarted) {
  EXPECT_EXIT(
      {
        at_exit([] {
          Thread late(bodies::do_nothing);
          try {
            late.start();
          } catch (const StateError& error) {
            say(error.what());
          }
        });
        std::exit(0);
      },
      ExitedWithCode(0), "^this process is ending: no thread can be started any more$");
}

TEST_F(ThreadExitDeathTest, ExitInTheMainThreadEndsTheProgramWithItsCode) {
  EXPECT_EXIT(tandem::exit(7), ExitedWithCode(7), "");
}

// SHD-31
TEST_F(ThreadExitDeathTest, ExitInTheMainThreadWaitsForAThreadThatIsNoDaemon) {
  EXPECT_EXIT(
      {
        start_and_forget({}, [] {
          wait_until_main_is_left();
          say("the thread has ended");
        });
        tandem::exit(7);
      },
      ExitedWithCode(7), "^the thread has ended$");
}

// SHD-36
TEST_F(ThreadExitDeathTest, HookJoinsADaemonThatHasEnded) {
  EXPECT_EXIT(
      {
        static Thread daemon({.daemon = true}, bodies::do_nothing);
        daemon.start();
        at_exit([] {
          daemon.join();
          daemon.join();
          say("joined");
        });
        std::exit(0);
      },
      ExitedWithCode(0), "^joined$");
}

TEST_F(ThreadExitDeathTest, ExitCalledByAThreadDoesNotWaitForItself) {
  EXPECT_EXIT(
      {
        start_and_forget({}, [] { std::exit(5); });
        for (;;) ::pause();
      },
      ExitedWithCode(5), "");
}

void say_around_children() {
  detail::on_process_exit([] { say("children "); });
}

// SHD-38, SHD-39
TEST_F(ThreadExitDeathTest, HooksRunOnceByPriorityThenTheLatestFirstAfterTheThreads) {
  EXPECT_EXIT(
      {
        say_around_children();
        at_exit([] { say("first "); });
        at_exit([] { say("second "); });
        at_exit([] { say("early "); }, 10);
        at_exit([] { say("late "); }, -1);
        const ExitHookId never = at_exit([] { say("never "); });
        if (!cancel(never) || cancel(never)) say("cannot cancel ");
        at_exit([] {
          say("hook of a hook: ");
          at_exit([] { say("inner "); });
        });
        start_and_forget({}, [] {
          wait_until_main_is_left();
          say("thread ");
        });
        std::exit(0);
      },
      ExitedWithCode(0), "^thread early hook of a hook: inner second first children late $");
}

TEST_F(ThreadExitDeathTest, AHookThatThrowsIsReportedAndTheOthersRun) {
  EXPECT_EXIT(
      {
        at_exit([] { say("the other"); });
        at_exit([] { throw bodies::BodyError("the hook is broken"); });
        at_exit([] { tandem::exit(3); });
        std::exit(0);
      },
      ExitedWithCode(0), "^Exception in exit hook:\n.*BodyError: the hook is broken\nthe other$");
}

struct HooksTooLate {
  ~HooksTooLate() {
    try {
      at_exit([] {});
    } catch (const StateError& error) {
      say(error.what());
    }
  }
  bool used = false;
};
// SHD-40
TEST_F(ThreadExitDeathTest, AHookThatCouldNotRunIsRefused) {
  EXPECT_THROW(at_exit(nullptr), std::invalid_argument);
  EXPECT_EXIT(
      {
        static HooksTooLate late;
        late.used = true;
        static_cast<void>(current_thread());
        std::exit(0);
      },
      ExitedWithCode(0), "^this process is ending: its exit hooks have run$");
}

// SHD-43: hooks are registered and taken back by threads while others run.
TEST_F(ThreadExitDeathTest, HooksAreRegisteredWhileOthersRun) {
  EXPECT_EXIT(
      {
        static std::atomic<int> registering{0};
        for (int i = 0; i < 4; ++i)
          start_and_forget({.daemon = true}, [] {
            ++registering;
            try {
              for (int round = 0;; ++round) {
                // Not for ever: together they are quicker than who runs them.
                if (round < 1000) at_exit([] {});
                static_cast<void>(cancel(at_exit([] {})));
              }
            } catch (const StateError&) {
            }
          });
        while (registering < 4) std::this_thread::yield();
        std::exit(0);
      },
      ExitedWithCode(0), "^$");
}

}  // namespace
}  // namespace tandem::testing
