// What the library says, at which level, where to, and that each child has its parent's level.
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include <tandem/log.hpp>

#include "core/log.hpp"
#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;

// Each test begins with the level and the sink of a program that has set neither.
class LogTest : public LeakCheckedTest {
 protected:
  void SetUp() override {
    LeakCheckedTest::SetUp();
    ::unsetenv("TANDEM_LOG");
    detail::forget_log_level();
  }
  void TearDown() override {
    ::unsetenv("TANDEM_LOG");
    set_log_sink({});
    set_log_level(LogLevel::Warning);
    LeakCheckedTest::TearDown();
  }
};

std::string printed(const std::function<void()>& body) {
  CaptureStderr();
  body();
  return GetCapturedStderr();
}

// LOG-01
TEST_F(LogTest, OnlyWarningsAndErrorsAreSaidAtFirst) {
  EXPECT_EQ(log_level(), LogLevel::Warning);
  EXPECT_EQ(printed([] { log(LogLevel::Info, "an info"); }), "");
  EXPECT_THAT(printed([] { log(LogLevel::Warning, "a warning"); }), HasSubstr("warning: a warning"));
  EXPECT_THAT(printed([] { log(LogLevel::Error, "an error"); }), HasSubstr("error: an error"));
}

// LOG-01
TEST_F(LogTest, TheLevelCanBeRaisedAndLowered) {
  set_log_level(LogLevel::Debug);
  EXPECT_THAT(printed([] { log(LogLevel::Debug, "a detail"); }), HasSubstr("debug: a detail"));
  set_log_level(LogLevel::Error);
  EXPECT_EQ(printed([] { log(LogLevel::Warning, "a warning"); }), "");
  set_log_level(LogLevel::Off);
  EXPECT_EQ(printed([] { log(LogLevel::Error, "an error"); }), "");
}

TEST_F(LogTest, OffIsNoLevelOfARecord) {
  set_log_level(LogLevel::Debug);
  EXPECT_EQ(printed([] { log(LogLevel::Off, "nothing"); }), "");
}

TEST_F(LogTest, ALineHasTimePidLevelTextAndPlace) {
  const std::string pid = std::to_string(::getpid());
  EXPECT_THAT(printed([] { log(LogLevel::Warning, "it is late"); }),
              MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z tandem\\[" + pid +
                           "\\] warning: it is late \\[log_test\\.cpp:[0-9]+\\]\n"));
}

// LOG-03
TEST_F(LogTest, ARecordNamesTheCallersSourceFileNotTheLibrarys) {
  std::vector<std::string> files;
  set_log_sink([&](const LogRecord& record) { files.emplace_back(record.where.value().file_name()); });
  log(LogLevel::Warning, "here");
  EXPECT_THAT(files, ElementsAre(__FILE__));
}

// LOG-03
TEST_F(LogTest, WhatTheLibrarySaysByItselfNamesNoFile) {
  EXPECT_THAT(printed([] { detail::log_line(LogLevel::Warning, "{} of {}", 1, 2); }),
              MatchesRegex(".* warning: 1 of 2\n"));
}

TEST_F(LogTest, ASinkTakesTheRecordsUntilAnotherDoes) {
  std::vector<std::string> first, second;
  set_log_sink([&](const LogRecord& record) {
    EXPECT_EQ(record.level, LogLevel::Error);
    EXPECT_EQ(record.pid, ::getpid());
    EXPECT_EQ(record.native_id, ::gettid());
    first.emplace_back(record.text);
  });
  EXPECT_EQ(printed([] { log(LogLevel::Error, "one"); }), "");
  const LogSink before = set_log_sink([&](const LogRecord& record) { second.emplace_back(record.text); });
  log(LogLevel::Error, "two");
  set_log_sink(before);
  log(LogLevel::Error, "three");
  set_log_sink({});
  EXPECT_THAT(printed([] { log(LogLevel::Error, "four"); }), HasSubstr("four"));
  EXPECT_THAT(first, ElementsAre("one", "three"));
  EXPECT_THAT(second, ElementsAre("two"));
}

TEST_F(LogTest, ARecordOverWhichTheSinkThrowsIsPrinted) {
  set_log_sink([](const LogRecord&) { throw std::runtime_error("no"); });
  EXPECT_THAT(printed([] { log(LogLevel::Error, "kept"); }), HasSubstr("error: kept"));
}

