// What is told of a process that did not end well.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <thread>

#include "support/bodies.hpp"
#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class CrashReportTest : public ProcessesTest {
 protected:
  void SetUp() override {
    // A report reads the files with the symbols, and they are kept open.
    static_cast<void>(report_of(bodies::throw_body_error, std::string("reads the symbols")));
    Process crashing(+[] { std::abort(); });
    crashing.start();
    crashing.join();
    static_cast<void>(crashing.crash_report());
    ProcessesTest::SetUp();
  }

  template <class F, class... Args>
  CrashReport report_of(F&& fn, Args&&... args) {
    ::testing::internal::CaptureStderr();
    Process process = process_in(GetParam(), std::forward<F>(fn), std::forward<Args>(args)...);
    process.start();
    process.join();
    stderr_ = ::testing::internal::GetCapturedStderr();
    pid_ = process.pid().value();
    return process.crash_report().value();
  }

  std::string stderr_;
  pid_t pid_ = 0;
};

TEST_P(CrashReportTest, OfAnExceptionHasItsTypeTextAndStack) {
  const CrashReport report = report_of(bodies::throw_body_error, std::string("the text"));
  EXPECT_EQ(report.signal, 0);
  EXPECT_EQ(report.exit_code, 1);
  EXPECT_EQ(report.pid, pid_);
  EXPECT_EQ(report.exception_type, "tandem::testing::bodies::BodyError");
  EXPECT_EQ(report.exception_text, "the text");
  EXPECT_THAT(report.stack, HasSubstr("throw_body_error"));
  EXPECT_THAT(report.stack, Not(HasSubstr("tandem::init")));
  EXPECT_FALSE(report.probably_out_of_memory);
  EXPECT_THAT(report.to_string(), HasSubstr("uncaught tandem::testing::bodies::BodyError: the text"));
  EXPECT_THAT(report.to_string(), HasSubstr("exit code 1"));
}

[[gnu::noinline]] void touch_nothing() {
  volatile int* nothing = nullptr;
  asm volatile("" : "+r"(nothing));
  *nothing = 1;  // NOLINT: that is the test.
}
void crash() {
  std::cerr << "first line\n\nlast words\n";
  touch_nothing();
}

TEST_P(CrashReportTest, OfASignalHasTheStackAndTheLastWords) {
  const CrashReport report = report_of(crash);
  EXPECT_EQ(report.signal, SIGSEGV);
  EXPECT_EQ(report.exit_code, -SIGSEGV);
  EXPECT_THAT(report.stack, HasSubstr("touch_nothing"));
  EXPECT_THAT(report.stderr_tail, ElementsAre("first line", "", "last words"));
  EXPECT_EQ(report.exception_type, "");
  EXPECT_GT(report.peak_memory_bytes, 0u);
  EXPECT_THAT(report.to_string(), HasSubstr("killed by SIGSEGV (Segmentation fault)"));
  EXPECT_THAT(report.to_string(), HasSubstr("| last words"));
  EXPECT_THAT(stderr_, HasSubstr("last words"));
}

TEST_P(CrashReportTest, OfAbortIsThatOfTheSignal) {
  const CrashReport report = report_of(+[] { std::abort(); });
  EXPECT_EQ(report.signal, SIGABRT);
  EXPECT_THAT(report.stack, HasSubstr("abort"));
}

void throw_in_foreign_thread() {
  std::thread([] { throw bodies::BodyError("in a thread of nobody's"); }).join();
}

TEST_P(CrashReportTest, OfTerminateNamesTheException) {
  const CrashReport report = report_of(throw_in_foreign_thread);
  EXPECT_EQ(report.signal, SIGABRT);
  EXPECT_EQ(report.exception_type, "tandem::testing::bodies::BodyError");
  EXPECT_EQ(report.exception_text, "in a thread of nobody's");
}

TEST_P(CrashReportTest, OfAKillHasNoStackAndIsNoLackOfMemory) {
  const CrashReport report = report_of(+[] { ::kill(::getpid(), SIGKILL); });
  EXPECT_EQ(report.signal, SIGKILL);
  EXPECT_EQ(report.stack, "");
}

int overflow_stack(int depth) {
  volatile char frame[4096];
  frame[0] = static_cast<char>(depth);
  return depth < 0 ? 0 : overflow_stack(depth + 1) + frame[0];
}

TEST_P(CrashReportTest, OfAStackOverflowToo) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer handles it itself";
  const CrashReport report = report_of(overflow_stack, 0);
  EXPECT_EQ(report.signal, SIGSEGV);
  EXPECT_THAT(report.stack, HasSubstr("overflow_stack"));
}

void leave_in_the_middle() {
  std::cerr << "the library gives up\n";
  ::_exit(9);
}

// As a library does that calls exit() on an error.
TEST_P(CrashReportTest, OfAnExitCodeHasTheLastWords) {
  const CrashReport report = report_of(leave_in_the_middle);
  EXPECT_EQ(report.exit_code, 9);
  EXPECT_EQ(report.signal, 0);
  EXPECT_THAT(report.stderr_tail, ElementsAre("the library gives up"));
}

void throw_bad_alloc() {
  throw std::bad_alloc();
}

TEST_P(CrashReportTest, BadAllocMeansProbablyOutOfMemory) {
  const CrashReport report = report_of(throw_bad_alloc);
  EXPECT_TRUE(report.probably_out_of_memory);
  EXPECT_THAT(report.to_string(), HasSubstr("probably out of memory"));
}

