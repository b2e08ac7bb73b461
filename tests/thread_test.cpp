#include <tandem/thread.hpp>

#include <gmock/gmock.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <set>
#include <system_error>
#include <thread>
#include <vector>

#include "support/bodies.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class ThreadTest : public ThreadFixture {};
class ThreadReportTest : public ReportFixture {};

void named_function() {}
struct NamedCallable {
  void operator()() const {}
};

// THR-01
TEST_F(ThreadTest, KeepsTheNameThatItIsGiven) {
  EXPECT_EQ(Thread({.name = "hello"}, bodies::do_nothing).name(), "hello");
  EXPECT_EQ(Thread({.name = std::string("a\0b", 3)}, bodies::do_nothing).name(), std::string("a\0b", 3));
}

// THR-01
TEST_F(ThreadTest, WithoutANameGetsANumberAndMentionsWhatItRuns) {
  EXPECT_THAT(Thread(named_function).name(), MatchesRegex("Thread-[0-9]+ \\(named_function\\)"));
  EXPECT_THAT(Thread({.name = ""}, NamedCallable()).name(), MatchesRegex("Thread-[0-9]+ \\(NamedCallable\\)"));
  EXPECT_THAT(Thread([] {}).name(), MatchesRegex("Thread-[0-9]+"));
  EXPECT_NE(Thread([] {}).name(), Thread([] {}).name());
}

// THR-02
TEST_F(ThreadTest, HandsArgumentsToTheBodyUnchanged) {
  CaughtReports reports;
  Thread thread(bodies::expect_arguments, bodies::kScalarArgument, bodies::kTextArgument, bodies::nested_argument());
  thread.start();
  thread.join();
  EXPECT_TRUE(reports.take().empty());
}

TEST_F(ThreadTest, CopiesItsArgumentsAndRefersWhereToldTo) {
  std::string copied = "before";
  std::string referred = "before";
  std::string seen;
  Thread thread(
      [&seen](const std::string& copy, std::string& reference) {
        seen = copy;
        reference = "after";
      },
      copied, std::ref(referred));
  copied = "after";
  thread.start();
  thread.join();
  EXPECT_EQ(seen, "before");
  EXPECT_EQ(referred, "after");
}

TEST_F(ThreadTest, RunsAMemberFunctionAndTakesWhatOnlyMoves) {
  struct Counter {
    int count = 0;
    void add(std::unique_ptr<int> n) { count += *n; }
  } counter;
  Thread thread(&Counter::add, &counter, std::make_unique<int>(3));
  thread.start();
  thread.join();
  EXPECT_EQ(counter.count, 3);
}

void run_ten_workers(std::size_t stack_bytes) {
  std::counting_semaphore<3> room(3);
  std::recursive_mutex mutex;
  int inside = 0;
  int most_inside = 0;
  std::set<std::uint64_t> ids;
  std::vector<Thread> workers;
  for (int i = 0; i < 10; ++i)
    workers.emplace_back(ThreadOptions{.stack_size_bytes = stack_bytes}, [&] {
      room.acquire();
      {
        const std::lock_guard outer(mutex);
        const std::lock_guard inner(mutex);
        most_inside = std::max(most_inside, ++inside);
        ids.insert(current_thread().id());
      }
      std::this_thread::yield();
      {
        const std::lock_guard guard(mutex);
        --inside;
      }
      room.release();
    });
  for (Thread& worker : workers) {
    EXPECT_FALSE(worker.id().has_value());
    EXPECT_FALSE(worker.native_id().has_value());
    EXPECT_THAT(worker.to_string(), HasSubstr("initial"));
  }
  for (Thread& worker : workers) worker.start();
  std::set<std::uint64_t> ids_outside;
  for (Thread& worker : workers) {
    ids_outside.insert(worker.id().value());
    EXPECT_GT(worker.native_id().value_or(0), 0);
    worker.join();
    EXPECT_FALSE(worker.is_alive());
    EXPECT_THAT(worker.to_string(), HasSubstr("stopped"));
  }
  EXPECT_LE(most_inside, 3);
  EXPECT_EQ(ids.size(), 10U);
  EXPECT_EQ(ids, ids_outside);
}

// THR-03
TEST_F(ThreadTest, TenWorkersHaveIdsOfTheirOwnAndNeverMoreThanThreeAreInside) {
  run_ten_workers(0);
}
// THR-04
TEST_F(ThreadTest, TenWorkersRunOnSmallStacks) {
  run_ten_workers(256 * 1024);
}
// THR-05
TEST_F(ThreadTest, TenWorkersRunOnLargeStacks) {
  run_ten_workers(1024 * 1024);
}

TEST_F(ThreadTest, NeverUsesAnIdAgain) {
  std::uint64_t last = 0;
  for (int i = 0; i < 100; ++i) {
    Thread thread(bodies::do_nothing);
    thread.start();
    EXPECT_GT(thread.id().value(), last);
    last = thread.id().value();
    thread.join();
  }
}

