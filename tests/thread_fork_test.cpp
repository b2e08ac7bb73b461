// Threads in a process made by a bare fork(). Some of the children start threads, which the thread sanitizer cannot
// follow; that is what this file's name tells the build.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>
#include <tandem/exit.hpp>
#include <tandem/gil.hpp>
#include <tandem/start_new_thread.hpp>
#include <tandem/thread.hpp>

#include <cstdlib>
#include <latch>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "support/bodies.hpp"
#include "support/thread_fixture.hpp"
#include "thread/process_exit.hpp"

namespace tandem::testing {
namespace {

class ThreadForkTest : public ThreadFixture {};

// What must hold in every child: exactly one thread, which is the main one. 0 if it does, else what does not.
int one_main_thread() {
  if (active_count() != 1) return 1;
  if (enumerate() != std::vector<ThreadInfo>{main_thread()}) return 2;
  if (!(current_thread() == main_thread())) return 3;
  if (!current_thread().is_main() || !current_thread().is_alive() || current_thread().daemon()) return 4;
  if (current_thread().native_id() != ::getpid() || ::gettid() != ::getpid()) return 5;
  if (thread_count() != 0) return 6;
  return 0;
}

// The same, and that threads can be started and are waited for at the end.
int one_main_thread_that_works() {
  if (const int wrong = one_main_thread(); wrong != 0) return wrong;
  bool ran = false;
  Thread thread([&ran] { ran = true; });
  thread.start();
  thread.join();
  if (!ran) return 10;
  static bool ended = false;
  static Thread forgotten([] {
    main_thread().join();  // Returns once main is left.
    ended = true;
  });
  forgotten.start();
  detail::run_process_exit();
  return ended ? 0 : 11;
}

// THR-24 THR-28
TEST_F(ThreadForkTest, ChildOfTheMainThreadKeepsItsIdentity) {
  const std::uint64_t id = main_thread().id();
  const ThreadInfo main = main_thread();
  EXPECT_EQ(exit_code_of(fork_child([&] {
              if (main_thread().id() != id || !(main == main_thread()) || main_thread().name() != "MainThread")
                return 20;
              return one_main_thread_that_works();
            })),
            0);
  EXPECT_EQ(main_thread().native_id(), ::getpid());
}

// THR-22
TEST_F(ThreadForkTest, ChildForgetsAForeignThread) {
  std::latch registered(1);
  std::latch go(1);
  std::optional<ThreadInfo> info;
  std::thread foreign([&] {
    info.emplace(current_thread());
    registered.count_down();
    go.wait();
  });
  registered.wait();
  EXPECT_EQ(exit_code_of(fork_child([&] { return info->is_alive() ? 20 : one_main_thread(); })), 0);
  EXPECT_TRUE(info->is_alive());
  go.count_down();
  foreign.join();
}

// THR-26
TEST_F(ThreadForkTest, ForkInAForeignThreadGivesASaneMainThread) {
  static_cast<void>(current_thread());
  std::thread([] {
    EXPECT_EQ(exit_code_of(fork_child([] {
                if (main_thread().name() != "MainThread") return 20;
                return one_main_thread_that_works();
              })),
              0);
  }).join();
}

// THR-27
TEST_F(ThreadForkTest, ForkInAForeignThreadThatIsKnownGivesASaneMainThread) {
  std::thread([] {
    const std::uint64_t id = current_thread().id();
    EXPECT_EQ(exit_code_of(fork_child([id] {
                if (main_thread().id() != id || main_thread().name() != "MainThread") return 20;
                return one_main_thread_that_works();
              })),
              0);
    EXPECT_FALSE(current_thread().is_main());
  }).join();
}

// THR-30
TEST_F(ThreadForkTest, LeavingAForkedChildWaitsForItsThreads) {
  EXPECT_EQ(exit_code_of(fork_child([] { return one_main_thread_that_works(); })), 0);
}

// THR-31
TEST_F(ThreadForkTest, InAChildForkedByAWorkerTheOldMainThreadHasEnded) {
  const ThreadInfo old_main = main_thread();
  Thread other(bodies::wait_for_stop);
  other.start();
  Thread worker({.name = "the worker", .daemon = true}, [&] {
    EXPECT_EQ(exit_code_of(fork_child([&] {
                if (old_main.is_alive() || old_main.is_main()) return 20;
                old_main.join();
                if (other.is_alive() || !other.request_stop()) return 21;
                other.join();
                if (main_thread().name() != "the worker") return 22;
                return one_main_thread_that_works();
              })),
              0);
  });
  worker.start();
  worker.join();
  EXPECT_TRUE(other.is_alive());
}

// THR-35
TEST_F(ThreadForkTest, ChildOfAProcessWithManyThreadsKnowsOne) {
  std::vector<Thread> threads;
  for (int i = 0; i < 16; ++i) threads.emplace_back(bodies::wait_for_stop);
  for (Thread& thread : threads) thread.start();
  EXPECT_EQ(active_count(), 17U);
  EXPECT_EQ(exit_code_of(fork_child([&] {
              for (Thread& thread : threads) {
                if (thread.is_alive()) return 20;
                thread.join();
              }
              return one_main_thread_that_works();
            })),
            0);
}

TEST_F(ThreadForkTest, ThreadsThatEndedUnjoinedInTheParentCanBeJoinedAndDropped) {
  std::vector<Thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(bodies::do_nothing);
  for (Thread& thread : threads) thread.start();
  for (Thread& thread : threads)
    while (thread.is_alive()) std::this_thread::yield();
  EXPECT_EQ(exit_code_of(fork_child([&] {
              threads[0].join();
              threads.clear();
              return one_main_thread();
            })),
            0);
}

// THR-34
TEST_F(ThreadForkTest, SixteenThreadsForkAtOnceAndEachGetsItsChildBack) {
  std::latch go(1);
  std::vector<Thread> threads;
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&go, i] {
      go.wait();
      const pid_t pid = fork_child([i] {
        const int wrong = one_main_thread();
        return wrong != 0 ? wrong : 50 + i;
      });
      EXPECT_EQ(exit_code_of(pid), 50 + i);
    });
  for (Thread& thread : threads) thread.start();
  go.count_down();
  for (Thread& thread : threads) thread.join();
}

