// The lock of all shared data, where it stands on the robust mutex of the C library.
#include "ipc/shared_lock.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <optional>
#include <thread>
#include <utility>

#include "support/asleep.hpp"
#include "support/leak_checked_test.hpp"
#include "support/outside_memory.hpp"

namespace tandem::detail {
namespace {

struct Shared {
  SharedLock lock;
  std::atomic<bool> begun;
  std::byte* base() { return reinterpret_cast<std::byte*>(this); }
};

using SharedLockKillTest = testing::LeakCheckedTest;

// The C library marks the mutex as waited for when somebody begins to sleep, and the kernel wakes one when its owner
// lets go. If that one is killed on its way and the owner has it again by then, nobody knows of the next sleeper.
TEST_F(SharedLockKillTest, AWakeUpThatDiesWithTheWokenIsMadeGood) {
  const testing::OutsideMemory<Shared> shared;
  shared->lock.initialise();
  // This lock has nothing to do with the arena: should the first have it when it is killed, that one's is not
  // recovered.
  const auto recover = std::exchange(recover_inner_lock, nullptr);
  cpu_set_t before, here;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&here);
  CPU_SET(::sched_getcpu(), &here);
  for (int round = 0; round < 20; ++round) {
    shared->begun = false;
    std::thread second;
    pid_t first = 0;
    {
      // On one core, where the first sleeper waits for it when it is woken, being of no importance.
      ASSERT_EQ(::sched_setaffinity(0, sizeof here, &here), 0);
      std::optional<Transaction> holding(std::in_place, shared->lock, shared->base());
      first = ::fork();
      if (first == 0) {
        const sched_param none{};
        ::sched_setscheduler(0, SCHED_IDLE, &none);
        shared->begun = true;
        const Transaction waits(shared->lock, shared->base());
        ::_exit(0);
      }
      while (!shared->begun || !testing::is_asleep(first)) std::this_thread::yield();
      std::atomic<pid_t> second_id{0};
      second = std::thread([&] {
        ::sched_setaffinity(0, sizeof before, &before);
        second_id = ::gettid();
        const Transaction waits(shared->lock, shared->base());
      });
      while (second_id == 0 || !testing::is_asleep(second_id)) std::this_thread::yield();
      holding.reset();
      holding.emplace(shared->lock, shared->base());
      ::kill(first, SIGKILL);
      const sched_param none{};
      ::sched_setscheduler(first, SCHED_OTHER, &none);  // Or it takes its time to go, if others compute.
      int status = 0;
      EXPECT_EQ(::waitpid(first, &status, 0), first);
    }
    second.join();
    ::sched_setaffinity(0, sizeof before, &before);
  }
  recover_inner_lock = recover;
}

}  // namespace
}  // namespace tandem::detail
