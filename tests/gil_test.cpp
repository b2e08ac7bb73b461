#include <tandem/gil.hpp>

#include <gmock/gmock.h>
#include <pthread.h>
#include <tandem/thread.hpp>
#include <tandem/timer.hpp>
#include <tandem/wire.hpp>

#include <barrier>
#include <cmath>
#include <functional>
#include <latch>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support/bodies.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;

class GilTest : public ThreadFixture {};
class GilReportTest : public ReportFixture {};

template <class Value>
concept AnInterval = requires(Gil gil, Value value) { gil.set_switch_interval(value); };
static_assert(AnInterval<milliseconds> && AnInterval<std::chrono::duration<double>>);
// GIL-01: no interval, and one that is no duration, do not compile.
static_assert(!AnInterval<int> && !AnInterval<double> && !AnInterval<const char*>);
template <class G>
concept IntervalMayBeMissing = requires(G gil) { gil.set_switch_interval(); };
static_assert(!IntervalMayBeMissing<Gil>);
static_assert(!Portable<Gil>, "a Gil stays in its process");

void expect_error(std::errc expected, const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::make_error_code(expected)) << error.what();
  }
}

// GIL-01
TEST_F(GilTest, SwitchIntervalIsCheckedAndReadBack) {
  Gil gil;
  EXPECT_EQ(gil.switch_interval(), milliseconds(5));
  EXPECT_LT(gil.switch_interval(), milliseconds(500));
  for (const auto refused : {milliseconds(0), milliseconds(-1), milliseconds::min()}) {
    EXPECT_THROW(gil.set_switch_interval(refused), std::invalid_argument);
    EXPECT_THROW(Gil{refused}, std::invalid_argument);
  }
  EXPECT_THROW(gil.set_switch_interval(std::chrono::duration<double>(std::nan(""))), std::invalid_argument);
  EXPECT_EQ(gil.switch_interval(), milliseconds(5));
  gil.set_switch_interval(milliseconds(70));
  EXPECT_EQ(gil.switch_interval(), milliseconds(70));
  EXPECT_EQ(Gil{std::chrono::microseconds(1)}.switch_interval(), std::chrono::microseconds(1));
  gil.set_switch_interval(std::chrono::duration<double, std::nano>(0.25));
  EXPECT_EQ(gil.switch_interval(), std::chrono::nanoseconds(1));
  gil.set_switch_interval(std::chrono::hours::max());
  EXPECT_GT(gil.switch_interval(), std::chrono::hours(24 * 365));
}

// GIL-02: `stop` is no atomic: the Gil guards it.
TEST_F(GilTest, AThreadInATightLoopGivesWayToTheOneThatStopsIt) {
  Gil gil{milliseconds(1)};
  bool stop = false;
  std::latch looping(1);
  Thread loop({.gil = gil}, [&] {
    looping.count_down();
    while (!stop) checkpoint();
  });
  Thread stopper({.gil = gil}, [&] { stop = true; });
  loop.start();
  looping.wait();
  stopper.start();
  loop.join();
  stopper.join();
}

TEST_F(GilTest, TwoThreadsThatComputeAreNeverInsideAtOnce) {
  Gil gil{std::chrono::microseconds(100)};
  // Plain variables: the thread sanitizer would tell of a second one inside.
  int inside = 0;
  std::int64_t rounds = 0;
  int switches = 0;
  int last = -1;
  std::vector<Thread> threads;
  for (int me = 0; me < 2; ++me)
    threads.emplace_back(ThreadOptions{.gil = gil}, [&, me] {
      while (switches < 50) {
        ++inside;
        ASSERT_EQ(inside, 1);
        ++rounds;
        if (last != me) ++switches;
        last = me;
        --inside;
        checkpoint();
      }
    });
  for (Thread& thread : threads) thread.start();
  for (Thread& thread : threads) thread.join();
  EXPECT_GE(switches, 50);
  EXPECT_GE(rounds, switches);
}

// Three threads that give it up only when asked: whoever gives way gets it back after both others had it.
TEST_F(GilTest, WhoGivesWayDoesNotTakeItBackBeforeTheOthersHadIt) {
  Gil gil{std::chrono::microseconds(200)};
  // Plain variables, which the Gil guards. The order is that from the moment on when all three have come: one of them
  // may come late.
  std::set<int> come;
  std::vector<int> order;
  bool stop = false;
  std::vector<Thread> threads;
  for (int me = 0; me < 3; ++me)
    threads.emplace_back(ThreadOptions{.gil = gil}, [&, me] {
      while (!stop) {
        come.insert(me);
        if (come.size() == 3 && (order.empty() || order.back() != me)) order.push_back(me);
        if (order.size() == 100) stop = true;
        checkpoint();
      }
    });
  for (Thread& thread : threads) thread.start();
  for (Thread& thread : threads) thread.join();
  for (std::size_t i = 2; i < order.size(); ++i) EXPECT_NE(order[i], order[i - 2]) << "at " << i;
}

TEST_F(GilTest, EveryWaitReleasesIt) {
  Gil gil;
  Thread other({.gil = gil}, [] {});
  Thread waits({.gil = gil}, [&] {
    other.start();
    // Waits for a thread that needs the same Gil to end.
    other.join();
    EXPECT_TRUE(gil.held());
    Timer timer(ThreadOptions{.gil = gil}, milliseconds(1), [&gil] { EXPECT_TRUE(gil.held()); });
    timer.start();
    timer.join();
    EXPECT_TRUE(gil.held());
  });
  waits.start();
  waits.join();
}