void write_many_lines(int count) {
  for (int i = 0; i < count; ++i) std::cerr << "line " << i << '\n';
  ::_exit(1);
}

TEST_P(CrashReportTest, KeepsTheLastTwentyLines) {
  const CrashReport report = report_of(write_many_lines, 1000);
  ASSERT_THAT(report.stderr_tail, SizeIs(20));
  EXPECT_EQ(report.stderr_tail.front(), "line 980");
  EXPECT_EQ(report.stderr_tail.back(), "line 999");
  EXPECT_THAT(stderr_, HasSubstr("line 0\n"));
  EXPECT_THAT(stderr_, HasSubstr("line 999\n"));
}

void write_one_long_line() {
  std::cerr << std::string(100'000, 'x');
  ::_exit(1);
}

TEST_P(CrashReportTest, KeepsEightKibibytesOfALongLine) {
  const CrashReport report = report_of(write_one_long_line);
  ASSERT_THAT(report.stderr_tail, SizeIs(1));
  EXPECT_EQ(report.stderr_tail[0], std::string(8 * 1024, 'x'));
  EXPECT_EQ(stderr_.size(), 100'000u);
}

void throw_long_text() {
  throw bodies::BodyError(std::string(100'000, 'y'));
}

TEST_P(CrashReportTest, CutsWhatIsTooLong) {
  const CrashReport report = report_of(throw_long_text);
  EXPECT_THAT(report.exception_text, HasSubstr("yyyy ..."));
  EXPECT_LT(report.exception_text.size(), 5000u);
}

TEST_P(CrashReportTest, HandlerCanBeTurnedOff) {
  ProcessOptions options = options_for(GetParam());
  options.crash_handler = false;
  Process process(options, +[] { std::abort(); });
  process.start();
  process.join();
  EXPECT_EQ(process.crash_report().value().signal, SIGABRT);
  EXPECT_EQ(process.crash_report().value().stack, "");
  options.crash_handler = true;
  options.environment["TANDEM_CRASH_HANDLER"] = "0";
  Process by_environment(options, +[] { std::abort(); });
  by_environment.start();
  by_environment.join();
  EXPECT_EQ(by_environment.crash_report().value().stack, "");
}

// Forked off a child, which has a handler and a record of its own.
int crash_in_a_forked_grandchild(bool with_handler) {
  ProcessOptions options;
  options.crash_handler = with_handler;
  Process grandchild(tandem::fork, options, [] { touch_nothing(); });
  grandchild.start();
  grandchild.join();
  const CrashReport report = grandchild.crash_report().value();
  if (report.signal != SIGSEGV) return 1;
  if ((report.stack.find("touch_nothing") != std::string::npos) != with_handler) return 2;
  std::abort();
}

TEST_P(CrashReportTest, AGrandchildsCrashIsNotedAsItsOwn) {
  for (const bool with_handler : {true, false}) {
    const CrashReport report = report_of(crash_in_a_forked_grandchild, with_handler);
    EXPECT_EQ(report.signal, SIGABRT);
    EXPECT_THAT(report.stack, HasSubstr("crash_in_a_forked_grandchild"));
    EXPECT_THAT(report.stack, Not(HasSubstr("touch_nothing")));
  }
}

void set_own_handler() {
  ::signal(SIGUSR1, SIG_DFL);
  ::signal(SIGABRT, [](int) { ::_exit(17); });
  std::abort();
}

TEST_P(CrashReportTest, AHandlerOfTheProgramsGoesBefore) {
  EXPECT_EQ(report_of(set_own_handler).exit_code, 17);
}

void use_memory_and_time(std::size_t bytes) {
  std::vector<char> memory(bytes, 1);
  volatile std::uint64_t sum = 0;
  for (const char byte : memory) sum = sum + static_cast<std::uint64_t>(byte);
}

TEST_P(CrashReportTest, UsageIsThatOfTheChild) {
  // The parent is bigger: its peak must not count as the child's.
  const std::vector<char> big(200 << 20, 1);
  Process process = process_in(GetParam(), use_memory_and_time, std::size_t{32} << 20);
  process.start();
  process.join();
  const ProcessUsage usage = process.usage().value();
  EXPECT_GE(usage.peak_memory_bytes, std::size_t{32} << 20);
  if (GetParam() != Where::Fork && !kSanitized) {
    EXPECT_LT(usage.peak_memory_bytes, std::size_t{150} << 20);
  }
  EXPECT_GT(usage.user_time, std::chrono::milliseconds(1));
  EXPECT_EQ(big.back(), 1);
}

TANDEM_TEST_IN_PROCESSES(CrashReportTest);

TEST(ExitStatusTest, SaysHow) {
  EXPECT_EQ(ExitStatus::exited(3).to_string(), "exit code 3");
  EXPECT_EQ(ExitStatus::killed(SIGKILL).to_string(), "killed by SIGKILL (Killed)");
  EXPECT_EQ(ExitStatus::killed(SIGRTMIN + 1).to_string(), "killed by signal " + std::to_string(SIGRTMIN + 1));
  EXPECT_EQ(ExitStatus::killed(SIGTERM).exitcode(), -SIGTERM);
  EXPECT_TRUE(ExitStatus::exited(0).success());
  EXPECT_FALSE(ExitStatus::exited(1).success());
  EXPECT_FALSE(ExitStatus::killed(1).code().has_value());
}

}  // namespace
}  // namespace tandem::testing