// THR-08: a stack that no machine has makes the system refuse.
TEST_F(ThreadTest, WhenTheSystemRefusesNothingIsRegistered) {
  const auto before = enumerate();
  std::atomic<bool> ran = false;
  Thread thread({.stack_size_bytes = std::size_t{1} << 40U}, [&ran] { ran = true; });
  try {
    thread.start();
    thread.join();
    GTEST_SKIP() << "this system grants a stack of 1 TiB";
  } catch (const std::system_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("cannot start thread 'Thread-"));
  }
  EXPECT_FALSE(ran);
  EXPECT_FALSE(thread.is_alive());
  EXPECT_FALSE(thread.id().has_value());
  EXPECT_EQ(enumerate(), before);
  EXPECT_THROW(thread.join(), StateError);
  EXPECT_THROW(thread.start(), std::system_error);
}

TEST_F(ThreadTest, RefusesAStackOfABadSize) {
  EXPECT_THROW(Thread({.stack_size_bytes = 1000}, bodies::do_nothing), std::invalid_argument);
  EXPECT_THROW(Thread({.stack_size_bytes = static_cast<std::size_t>(-1)}, bodies::do_nothing), std::invalid_argument);
}

// THR-11
TEST_F(ThreadTest, ManyThreadsMayJoinTheSameOne) {
  std::latch go(1);
  Thread joined([&go] { go.wait(); });
  joined.start();
  std::atomic<int> returned = 0;
  std::vector<Thread> joiners;
  for (int i = 0; i < 10; ++i)
    joiners.emplace_back([&] {
      joined.join();
      EXPECT_FALSE(joined.is_alive());
      ++returned;
    });
  for (Thread& joiner : joiners) joiner.start();
  go.count_down();
  for (Thread& joiner : joiners) joiner.join();
  joined.join();
  EXPECT_EQ(returned, 10);
}

// The one waits for the other with a limit, so that there is an end to it.
TEST_F(ThreadTest, TwoMayJoinEachOther) {
  std::latch both_there(2);
  std::optional<Thread> second;
  Thread first([&] {
    both_there.arrive_and_wait();
    EXPECT_FALSE(second->join_for(std::chrono::milliseconds(30)));
  });
  second.emplace([&] {
    both_there.arrive_and_wait();
    first.join();
    EXPECT_FALSE(first.is_alive());
  });
  first.start();
  second->start();
  second->join();
}

TEST_F(ThreadTest, ManyJoinWithAndWithoutALimit) {
  for (int round = 0; round < 200; ++round) {
    Thread joined(bodies::do_nothing);
    std::vector<Thread> joiners;
    for (int i = 0; i < 4; ++i)
      joiners.emplace_back([&joined, i] {
        if (i % 2 == 0)
          joined.join();
        else
          while (!joined.join_for(std::chrono::microseconds(i))) std::this_thread::yield();
      });
    joined.start();
    for (Thread& joiner : joiners) joiner.start();
    for (Thread& joiner : joiners) joiner.join();
  }
}

// THR-13
TEST_F(ThreadReportTest, DestroysTheBodyWhenItEndsHoweverItEnds) {
  CaughtReports reports;
  for (const auto end : {+[] {}, +[] { tandem::exit(); }, +[] { throw bodies::BodyError("x"); }}) {
    auto argument = std::make_shared<int>();
    const std::weak_ptr<int> watch = argument;
    Thread thread([end](const std::shared_ptr<int>&) { end(); }, std::move(argument));
    thread.start();
    thread.join();
    EXPECT_TRUE(watch.expired());
  }
}

// THR-13
TEST_F(ThreadTest, DestroysABodyThatOwnsItsThread) {
  struct Owned {
    std::optional<Thread> thread;
    std::latch destroyed_elsewhere{1};
  };
  std::latch go(1);
  auto owner = std::make_shared<Owned>();
  const std::weak_ptr<Owned> watch = owner;
  owner->thread.emplace([&go](const std::shared_ptr<Owned>&) { go.wait(); }, owner);
  const ThreadInfo info = owner->thread->info();
  owner->thread->start();
  owner.reset();
  EXPECT_FALSE(watch.expired());
  go.count_down();
  info.join();
  EXPECT_TRUE(watch.expired());
}

// THR-14
TEST_F(ThreadTest, TextShowsTheDaemonFlag) {
  Thread thread(bodies::do_nothing);
  EXPECT_THAT(thread.to_string(), ::testing::Not(HasSubstr("daemon")));
  thread.set_daemon(true);
  EXPECT_THAT(thread.to_string(), HasSubstr("initial daemon"));
}

// THR-15
TEST_F(ThreadTest, TextMovesToStoppedWithoutAJoin) {
  std::latch go(1);
  Thread thread([&go] { go.wait(); });
  thread.start();
  EXPECT_THAT(thread.to_string(), HasSubstr(", started "));
  go.count_down();
  while (thread.is_alive()) std::this_thread::yield();
  EXPECT_THAT(thread.to_string(), HasSubstr(", stopped "));
}

