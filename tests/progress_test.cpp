// What a progress bar says, and what is left of it on a terminal and in a pipe. The terminal is a pty; a small one is
// played here, so that what a person would see can be asked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <list>
#include <numeric>
#include <ranges>
#include <string>
#include <vector>

#include <tandem/executor.hpp>
#include <tandem/progress.hpp>

#include "core/progress_text.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using detail::progress_line;
using detail::progress_summary;
using detail::ProgressState;
using namespace std::chrono_literals;

class ProgressTest : public ReportFixture {};

const ProgressState kHalf{
    .label = "sweep", .unit = "items", .done = 450, .total = 1000, .elapsed = 12s, .per_second = 36.2};

TEST(ProgressTextTest, SaysHowMuchHowFastAndHowLong) {
  EXPECT_EQ(progress_line(kHalf, {.columns = 80}),
            "sweep  45% ##############----------------- 450/1000 [0:12 < 0:15, 36.2 items/s]");
  EXPECT_EQ(progress_line({.unit = "pages", .done = 7, .elapsed = 3700s, .per_second = 0.5}, {.columns = 80}),
            "7 pages [1:01:40, 2.0 s/pages]");
  EXPECT_EQ(progress_summary(kHalf), "sweep: 450 of 1000 items in 12.0 s (37.5 items/s)");
  EXPECT_EQ(progress_summary({.unit = "items", .done = 3, .total = 3, .elapsed = 61s}),
            "3 items in 1:01 (20.3 s/items)");
}

TEST(ProgressTextTest, IsNeverAsWideAsTheTerminal) {
  for (std::size_t columns = 0; columns < 200; ++columns)
    for (const bool known : {true, false}) {
      ProgressState state = kHalf;
      if (!known) state.total.reset();
      EXPECT_LE(progress_line(state, {.columns = columns}).size(), columns == 0 ? 0 : columns - 1);
    }
}

TEST(ProgressTextTest, ColoursAndBlocksAreAsked) {
  EXPECT_THAT(progress_line(kHalf, {.colours = true}), ::testing::HasSubstr("\x1b[36m#"));
  EXPECT_THAT(progress_line(kHalf, {.blocks = true}), ::testing::HasSubstr("█"));
  EXPECT_THAT(progress_line(kHalf, {}), ::testing::Not(::testing::HasSubstr("\x1b")));
}

/// What a terminal shows: enough of one for a progress bar and lines of text.
class Screen {
 public:
  Screen(int rows, int columns) : rows_(rows), lines_(rows, std::string(columns, ' ')), bottom_(rows - 1) {}
  void write(const std::string& text) {
    for (std::size_t at = 0; at < text.size(); ++at) {
      if (text[at] == '\x1b') {
        at = escape(text, at + 1);
      } else if (text[at] == '\n') {
        if (row_ == bottom_)
          scroll();
        else
          row_ = std::min(row_ + 1, rows_ - 1);
      } else if (text[at] == '\r') {
        column_ = 0;
      } else {
        if (column_ < static_cast<int>(lines_[row_].size())) lines_[row_][column_] = text[at];
        ++column_;
      }
    }
  }
  /// Without spaces at the end.
  std::string line(int row) const { return lines_[row].substr(0, lines_[row].find_last_not_of(' ') + 1); }
  /// All that is there, and was before it scrolled away.
  std::vector<std::string> text() const {
    std::vector<std::string> all = gone_;
    for (int row = 0; row < rows_; ++row) all.push_back(line(row));
    while (!all.empty() && all.back().empty()) all.pop_back();
    return all;
  }
  bool scrolls_whole() const { return bottom_ == rows_ - 1; }

 private:
  void scroll() {
    gone_.push_back(line(0));
    lines_.erase(lines_.begin());
    lines_.insert(lines_.begin() + bottom_, std::string(lines_[0].size(), ' '));
  }
  std::size_t escape(const std::string& text, std::size_t at) {
    if (text[at] == '7') {
      saved_ = {row_, column_};
    } else if (text[at] == '8') {
      row_ = saved_.first;
      column_ = saved_.second;
    } else {
      std::vector<int> numbers(1);
      for (++at; std::isdigit(text[at]) || text[at] == ';'; ++at)
        if (text[at] == ';')
          numbers.push_back(0);
        else
          numbers.back() = numbers.back() * 10 + (text[at] - '0');
      switch (text[at]) {
        case 'r':
          bottom_ = numbers.size() == 2 ? numbers[1] - 1 : rows_ - 1;
          row_ = column_ = 0;
          break;
        case 'H':
          row_ = numbers[0] - 1;
          column_ = 0;
          break;
        case 'A':
          row_ = std::max(0, row_ - numbers[0]);
          break;
        case 'K':
          lines_[row_].assign(lines_[row_].size(), ' ');
          break;
        default:
          break;
      }
    }
    return at;
  }
  const int rows_;
  std::vector<std::string> lines_, gone_;
  int row_ = 0, column_ = 0, bottom_;
  std::pair<int, int> saved_;
};

/// A program on a terminal of its own; what it writes, when it is done or killed.
template <class Body>
std::string on_terminal(Body body, int rows = 8, int columns = 70) {
  winsize size{};
  size.ws_row = static_cast<unsigned short>(rows);
  size.ws_col = static_cast<unsigned short>(columns);
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (child == 0) {
    ::setenv("TERM", "xterm", 1);
    ::unsetenv("LC_ALL");
    ::setenv("LC_CTYPE", "C", 1);
    body();
    std::exit(0);
  }
  std::string all;
  char bytes[4096];
  for (ssize_t count; (count = ::read(terminal, bytes, sizeof bytes)) > 0;)
    all.append(bytes, static_cast<std::size_t>(count));
  ::close(terminal);
  ::waitpid(child, nullptr, 0);
  return all;
}
void busy_for(std::chrono::milliseconds time) {
  const auto until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until) continue;
}

