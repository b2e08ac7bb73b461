// Event between two sides, the second of which is a thread or a process.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <tandem/event.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>

#include "core/kill_point.hpp"
#include "support/asleep.hpp"
#include "support/kill_points.hpp"
#include "support/thread_fixture.hpp"
#include "support/where.hpp"
#include "sync/event_state.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::Worker;
using Clock = std::chrono::steady_clock;

class EventTest : public testing::EverywhereTest {};
TANDEM_TEST_EVERYWHERE(EventTest);

void set_it(Event event) {
  event.set();
}

void wait_twice(Event event, Queue<int> come, Queue<bool> results) {
  come.put(0);
  results.put(event.wait_for(std::chrono::hours(1)));
  event.wait();
  results.put(event.is_set());
}

// EVT-01, EVT-06, EVT-08
TEST_P(EventTest, IsSetOrNotHoweverOftenItIsTold) {
  Event event;
  EXPECT_FALSE(event.is_set());
  EXPECT_EQ(event.to_string(), "<Event(not set)>");
  for (int i = 0; i < 2; ++i) event.set();
  EXPECT_TRUE(event.is_set());
  EXPECT_EQ(event.to_string(), "<Event(set)>");
  for (int i = 0; i < 2; ++i) event.clear();
  EXPECT_FALSE(event.is_set());
  Worker worker(GetParam(), set_it, event);
  worker.start();
  worker.join();
  EXPECT_TRUE(event.is_set());
}

// EVT-02
TEST_P(EventTest, WakesAllThatWaitAndLetsLaterOnesPass) {
  Event event;
  Queue<bool> results;
  for (int round = 0; round < 2; ++round) {
    Queue<int> come;
    std::vector<Worker> workers;
    for (int i = 0; i < 4; ++i) workers.emplace_back(GetParam(), wait_twice, event, come, results);
    for (Worker& worker : workers) worker.start();
    for (int i = 0; i < 4; ++i) static_cast<void>(come.get());
    for (Worker& worker : workers) testing::wait_until_asleep(worker.native_id());
    EXPECT_TRUE(results.empty());
    event.set();
    for (int i = 0; i < 8; ++i) EXPECT_TRUE(results.get());
    for (Worker& worker : workers) worker.join();
    event.clear();
  }
}

// EVT-03, EVT-07
TEST_P(EventTest, WaitGivesUpWithFalseAndIsEndedByAnother) {
  Event event;
  EXPECT_FALSE(event.wait_for(0s));
  const auto before = Clock::now();
  EXPECT_FALSE(event.wait_for(150ms));
  EXPECT_GE(Clock::now() - before, 150ms);
  EXPECT_THROW(static_cast<void>(event.wait_for(-1ms)), std::invalid_argument);
  Worker worker(GetParam(), set_it, event);
  worker.start();
  event.wait();
  EXPECT_TRUE(event.wait_for(0s));
  EXPECT_TRUE(event.wait_for(1h));
  worker.join();
}

void say_and_wait(Event event, Queue<int> at) {
  at.put(0);
  event.wait();
  at.put(1);
}

// EVT-04
TEST_P(EventTest, LetsThoseGoWhoWaitedAlsoIfItIsClearedAtOnce) {
  Event event;
  Queue<int> at;
  std::vector<Worker> workers;
  for (int i = 0; i < 5; ++i) workers.emplace_back(GetParam(), say_and_wait, event, at);
  for (Worker& worker : workers) worker.start();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(at.get(), 0);
  // A thread that has said so may not wait yet: it is set again until all have passed.
  for (int passed = 0; passed < 5;) {
    event.set();
    event.clear();
    while (at.get_for(10ms)) ++passed;
  }
  for (Worker& worker : workers) worker.join();
}

class EventSignalTest : public testing::ThreadFixture {};

Event* signalled = nullptr;

// EVT-05
TEST_F(EventSignalTest, IsOneForAForkedProcessAndItsParent) {
  Event event, answer;
  const pid_t pid = testing::fork_child([&] {
    event.wait();
    answer.set();
    return 0;
  });
  event.set();
  answer.wait();
  EXPECT_EQ(testing::exit_code_of(pid), 0);
}

TEST_F(EventSignalTest, MayBeSetByASignalHandlerWhileTheSameThreadWaits) {
  Event event;
  signalled = &event;
  struct sigaction action{};
  action.sa_handler = [](int) { signalled->set(); };
  struct sigaction before{};
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  const pthread_t self = ::pthread_self();
  for (int round = 0; round < 200; ++round) {
    std::thread sender([&] { ::pthread_kill(self, SIGUSR1); });
    event.wait();
    sender.join();
    event.clear();
  }
  ::sigaction(SIGUSR1, &before, nullptr);
  signalled = nullptr;
}

TEST_F(EventSignalTest, KilledWaitersAndSettersHoldNobodyUp) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
  Event event;
  for (const char* const point : {"event.sleep", "event.woken"}) {  // Woken by the end of its round.
    const pid_t pid = testing::fork_child([&] {
      testing::die_at_kill_point(point);
      event.wait();
      return 0;
    });
    EXPECT_EQ(testing::exit_code_of(pid), -SIGKILL);
    event.set();
    EXPECT_TRUE(event.wait_for(60s));
    event.clear();
  }
  // Somebody sleeps for the one that is killed.
  std::optional<std::thread> sleeper;
  const auto fall_asleep = [&] {
    event.clear();
    sleeper.emplace([event]() mutable { EXPECT_TRUE(event.wait_for(60s)); });
    const detail::EventState& state = detail::event_state_of(detail::HandleAccess::object(event));
    while ((state.load() & detail::EventState::kSleepers) == 0) std::this_thread::yield();
  };
  fall_asleep();
  const auto points = testing::for_each_kill_point([&] { event.set(); },
                                                   [&](const std::string&) {
                                                     sleeper->join();
                                                     fall_asleep();
                                                   });
  EXPECT_EQ(points, std::vector<std::string>({"event.set"}));
  sleeper->join();
}

}  // namespace
}  // namespace tandem
