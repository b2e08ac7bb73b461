#include <tandem/excepthook.hpp>

#include <gmock/gmock.h>
#include <unistd.h>
#include <tandem/thread.hpp>

#include <latch>

#include "support/bodies.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

class ThreadHookTest : public ReportFixture {};
// Its tests run again in a process of their own, which exits.
using ThreadHookDeathTest = ThreadHookTest;

template <class... Body>
std::string stderr_of_thread(ThreadOptions options, Body&&... body) {
  ::testing::internal::CaptureStderr();
  Thread thread(std::move(options), std::forward<Body>(body)...);
  thread.start();
  thread.join();
  return ::testing::internal::GetCapturedStderr();
}

// THR-40 THR-44
TEST_F(ThreadHookTest, ReportHasNameTypeTextAndStack) {
  ::testing::internal::CaptureStdout();
  const std::string report = stderr_of_thread({.name = "the worker"}, bodies::throw_body_error, "the text");
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
  EXPECT_THAT(report, StartsWith("Exception in thread the worker:\n"));
  EXPECT_THAT(report, HasSubstr("throw_body_error"));
  EXPECT_THAT(report, HasSubstr("\ntandem::testing::bodies::BodyError: the text\n"));
}

// THR-40
TEST_F(ThreadHookTest, ReportsWhatIsNoStandardExceptionToo) {
  EXPECT_THAT(stderr_of_thread({.name = "w"}, [] { throw 42; }), HasSubstr("int"));
}

// THR-45
TEST_F(ThreadHookTest, WithoutAThreadTheReportNamesTheId) {
  ExceptHookArgs args;
  args.type_name = "std::out_of_range";
  args.text = "too far";
  args.description = "task";
  args.thread_id = 4711;
  ::testing::internal::CaptureStderr();
  default_excepthook(args);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "Exception in task in thread 4711:\nstd::out_of_range: too far\n");
}

// THR-46
TEST_F(ThreadHookTest, AnExitRequestIsSilent) {
  EXPECT_EQ(stderr_of_thread({}, bodies::ask_to_exit, 1), "");
}

// THR-47
TEST_F(ThreadHookTest, UsersHookGetsEverything) {
  CaughtReports reports;
  Thread thread({.name = "worker"}, bodies::throw_out_of_range, "too far");
  EXPECT_EQ(stderr_of_thread({},
                             [&thread] {
                               thread.start();
                               thread.join();
                             }),
            "");
  const auto caught = reports.take();
  ASSERT_EQ(caught.size(), 1U);
  EXPECT_EQ(caught[0].type_name, "std::out_of_range");
  EXPECT_EQ(caught[0].text, "too far");
  EXPECT_THAT(caught[0].stack, HasSubstr("throw_out_of_range"));
  EXPECT_EQ(caught[0].thread, thread.info());
  EXPECT_EQ(caught[0].thread_id, thread.id());
  EXPECT_EQ(caught[0].description, "worker");
  EXPECT_THROW(std::rethrow_exception(caught[0].exception), std::out_of_range);
}

TEST_F(ThreadHookTest, SettingGivesTheOneBeforeAndEmptyMeansDefault) {
  int called = 0;
  set_excepthook([&called](const ExceptHookArgs&) { ++called; });
  const ExceptHook mine = set_excepthook({});
  mine({});
  EXPECT_EQ(called, 1);
  EXPECT_THAT(stderr_of_thread({.name = "w"}, bodies::throw_body_error, "x"), StartsWith("Exception in thread w:\n"));
}

// THR-48
TEST_F(ThreadHookTest, WhatTheHookThrowsIsReportedToo) {
  const ExceptHook before = set_excepthook([](const ExceptHookArgs&) { throw std::logic_error("the hook is broken"); });
  const std::string report = stderr_of_thread({.name = "worker"}, bodies::throw_body_error, "the cause");
  set_excepthook(before);
  EXPECT_THAT(report, HasSubstr("BodyError: the cause\n"));
  EXPECT_THAT(report, HasSubstr("Exception in the hook for uncaught exceptions:\n"));
  EXPECT_THAT(report, HasSubstr("std::logic_error: the hook is broken\n"));
}

// THR-41
TEST_F(ThreadHookDeathTest, LosingStandardErrorWhileItRunsDoesNoHarm) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::latch go(1);
        Thread thread([&go] {
          go.wait();
          throw bodies::BodyError("nobody reads this");
        });
        thread.start();
        ::close(STDERR_FILENO);
        go.count_down();
        thread.join();
        std::exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}

// THR-42
TEST_F(ThreadHookDeathTest, HavingNoStandardErrorDoesNoHarm) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        ::close(STDERR_FILENO);
        Thread thread(bodies::throw_body_error, "nobody reads this");
        thread.start();
        thread.join();
        std::exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace tandem::testing
