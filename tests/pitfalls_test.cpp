// The code of docs/pitfalls.md, in its order: what fails beside what works. tools/check_docs holds the two together;
// what must not compile is in tests/must_not_compile.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <vector>

#include <tandem/tandem.hpp>

#include "support/leak_checked_test.hpp"

using namespace std::chrono_literals;

namespace {

class PitfallsTest : public tandem::testing::LeakCheckedTest {};

// --- a global is not shared

int counter = 0;
void count_in_a_global() {
  ++counter;
}
void count_in_a_queue(tandem::Queue<int> counts) {
  counts.put(1);
}

TEST_F(PitfallsTest, AGlobalIsEachProcessesOwn) {
  tandem::Process p(count_in_a_global);
  p.start();
  p.join();
  EXPECT_EQ(counter, 0);  // the child counted in its own copy
}

TEST_F(PitfallsTest, AQueueBringsResultsBack) {
  tandem::Queue<int> counts;
  tandem::Process p(count_in_a_queue, counts);
  p.start();
  p.join();
  EXPECT_EQ(counts.get(), 1);
}

// --- a loop over a queue that nobody closes

void put_three(tandem::Queue<int> queue) {
  for (int i = 0; i < 3; ++i) queue.put(i);
}

TEST_F(PitfallsTest, AnOpenQueueHasNoEnd) {
  tandem::Queue<int> queue;
  tandem::Process p(put_three, queue);
  p.start();
  p.join();
  // for (int item : queue) would wait for a fourth item for ever, although nobody is left who could put one.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.get(), i);
  EXPECT_EQ(queue.get_for(10ms), std::nullopt);
}

TEST_F(PitfallsTest, AClosedQueueHasOne) {
  tandem::Queue<int> queue;
  tandem::Process p(put_three, queue);
  p.start();
  p.join();
  queue.close();
  int items = 0;
  for (int item : queue) items += (item >= 0);
  EXPECT_EQ(items, 3);
}

// --- closing while others still put

void put_after(tandem::Queue<int> signal, tandem::Queue<int> queue) {
  static_cast<void>(signal.get());
  queue.put(1);
}

TEST_F(PitfallsTest, PutIntoAClosedQueueThrows) {
  tandem::Queue<int> signal, queue;
  tandem::Process p(put_after, signal, queue);
  p.start();
  queue.close();  // too early
  signal.put(0);
  p.join();
  EXPECT_EQ(p.exitcode(), 1);
  EXPECT_EQ(p.crash_report().value().exception_type, "tandem::QueueClosed");
}

TEST_F(PitfallsTest, CloseOnceTheProducersAreJoined) {
  tandem::Queue<int> signal, queue;
  tandem::Process p(put_after, signal, queue);
  p.start();
  signal.put(0);
  p.join();
  queue.close();
  EXPECT_EQ(queue.get(), 1);
}

// --- joining a producer that waits for room

TEST_F(PitfallsTest, JoinWaitsForAProducerThatWaitsForRoom) {
  tandem::Queue<int> queue(1);
  tandem::Process p(put_three, queue);
  p.start();
  EXPECT_FALSE(p.join_for(50ms));  // join() would never return
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.get(), i);
  p.join();
}

TEST_F(PitfallsTest, AQueueWithoutABoundNeedsNoReader) {
  tandem::Queue<int> queue;
  tandem::Process p(put_three, queue);
  p.start();
  p.join();
  EXPECT_EQ(queue.size(), 3u);
}

// --- priority

TEST_F(PitfallsTest, TheSmallestComesFirst) {
  {
    tandem::PriorityQueue<int> urgency;
    urgency.put_many(std::vector{1, 10});
    EXPECT_EQ(urgency.get(), 1);
  }
  tandem::PriorityQueue<int, std::greater<int>> urgency;
  urgency.put_many(std::vector{1, 10});
  EXPECT_EQ(urgency.get(), 10);
}

// --- task_done

TEST_F(PitfallsTest, TaskDoneOnceForEachItem) {
  tandem::Queue<int> jobs;
  jobs.put(1);
  static_cast<void>(jobs.get());
  jobs.task_done();
  EXPECT_THROW(jobs.task_done(), std::logic_error);
}

// --- a destructor that waits

TEST_F(PitfallsTest, ADestructorAsksTheBodyToStopAndWaitsForIt) {
  tandem::Queue<int> rounds;
  {
    tandem::Thread t([rounds](std::stop_token stop) mutable {
      // `while (true)` would never let the destructor of t return.
      while (!stop.stop_requested()) rounds.put(1);
    });
    t.start();
    static_cast<void>(rounds.get());
  }
  EXPECT_FALSE(rounds.closed());
}

// --- a daemon's work

void put_later(tandem::Queue<int> signal, tandem::Queue<int> results) {
  results.put(signal.get());
}