TEST_F(ProgressTest, WhatTheProgramPrintsScrollsAboveTheBar) {
  const std::string written = on_terminal([] {
    std::cout << "begin\n";
    int at = 0;
    for (int item : progress(std::views::iota(0, 12), {.label = "work"})) {
      busy_for(30ms);
      if (at++ % 2 == 0) std::cout << "stream " << item << std::endl;
      if (item % 3 == 0) std::fprintf(stderr, "error %d\n", item);
      if (item == 11) std::printf("last\n"), std::fflush(stdout);
    }
    std::cout << "end\n";
  });
  EXPECT_THAT(written, ::testing::HasSubstr("work  "));
  Screen screen(8, 70);
  screen.write(written);
  EXPECT_THAT(screen.text(), ::testing::ElementsAre("begin", "stream 0", "error 0", "stream 2", "error 3", "stream 4",
                                                    "stream 6", "error 6", "stream 8", "error 9", "stream 10", "last",
                                                    ::testing::StartsWith("work: 12 items in "), "end"));
  EXPECT_TRUE(screen.scrolls_whole());
}

TEST_F(ProgressTest, TheBarIsInTheLastLineWhileItLasts) {
  const std::string written = on_terminal([] {
    ProgressBar bar({.label = "bytes", .total = 100, .unit = "B"});
    bar.advance(50);
    std::cerr << "marked\n";
    ::raise(SIGKILL);
  });
  Screen screen(8, 70);
  screen.write(written);
  EXPECT_THAT(screen.line(7), ::testing::StartsWith("bytes  50% ####"));
  EXPECT_EQ(screen.line(0), "marked");
}

TEST_F(ProgressTest, ASignalThatEndsTheProgramLeavesTheTerminalAsItWas) {
  for (const int signal : {SIGINT, SIGTERM, SIGABRT}) {
    const std::string written = on_terminal([signal] {
      ProgressBar bar({.total = 100});
      bar.advance(50);
      ::raise(signal);
    });
    Screen screen(8, 70);
    screen.write(written);
    EXPECT_TRUE(screen.scrolls_whole()) << signal;
    EXPECT_EQ(screen.line(7), "") << signal;
  }
}

TEST_F(ProgressTest, ExitInTheMiddleLeavesTheTerminalAsItWas) {
  Screen screen(8, 70);
  screen.write(on_terminal([] {
    for (int item : progress(std::views::iota(0, 10)))
      if (item == 5) std::exit(3);
  }));
  EXPECT_TRUE(screen.scrolls_whole());
}

TEST_F(ProgressTest, WithoutColoursIfNobodyWantsThem) {
  const auto body = [] {
    ProgressBar bar({.total = 100});
    bar.advance(50);
  };
  EXPECT_THAT(on_terminal(body), ::testing::HasSubstr("\x1b[36m"));
  EXPECT_THAT(on_terminal([&] {
                ::setenv("NO_COLOR", "1", 1);
                body();
              }),
              ::testing::Not(::testing::HasSubstr("\x1b[36m")));
  EXPECT_THAT(on_terminal([&] {
                ::setenv("TERM", "dumb", 1);
                body();
              }),
              ::testing::MatchesRegex("50 of 100 items in .*\r\n"));
}

TEST_F(ProgressTest, APipeGetsOneLineAtTheEnd) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    ThreadExecutor executor(2);
    int sum = 0;
    for (int value :
         progress(executor.map([](int item) { return 2 * item; }, std::views::iota(0, 1000)), {.label = "map"}))
      sum += value;
    executor.shutdown();
    ::_exit(sum == 999'000 ? 0 : 1);
  }
  ::close(ends[1]);
  std::string all(4096, '\0');
  std::size_t size = 0;
  for (ssize_t count; (count = ::read(ends[0], all.data() + size, all.size() - size)) > 0;)
    size += static_cast<std::size_t>(count);
  all.resize(size);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(all, ::testing::MatchesRegex("map: 1000 items in [^\n]*\n"));
}

TEST_F(ProgressTest, AnyRangeGoesThroughUnchanged) {
  ::testing::internal::CaptureStderr();
  std::list<std::string> words = {"a", "b"};
  std::string all;
  for (const std::string& word : progress(words)) all += word;
  for (std::string& word : progress(words)) word += '!';
  for (int odd : progress(std::vector{1, 2, 3} | std::views::filter([](int value) { return value % 2 == 1; })))
    all += std::to_string(odd);
  const std::string lines = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(all, "ab13");
  EXPECT_EQ(words.front(), "a!");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 3);
}

TEST_F(ProgressTest, ManyThreadsAdvanceOneBar) {
  ::testing::internal::CaptureStderr();
  {
    ProgressBar bar({.total = 1000});
    ThreadExecutor executor(2);
    executor.for_each([&](int) { bar.advance(); }, std::views::iota(0, 1000));
    EXPECT_EQ(bar.done(), 1000u);
  }
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::StartsWith("1000 items in "));
}

TEST_F(ProgressTest, AMapSaysHowMuchIsLeft) {
  ThreadExecutor executor(2);
  auto results = executor.map([](int item) { return item; }, std::views::iota(0, 500));
  for (std::size_t left = 500; left > 0; --left) {
    EXPECT_EQ(results.left(), left);
    ASSERT_TRUE(results.next());
  }
  EXPECT_EQ(results.left(), std::size_t{0});
  auto endless = executor.map([](int item) { return item; }, std::views::iota(0));
  EXPECT_EQ(endless.left(), std::nullopt);
}

}  // namespace
}  // namespace tandem::testing