TEST_F(LogTest, WhatASinkLogsItselfIsPrinted) {
  set_log_sink([](const LogRecord&) { log(LogLevel::Error, "the sink speaks"); });
  EXPECT_THAT(printed([] { log(LogLevel::Error, "lost in the sink"); }),
              MatchesRegex("[^\n]* error: the sink speaks [^\n]*\n"));
}

TEST_F(LogTest, TheEnvironmentSetsTheLevel) {
  for (const LogLevel level : {LogLevel::Off, LogLevel::Error, LogLevel::Warning, LogLevel::Info, LogLevel::Debug}) {
    ::setenv("TANDEM_LOG", std::string(to_string(level)).c_str(), 1);
    detail::forget_log_level();
    EXPECT_EQ(printed([&] { EXPECT_EQ(log_level(), level); }), "");
  }
}

TEST_F(LogTest, AMistakeInTheEnvironmentIsSaidOnceAndIgnored) {
  ::setenv("TANDEM_LOG", "loud", 1);
  EXPECT_THAT(
      printed([] {
        EXPECT_EQ(log_level(), LogLevel::Warning);
        EXPECT_EQ(log_level(), LogLevel::Warning);
      }),
      MatchesRegex("[^\n]* warning: TANDEM_LOG is \"loud\": it must be off, error, warning, info or debug; [^\n]*\n"));
}

TEST_F(LogTest, AForkedProcessLogsWhateverOtherThreadsDidAtThatMoment) {
  set_log_sink([](const LogRecord&) {});
  std::atomic<bool> stop = false;
  Thread busy(ThreadOptions{}, [&stop](std::stop_token) {
    while (!stop) log(LogLevel::Error, "busy");
  });
  busy.start();
  for (int i = 0; i < 50; ++i) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      set_log_sink([](const LogRecord& record) { ::_exit(record.pid == ::getpid() ? 0 : 1); });
      log(LogLevel::Error, "from the child");
      ::_exit(2);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  stop = true;
  busy.join();
}

class LogInProcessTest : public EverywhereTest {
 protected:
  void TearDown() override {
    set_log_sink({});
    set_log_level(LogLevel::Warning);
    EverywhereTest::TearDown();
  }
};

void tell_level(Queue<int> answer) {
  answer.put(static_cast<int>(log_level()));
}

// LOG-02
TEST_P(LogInProcessTest, TheLevelSetInTheParentIsInForceInTheChild) {
  Queue<int> answer;
  for (const LogLevel level : {LogLevel::Off, LogLevel::Error, LogLevel::Info}) {
    set_log_level(level);
    EXPECT_EQ(exitcode_of(GetParam(), tell_level, answer), 0);
    EXPECT_EQ(answer.get(), static_cast<int>(level));
  }
}

TEST_P(LogInProcessTest, AChildThatIsGivenALevelInItsEnvironmentHasThat) {
  set_log_level(LogLevel::Error);
  ProcessOptions options = options_for(GetParam());
  options.environment["TANDEM_LOG"] = "info";
  Queue<int> answer;
  Process process(options, tell_level, answer);
  process.start();
  process.join();
  EXPECT_EQ(answer.get(), static_cast<int>(LogLevel::Info));
}

TEST_P(LogInProcessTest, StartAndEndOfAProcessAreDebugRecords) {
  std::mutex mutex;
  std::vector<std::string> lines;
  set_log_sink([&](const LogRecord& record) {
    const std::lock_guard guard(mutex);
    if (record.level == LogLevel::Debug) lines.emplace_back(record.text);
  });
  set_log_level(LogLevel::Debug);
  ProcessOptions options = options_for(GetParam());
  options.name = "Told";
  Process process(options, +[] {});
  process.start();
  process.join();
  const std::lock_guard guard(mutex);
  // The process may have ended before start() could say that it had begun.
  EXPECT_THAT(lines, ::testing::UnorderedElementsAre(MatchesRegex("Told \\(pid [0-9]+\\) is started by .*"),
                                                     MatchesRegex("Told \\(pid [0-9]+\\) has ended: .*")));
  set_log_sink({});
}

TANDEM_TEST_IN_PROCESSES(LogInProcessTest);

}  // namespace
}  // namespace tandem::testing