// THR-16
TEST_F(ThreadTest, IsADaemonOnlyIfToldOrInherited) {
  EXPECT_FALSE(Thread(bodies::do_nothing).daemon());
  EXPECT_FALSE(Thread({.daemon = false}, bodies::do_nothing).daemon());
  EXPECT_TRUE(Thread({.daemon = true}, bodies::do_nothing).daemon());
  Thread daemon({.daemon = true}, [] {
    EXPECT_TRUE(Thread(bodies::do_nothing).daemon());
    EXPECT_FALSE(Thread({.daemon = false}, bodies::do_nothing).daemon());
  });
  daemon.start();
  daemon.join();
}

// THR-36
TEST_F(ThreadTest, StartsOnlyOnce) {
  Thread thread(bodies::do_nothing);
  thread.start();
  EXPECT_THROW(thread.start(), StateError);
  thread.join();
  EXPECT_THROW(thread.start(), StateError);
}

// THR-37
TEST_F(ThreadTest, CannotJoinItself) {
  EXPECT_THROW(current_thread().join(), StateError);
  std::latch ready(1);
  Thread thread([&] {
    ready.wait();
    EXPECT_THROW(thread.join(), StateError);
    EXPECT_THROW(static_cast<void>(thread.join_for(std::chrono::seconds(1))), StateError);
  });
  thread.start();
  ready.count_down();
  thread.join();
}

// THR-38
TEST_F(ThreadTest, CannotBeJoinedBeforeItsStart) {
  Thread thread(bodies::do_nothing);
  EXPECT_THROW(thread.join(), StateError);
  EXPECT_THROW(static_cast<void>(thread.join_for(std::chrono::seconds(0))), StateError);
}

// THR-39
TEST_F(ThreadTest, KeepsItsDaemonFlagOnceStarted) {
  std::latch go(1);
  Thread thread([&go] { go.wait(); });
  thread.start();
  EXPECT_THROW(thread.set_daemon(true), StateError);
  go.count_down();
  thread.join();
  EXPECT_THROW(thread.set_daemon(true), StateError);
  EXPECT_FALSE(thread.daemon());
}

TEST_F(ThreadTest, TimedJoinWaitsAtLeastThatLong) {
  std::latch go(1);
  Thread thread([&go] { go.wait(); });
  thread.start();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(thread.join_for(std::chrono::milliseconds(150)));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(150));
  EXPECT_FALSE(thread.join_for(std::chrono::seconds(0)));
  EXPECT_THROW(static_cast<void>(thread.join_for(std::chrono::seconds(-1))), std::invalid_argument);
  EXPECT_TRUE(thread.is_alive());
  go.count_down();
  EXPECT_TRUE(thread.join_for(std::chrono::hours(1'000'000'000)));
}

TEST_F(ThreadTest, HandsTheStopTokenToABodyThatTakesOne) {
  Thread thread(bodies::wait_for_stop);
  thread.start();
  EXPECT_TRUE(thread.is_alive());
  EXPECT_TRUE(thread.request_stop());
  EXPECT_FALSE(thread.request_stop());
  thread.join();
}

TEST_F(ThreadTest, DestructorAsksItToStopAndWaits) {
  std::atomic<bool> ended = false;
  {
    Thread thread([&ended](const std::stop_token& stop) {
      bodies::wait_for_stop(stop);
      ended = true;
    });
    thread.start();
  }
  EXPECT_TRUE(ended);
}

TEST_F(ThreadTest, DestructorOfANeverStartedThreadDropsTheBody) {
  auto argument = std::make_shared<int>();
  const std::weak_ptr<int> watch = argument;
  {
    const Thread thread([](const std::shared_ptr<int>&) {}, std::move(argument));
  }
  EXPECT_TRUE(watch.expired());
}

// THR-19
TEST_F(ThreadTest, NeverJoinedLeavesNoRecord) {
  const std::size_t before = active_count();
  auto argument = std::make_shared<int>();
  const std::weak_ptr<int> watch = argument;
  std::latch go(1);
  auto info = [&] {
    Thread daemon({.daemon = true}, [&go](const std::shared_ptr<int>&) { go.wait(); }, std::move(argument));
    daemon.start();
    return daemon.info();
  }();
  EXPECT_EQ(active_count(), before + 1);
  go.count_down();
  while (info.is_alive()) std::this_thread::yield();
  EXPECT_EQ(active_count(), before);
  EXPECT_TRUE(watch.expired());
}

TEST_F(ThreadTest, MovesItsThread) {
  Thread first(bodies::wait_for_stop);
  first.start();
  const std::uint64_t id = first.id().value();
  Thread second(std::move(first));
  EXPECT_EQ(second.id(), id);
  EXPECT_THROW(first.join(), StateError);  // NOLINT(bugprone-use-after-move)
  second = Thread(bodies::do_nothing);
  EXPECT_FALSE(second.id().has_value());
}

TEST_F(ThreadTest, EndsByPthreadExitAsByReturning) {
  auto argument = std::make_shared<int>();
  const std::weak_ptr<int> watch = argument;
  Thread thread([](const std::shared_ptr<int>&) { ::pthread_exit(nullptr); }, std::move(argument));
  thread.start();
  thread.join();
  EXPECT_TRUE(watch.expired());
}

}  // namespace
}  // namespace tandem::testing
