// Signals and the waits of threads: a handler that returns never ends a wait, and the main thread can be interrupted.
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>
#include <tandem/condition.hpp>
#include <tandem/exit.hpp>
#include <tandem/gil.hpp>
#include <tandem/lock.hpp>
#include <tandem/rlock.hpp>
#include <tandem/thread.hpp>
#include <tandem/timer.hpp>

#include <atomic>
#include <latch>
#include <mutex>

#include "support/bodies.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;

class SignalTest : public ThreadFixture {};
using SignalDeathTest = SignalTest;

std::atomic<int> handled = 0;
std::atomic<pid_t> handled_by = 0;

/// While it lives, `signum` is handled as told. Owner.
class Disposition {
 public:
  explicit Disposition(int signum, void (*handler)(int) = note) : signum_(signum) {
    struct sigaction action = {};  // Without SA_RESTART, so that every system call is interrupted.
    action.sa_handler = handler;
    EXPECT_EQ(::sigaction(signum, &action, &before_), 0);
    handled = 0;
    handled_by = 0;
  }
  ~Disposition() { ::sigaction(signum_, &before_, nullptr); }
  Disposition(const Disposition&) = delete;
  Disposition& operator=(const Disposition&) = delete;

 private:
  static void note(int) {
    handled_by = ::gettid();
    ++handled;
  }
  const int signum_;
  struct sigaction before_ = {};
};

// Interrupts the main thread again and again until told to stop: whatever it waits for meanwhile.
class Interruptions {
 public:
  explicit Interruptions(int signum = SIGUSR1) : signum_(signum) {
    thread_.start();
    while (handled == 0) std::this_thread::yield();
  }
  ~Interruptions() {
    // At least this many while the wait was on.
    EXPECT_GT(handled, 0);
  }

 private:
  const int signum_;
  Disposition disposition_{signum_};
  Thread thread_{[this](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      interrupt_main(signum_);
      std::this_thread::yield();
    }
  }};
};

// SIG-01
TEST_F(SignalTest, WhatAWorkerSendsIsHandledInTheMainThread) {
  const Disposition disposition(SIGUSR2);
  Thread worker([] {
    for (int i = 1; i <= 3; ++i) {
      interrupt_main(SIGUSR2);
      while (handled < i) std::this_thread::yield();
    }
  });
  worker.start();
  worker.join();
  EXPECT_EQ(handled, 3);
  EXPECT_EQ(handled_by, ::getpid());
}

// SIG-11
TEST_F(SignalTest, AWorkerInterruptsTheMainThread) {
  const Disposition disposition(SIGINT);
  Thread worker([] { interrupt_main(); });
  worker.start();
  // Waits for the signal in the system, as a program does that is interrupted.
  while (handled == 0) std::this_thread::yield();
  worker.join();
  EXPECT_EQ(handled_by, ::getpid());
}

// SIG-12
TEST_F(SignalTest, TheMainThreadInterruptsItselfAtOnce) {
  const Disposition disposition(SIGINT);
  interrupt_main();
  EXPECT_EQ(handled, 1);
}

// SIG-13
TEST_F(SignalTest, HandlersOfTheUserRun) {
  for (const int signum : {SIGINT, SIGTERM}) {
    const Disposition disposition(signum);
    interrupt_main(signum);
    EXPECT_EQ(handled, 1);
  }
}

// SIG-14
TEST_F(SignalTest, AnIgnoredSignalIsNoError) {
  for (const int signum : {SIGINT, SIGTERM}) {
    const Disposition disposition(signum, SIG_IGN);
    EXPECT_NO_THROW(interrupt_main(signum));
  }
  EXPECT_NO_THROW(interrupt_main(SIGCHLD));  // Whose default action is nothing.
}

// SIG-14: the default action is taken, as for Ctrl-C.
TEST_F(SignalDeathTest, TheDefaultActionEndsTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(interrupt_main(), ::testing::KilledBySignal(SIGINT), "^$");
  EXPECT_EXIT(
      {
        Thread worker([] { interrupt_main(SIGTERM); });
        worker.start();
        for (;;) ::pause();
      },
      ::testing::KilledBySignal(SIGTERM), "^$");
}

// SIG-15
TEST_F(SignalTest, RefusesWhatIsNoSignal) {
  for (const int signum : {-1, 0, 65, 1'000'000}) EXPECT_THROW(interrupt_main(signum), std::invalid_argument);
}

TEST_F(SignalTest, JoinContinuesAfterAHandler) {
  std::latch go(1);
  Thread thread([&go] { go.wait(); });
  thread.start();
  {
    const Interruptions interruptions;
    EXPECT_FALSE(thread.join_for(milliseconds(50)));
    go.count_down();
    thread.join();
  }
  EXPECT_FALSE(thread.is_alive());
}

// SIG-05
TEST_F(SignalTest, AcquiringALockContinuesAfterAHandler) {
  handled = 0;
  const auto check = [](auto lock) {
    std::latch held(1);
    std::latch release(1);
    Thread holder([&] {
      const std::scoped_lock guard(lock);
      held.count_down();
      release.wait();
    });
    holder.start();
    held.wait();
    const Interruptions interruptions;
    EXPECT_FALSE(lock.acquire_for(milliseconds(50)));
    release.count_down();
    lock.acquire();
    lock.release();
    holder.join();
  };
  check(Lock());
  check(RLock());
  EXPECT_GT(handled, 0);
}

// CND-15: Ctrl-C does not end the wait of a program that handles it; a notification does.
TEST_F(SignalTest, WaitingAtAConditionContinuesAfterAHandler) {
  Condition condition;
  Thread notifier([&] {
    const std::scoped_lock held(condition);
    condition.notify();
  });
  const Interruptions interruptions(SIGINT);
  const std::scoped_lock guard(condition);
  EXPECT_FALSE(condition.wait_for(milliseconds(50)));
  notifier.start();
  EXPECT_TRUE(condition.wait_for(std::chrono::hours(1)));
  notifier.join();
}

// SIG-04
TEST_F(SignalTest, LockingAGilContinuesAfterAHandler) {
  Gil gil;
  handled = 0;
  std::latch held(1);
  Thread holder({.gil = gil}, [&] {
    held.count_down();
    // Gives way only to the one that asks, which it does after the interval.
    while (handled < 20) checkpoint();
  });
  gil.set_switch_interval(std::chrono::hours(1));
  holder.start();
  held.wait();
  const Interruptions interruptions;
  const std::lock_guard guard(gil);
  EXPECT_TRUE(gil.held());
  EXPECT_GE(handled, 20);
}

TEST_F(SignalTest, ATimersWaitContinuesAfterAHandler) {
  const Interruptions interruptions;
  const auto begin = std::chrono::steady_clock::now();
  Timer timer(milliseconds(50), bodies::do_nothing);
  timer.start();
  timer.join();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(50));
}

}  // namespace
}  // namespace tandem::testing