// THR-67
TEST_F(ThreadForkTest, ForkInADetachedTaskEndsTheChildCleanlyWithItsStatus) {
  int code = -1;
  start_new_thread([&code] { code = exit_code_of(fork_child([] { return one_main_thread() + 77; })); }).join();
  EXPECT_EQ(code, 77);
}

// THR-68
TEST_F(ThreadForkTest, AThreadNotStartedBeforeTheForkCanBeStartedInTheChild) {
  bool ran = false;
  Thread thread([&ran] { ran = true; });
  EXPECT_EQ(exit_code_of(fork_child([&] {
              thread.start();
              thread.join();
              return ran ? 0 : 1;
            })),
            0);
  EXPECT_FALSE(ran);
  thread.start();
  thread.join();
  EXPECT_TRUE(ran);
}

// THR-09
TEST_F(ThreadForkTest, WhereNoThreadIsAllowedTheStartFailsCleanly) {
  EXPECT_EQ(exit_code_of(fork_child([] {
              // Root is exempt from the limit.
              if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 20;
              const rlimit none = {0, 0};
              if (::setrlimit(RLIMIT_NPROC, &none) != 0) return 21;
              bool ran = false;
              Thread thread([&ran] { ran = true; });
              for (int i = 0; i < 3; ++i) {
                try {
                  thread.start();
                  return 22;
                } catch (const std::system_error& error) {
                  if (error.code().value() != EAGAIN) return 23;
                }
              }
              ThreadHandle handle;
              try {
                start_new_thread(handle, [&ran] { ran = true; });
                return 24;
              } catch (const std::system_error&) {
              }
              if (handle.done() || thread.is_alive() || ran) return 25;
              return one_main_thread();
            })),
            0);
}

TEST_F(ThreadForkTest, AChildForkedWhileThreadsComeAndGoFindsNothingLocked) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer's allocator keeps its locks across fork(), so the child hangs in it";
  std::vector<Thread> busy;
  for (int i = 0; i < 4; ++i)
    busy.emplace_back([](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        Thread thread(bodies::do_nothing);
        thread.start();
        thread.set_name("renamed");
        at_exit([] {}, 1);
        const Gil gil;
        thread.join();
      }
    });
  for (Thread& thread : busy) thread.start();
  for (int i = 0; i < 100; ++i)
    ASSERT_EQ(exit_code_of(fork_child([] {
                Gil gil;
                const std::lock_guard guard(gil);
                return one_main_thread_that_works();
              })),
              0);
  for (Thread& thread : busy) thread.request_stop();
  for (Thread& thread : busy) thread.join();
  detail::clear_exit_hooks();
}

TEST_F(ThreadForkTest, AGilIsHeldInTheChildOnlyIfTheForkingThreadHeldIt) {
  Gil mine;
  Gil others;
  std::latch held(1);
  Thread holder({.gil = others}, [&](const std::stop_token& stop) {
    held.count_down();
    bodies::wait_for_stop(stop);
  });
  holder.start();
  held.wait();
  {
    const std::lock_guard guard(mine);
    EXPECT_EQ(exit_code_of(fork_child([&] {
                if (!mine.held()) return 20;
                mine.unlock();
                if (!others.try_lock()) return 21;
                others.unlock();
                return 0;
              })),
              0);
    EXPECT_TRUE(mine.held());
  }
  EXPECT_FALSE(others.try_lock());
}

}  // namespace
}  // namespace tandem::testing