TEST_F(GilTest, TwoThatWaitOverlap) {
  Gil gil;
  std::barrier both(2);
  std::vector<Thread> threads;
  for (int i = 0; i < 2; ++i)
    threads.emplace_back(ThreadOptions{.gil = gil}, [&] {
      // Returns only if both are in it at once.
      gil.unlocked([&both] { both.arrive_and_wait(); });
      EXPECT_TRUE(gil.held());
    });
  for (Thread& thread : threads) thread.start();
  for (Thread& thread : threads) thread.join();
}

TEST_F(GilTest, UnlockedReturnsWhatTheCallReturnsAndTakesTheGilBackIfItThrows) {
  Gil gil;
  const std::lock_guard guard(gil);
  int value = 1;
  EXPECT_EQ(&gil.unlocked([&]() -> int& { return value; }), &value);
  EXPECT_EQ(gil.unlocked([&] { return gil.held(); }), false);
  EXPECT_THROW(gil.unlocked([] { throw bodies::BodyError("x"); }), bodies::BodyError);
  EXPECT_TRUE(gil.held());
}

TEST_F(GilTest, UnlockedNests) {
  Gil gil;
  gil.lock();
  gil.unlocked([&] {
    gil.unlocked([&] {
      EXPECT_FALSE(gil.held());
      checkpoint();
    });
    EXPECT_FALSE(gil.held());
    Thread waits({.gil = gil}, bodies::do_nothing);
    waits.start();
    waits.join();
    EXPECT_FALSE(gil.held());
  });
  EXPECT_TRUE(gil.held());
  gil.unlock();
  EXPECT_EQ(gil.unlocked([] { return 3; }), 3);
  EXPECT_FALSE(gil.held());
}

TEST_F(GilTest, LockingTwiceIsAnErrorAndNoDeadlock) {
  Gil gil;
  const std::lock_guard guard(gil);
  expect_error(std::errc::resource_deadlock_would_occur, [&] { gil.lock(); });
  EXPECT_FALSE(gil.try_lock());
  gil.unlocked([&] { expect_error(std::errc::resource_deadlock_would_occur, [&] { gil.lock(); }); });
  Gil other;
  expect_error(std::errc::resource_deadlock_would_occur, [&] { other.lock(); });
  EXPECT_TRUE(gil.held());
  EXPECT_FALSE(other.held());
}

TEST_F(GilTest, UnlockingWhatOneDoesNotHoldIsAnError) {
  Gil gil;
  expect_error(std::errc::operation_not_permitted, [&] { gil.unlock(); });
  const std::lock_guard guard(gil);
  gil.unlocked([&] { expect_error(std::errc::operation_not_permitted, [&] { gil.unlock(); }); });
  std::thread([&] { expect_error(std::errc::operation_not_permitted, [&] { gil.unlock(); }); }).join();
  EXPECT_TRUE(gil.held());
}

TEST_F(GilTest, TryLockTakesItOnlyIfItIsFree) {
  Gil gil;
  {
    const std::unique_lock guard(gil, std::try_to_lock);
    EXPECT_TRUE(guard.owns_lock());
    std::thread([&] { EXPECT_FALSE(gil.try_lock()); }).join();
  }
  std::thread([&] {
    EXPECT_TRUE(gil.try_lock());
    gil.unlock();
  }).join();
}

TEST_F(GilReportTest, AThreadThatEndsWithItGivesItBack) {
  CaughtReports reports;
  Gil gil;
  const auto run = [](ThreadOptions options, auto body) {
    Thread thread(std::move(options), body);
    thread.start();
    thread.join();
  };
  run({.gil = gil}, [] { throw bodies::BodyError("left by an exception"); });
  run({.gil = gil}, [] { tandem::exit(); });
  run({.gil = gil}, [] { ::pthread_exit(nullptr); });
  run({}, [&gil] { gil.lock(); });
  run({.gil = gil}, [&gil] { gil.unlock(); });
  EXPECT_TRUE(gil.try_lock());
  gil.unlock();
}

TEST_F(GilTest, CheckpointWithoutAGilDoesNothing) {
  Gil gil;
  checkpoint();
  gil.checkpoint();
  EXPECT_FALSE(gil.held());
}

TEST_F(GilTest, CopiesAreOneLock) {
  Gil gil;
  Gil copy = gil;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_EQ(gil, copy);
  EXPECT_NE(gil, Gil());
  const std::lock_guard guard(copy);
  EXPECT_TRUE(gil.held());
}

TEST_F(GilTest, ManyThreadsThatComeAndGoAllGetTheirTurn) {
  Gil gil{std::chrono::microseconds(50)};
  std::int64_t sum = 0;
  std::vector<Thread> threads;
  for (int i = 0; i < 16; ++i)
    threads.emplace_back(ThreadOptions{.gil = gil}, [&, i] {
      for (int round = 0; round < 300; ++round) {
        ++sum;
        if (round % 7 == i % 7) gil.unlocked([] { std::this_thread::yield(); });
        checkpoint();
      }
    });
  for (Thread& thread : threads) thread.start();
  for (Thread& thread : threads) thread.join();
  EXPECT_EQ(sum, 16 * 300);
}

}  // namespace
}  // namespace tandem::testing
