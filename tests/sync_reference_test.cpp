// The code of docs/reference/lock.md, semaphore.md, event.md, condition.md and barrier.md, and of the pitfalls of
// locks.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include <tandem/tandem.hpp>

#include "support/leak_checked_test.hpp"

namespace tandem::testing {
namespace {

using namespace std::chrono_literals;

class SyncReferenceTest : public LeakCheckedTest {};

// --- lock.md

void append(tandem::Lock lock, tandem::Queue<std::string> log, int id) {
  for (int line = 0; line < 3; ++line) {
    const std::scoped_lock guard(lock);
    log.put(std::to_string(id) + " begins");
    log.put(std::to_string(id) + " ends");
  }
}

TEST_F(SyncReferenceTest, ALock) {
  tandem::Lock lock;
  tandem::Queue<std::string> log;
  tandem::Process a(append, lock, log, 1), b(append, lock, log, 2);
  a.start();
  b.start();
  a.join();
  b.join();
  while (const auto begin = log.try_get()) EXPECT_EQ(log.get().substr(0, 1), begin->substr(0, 1));
}

void die_with(tandem::Lock lock) {
  lock.acquire();
  ::_exit(1);
}

TEST_F(SyncReferenceTest, ALockWhoseOwnerDied) {
  tandem::Lock lock;
  tandem::Process p(die_with, lock);
  p.start();
  p.join();
  bool mended = false;
  try {
    const std::scoped_lock guard(lock);
  } catch (const tandem::OwnerDied&) {
    lock.recover();
    mended = true;  // Look at what the lock guards and make it whole.
    lock.repaired();
    lock.release();
  }
  EXPECT_TRUE(mended);
  EXPECT_TRUE(lock.try_acquire());
}

TEST_F(SyncReferenceTest, ALockThatTells) {
  tandem::Lock lock(tandem::OnOwnerDeath::Tell);
  tandem::Process p(die_with, lock);
  p.start();
  p.join();
  if (lock.acquire().owner_died()) lock.repaired();
  lock.release();
  EXPECT_FALSE(lock.owner_died());
}

// --- semaphore.md

void simulate(tandem::Semaphore licences, tandem::Queue<int> done) {
  const std::scoped_lock licence(licences);  // At most two are here at a time.
  done.put(1);
}

TEST_F(SyncReferenceTest, ASemaphore) {
  tandem::Semaphore licences(2);
  tandem::Queue<int> done;
  std::vector<tandem::Process> processes;
  for (int i = 0; i < 4; ++i) processes.emplace_back(simulate, licences, done);
  for (auto& process : processes) process.start();
  for (auto& process : processes) process.join();
  EXPECT_EQ(done.size(), 4U);
  EXPECT_EQ(licences.value(), 2U);
}

// --- event.md

void serve(tandem::Event ready, tandem::Event stop) {
  ready.set();
  stop.wait();
}

TEST_F(SyncReferenceTest, AnEvent) {
  tandem::Event ready, stop;
  tandem::Process server(serve, ready, stop);
  server.start();
  ready.wait();
  stop.set();
  server.join();
  EXPECT_EQ(server.exitcode(), 0);
}

// --- condition.md

void produce(tandem::Condition changed, tandem::Queue<int> jobs) {
  const std::scoped_lock guard(changed);
  jobs.put(1);
  jobs.put(2);
  changed.notify();
}

TEST_F(SyncReferenceTest, ACondition) {
  tandem::Condition changed;
  tandem::Queue<int> jobs;
  tandem::Process producer(produce, changed, jobs);
  producer.start();
  {
    std::unique_lock guard(changed);
    changed.wait([&] { return jobs.size() == 2; });
  }
  producer.join();
}

// --- barrier.md

void next_step(tandem::Queue<int> steps) {
  steps.put(1);
}

void compute(tandem::Barrier barrier) {
  for (int step = 0; step < 3; ++step) {
    // ... compute this step's part ...
    barrier.wait();
    // ... here every part of the step is there ...
  }
}

TEST_F(SyncReferenceTest, ABarrier) {
  tandem::Queue<int> steps;
  tandem::Barrier barrier(2, next_step, steps);
  tandem::Process a(compute, barrier), b(compute, barrier);
  a.start();
  b.start();
  a.join();
  b.join();
  EXPECT_EQ(steps.size(), 3U);
}

// --- pitfalls

TEST_F(SyncReferenceTest, UnitsThatAnotherReleasedComeBackTwice) {
  tandem::Semaphore arrived(0);  // Made to signal, but counts its units by process.
  tandem::Process p(
      +[](tandem::Semaphore signal) {
        signal.acquire();
        ::_exit(1);
      },
      arrived);
  p.start();
  arrived.release();
  p.join();
  EXPECT_TRUE(arrived.acquire_for(60s));  // A signal that nobody gave: the dead process's unit has come back.
}

TEST_F(SyncReferenceTest, SignalsHaveNoOwner) {
  tandem::Semaphore arrived(0, tandem::UnitsOfTheDead::StayOut);
  tandem::Process p(
      +[](tandem::Semaphore signal) {
        signal.acquire();
        ::_exit(1);
      },
      arrived);
  p.start();
  arrived.release();
  p.join();
  EXPECT_FALSE(arrived.acquire_for(200ms));
}

}  // namespace
}  // namespace tandem::testing
