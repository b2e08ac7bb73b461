#include <tandem/timer.hpp>

#include <gmock/gmock.h>

#include <atomic>
#include <latch>
#include <vector>

#include "support/bodies.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

class TimerTest : public ThreadFixture {};
class TimerReportTest : public ReportFixture {};

// TIM-01
TEST_F(TimerTest, CallsItsFunctionNoEarlierThanAsked) {
  const auto begin = steady_clock::now();
  steady_clock::time_point called{};
  Timer timer(milliseconds(60), [&called] { called = steady_clock::now(); });
  EXPECT_FALSE(timer.is_alive());
  timer.start();
  timer.join();
  EXPECT_GE(called - begin, milliseconds(60));
  EXPECT_FALSE(timer.is_alive());
}

// TIM-01
TEST_F(TimerTest, TwoTimersShareNothing) {
  std::vector<std::vector<int>> seen(2);
  const auto note = [](std::vector<int>& into, std::vector<int> argument) {
    argument.push_back(1);
    into = argument;
  };
  const std::vector<int> nothing;
  Timer first(milliseconds(1), note, std::ref(seen[0]), nothing);
  Timer second(milliseconds(1), note, std::ref(seen[1]), nothing);
  first.start();
  first.join();
  second.start();
  second.join();
  EXPECT_EQ(seen[0], std::vector<int>{1});
  EXPECT_EQ(seen[1], std::vector<int>{1});
}

TEST_F(TimerTest, CancelPreventsTheCall) {
  std::atomic<bool> called = false;
  Timer timer(hours(1), [&called] { called = true; });
  timer.start();
  timer.cancel();
  timer.join();
  EXPECT_FALSE(called);
}

TEST_F(TimerTest, CancelBeforeTheStartPreventsTheCallToo) {
  std::atomic<bool> called = false;
  Timer timer(milliseconds(0), [&called] { called = true; });
  timer.cancel();
  timer.start();
  timer.join();
  EXPECT_FALSE(called);
}

TEST_F(TimerTest, CancelAfterTheCallHasBegunStopsTheFunctionThatListens) {
  std::latch begun(1);
  Timer timer(milliseconds(0), [&begun](const std::stop_token& stop) {
    begun.count_down();
    bodies::wait_for_stop(stop);
  });
  timer.start();
  begun.wait();
  timer.cancel();
  timer.join();
}

TEST_F(TimerTest, DestructorCancels) {
  std::atomic<bool> called = false;
  {
    Timer timer(hours(1), [&called] { called = true; });
    timer.start();
  }
  EXPECT_FALSE(called);
}

TEST_F(TimerTest, RefusesANegativeIntervalAndTakesOneThatNeverEnds) {
  EXPECT_THROW(Timer(milliseconds(-1), bodies::do_nothing), std::invalid_argument);
  Timer timer(hours::max(), bodies::do_nothing);
  timer.start();
  EXPECT_FALSE(timer.join_for(milliseconds(20)));
}

TEST_F(TimerReportTest, NamesWhatItCallsAndReportsWhatThatThrows) {
  CaughtReports reports;
  Timer timer(milliseconds(0), bodies::throw_body_error, "late");
  EXPECT_THAT(timer.thread().name(), ::testing::HasSubstr("(throw_body_error)"));
  timer.start();
  timer.join();
  ASSERT_EQ(reports.take().size(), 1U);
  EXPECT_THROW(timer.start(), StateError);
}

}  // namespace
}  // namespace tandem::testing