TEST_F(PitfallsTest, ADaemonEndsWithItsOwner) {
  tandem::Queue<int> signal, results;
  {
    tandem::ProcessOptions options;
    options.daemon = true;
    tandem::Process p(options, put_later, signal, results);
    p.start();
  }  // terminated here
  signal.put(1);
  EXPECT_EQ(results.get_for(10ms), std::nullopt);
}

TEST_F(PitfallsTest, WhatMustBeFinishedIsJoined) {
  tandem::Queue<int> signal, results;
  {
    tandem::Process p(put_later, signal, results);
    p.start();
    signal.put(1);
    p.join();
  }
  EXPECT_EQ(results.get(), 1);
}

// --- shared data

void add_one(tandem::Value<int> total) {
  total += 1;
}

TEST_F(PitfallsTest, GetAndSetAreTwoSteps) {
  tandem::Value<int> total;
  const int seen = total.get();
  tandem::Process p(add_one, total);
  p.start();
  p.join();
  total.set(seen + 1);  // what total.set(total.get() + 1) does
  EXPECT_EQ(total, 1);  // the child's one is lost
}

TEST_F(PitfallsTest, AddingIsOneStep) {
  tandem::Value<int> total;
  tandem::Process p(add_one, total);
  p.start();
  total += 1;
  total.update([](int value) { return value + 1; });
  {
    std::scoped_lock guard(total);
    total.set(total.get() + 1);
  }
  p.join();
  EXPECT_EQ(total, 4);
}

TEST_F(PitfallsTest, ACopyOfAValueIsTheSameValue) {
  tandem::Value<int> total(1);
  auto before = total;
  total += 1;
  EXPECT_EQ(before, 2);
}

TEST_F(PitfallsTest, GetCopiesTheValueOut) {
  tandem::Value<int> total(1);
  const int before = total.get();
  total += 1;
  EXPECT_EQ(before, 1);
}

void count_one(tandem::Array<int> counts) {
  std::scoped_lock guard(counts);
  ++counts[0];
}

TEST_F(PitfallsTest, AnElementIsReadAndWrittenInTwoSteps) {
  tandem::Array<int> counts(1);
  const int seen = counts[0];
  tandem::Process p(count_one, counts);
  p.start();
  p.join();
  counts[0] = seen + 1;  // what ++counts[0] does
  EXPECT_EQ(counts[0], 1);
}

TEST_F(PitfallsTest, AnElementIsChangedUnderTheLock) {
  tandem::Array<int> counts(1);
  tandem::Process p(count_one, counts);
  p.start();
  {
    std::scoped_lock guard(counts);
    ++counts[0];
  }
  p.join();
  EXPECT_EQ(counts[0], 2);
}

// --- a Gil without checkpoints

TEST_F(PitfallsTest, ACheckpointLetsTheOthersRun) {
  tandem::Gil gil;
  tandem::Queue<int> turns;
  // Without the checkpoint, the second thread would not run before the first has ended: here never.
  tandem::Thread loop(tandem::ThreadOptions{.gil = gil}, [turns] {
    while (turns.empty()) tandem::checkpoint();
  });
  tandem::Thread other(tandem::ThreadOptions{.gil = gil}, [turns]() mutable { turns.put(1); });
  loop.start();
  other.start();
  loop.join();
  other.join();
  EXPECT_EQ(turns.get(), 1);
}

// --- executors: what tasks refer to goes too early

TEST_F(PitfallsTest, WhatTasksReferToIsDeclaredBeforeTheExecutor) {
  std::atomic<int> done{0};            // destroyed behind the executor,
  tandem::ThreadExecutor executor(2);  // whose destructor waits for the tasks
  for (int task = 0; task < 10; ++task) static_cast<void>(executor.submit([&done] { ++done; }));
  executor.shutdown();
  EXPECT_EQ(done, 10);
}

// --- a task that waits for another one

TEST_F(PitfallsTest, ATaskWaitsForAFuture) {
  tandem::ThreadExecutor executor(1);
  tandem::Future<int> outer = executor.submit([&executor] {
    tandem::Future<int> inner = executor.submit([] { return 41; });
    return inner.get() + 1;  // the only worker runs `inner` here
  });
  EXPECT_EQ(outer.get(), 42);
}

// --- a deadline asks a thread to stop

TEST_F(PitfallsTest, ADeadlineAsksAThreadToStop) {
  tandem::ThreadExecutor executor(1);
  auto search = [](std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();  // one step of the search
  };
  tandem::Future<void> found = executor.submit({.deadline = 20ms}, search);
  EXPECT_THROW(found.get(), tandem::DeadlineExceeded);
}

// --- the executor goes before the results are read

TEST_F(PitfallsTest, AnExecutorOutlivesTheReadingOfItsMap) {
  std::vector<int> input(1000, 1);
  auto negated = [](int value) { return -value; };
  int total = 0;
  tandem::ThreadExecutor executor(2);
  for (int value : executor.map(negated, input)) total += value;
  EXPECT_EQ(total, -1000);
}

}  // namespace
