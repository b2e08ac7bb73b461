// The tool's manners: what it accepts, what it refuses, and how it ends.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <pty.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <tandem/version.hpp>

#include "support/leak_checked_test.hpp"
#include "support/random.hpp"
#include "support/tool.hpp"

namespace tandem::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kMischief = built_file("tests/plugins/mischief.so");

class CliTest : public LeakCheckedTest {
 protected:
  bool keep_services() const override { return false; }
};

bool is_one_line(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n') == 1 && text.back() == '\n';
}

/// Exit code, one line on standard error that names the thing, nothing on standard output.
void expect_refusal(const std::vector<std::string>& arguments, const std::string& thing, int code = 2) {
  const ToolRun run = run_tool(arguments);
  EXPECT_EQ(run.code, code);
  EXPECT_EQ(run.out, "");
  EXPECT_TRUE(is_one_line(run.err)) << run.err;
  EXPECT_THAT(run.err, StartsWith("tandem: "));
  EXPECT_THAT(run.err, HasSubstr(thing));
}

TEST_F(CliTest, PrintsItsVersion) {
  const ToolRun run = run_tool({"--version"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.out, "tandem " + std::to_string(TANDEM_VERSION_MAJOR) + "." + std::to_string(TANDEM_VERSION_MINOR) +
                         "." + std::to_string(TANDEM_VERSION_PATCH) + "\n");
}

TEST_F(CliTest, HelpsAtEveryLevel) {
  EXPECT_THAT(run_tool({"--help"}).out, HasSubstr("compare"));
  EXPECT_THAT(run_tool({"compare", "--help"}).out, HasSubstr("--workers"));
  EXPECT_THAT(run_tool({"compare", "sum", "--help"}).out, HasSubstr("--to"));
  EXPECT_EQ(run_tool({"compare", "sum", "--help"}).code, 0);
}

TEST_F(CliTest, ListsEveryWork) {
  const ToolRun run = run_tool({"compare", "--list"});
  EXPECT_EQ(run.code, 0);
  for (const char* usage :
       {"sum --to N", "primes --to N", "words FILE...", "sha256 FILE...", "wait --ms M --count K", "plugin LIB.so"})
    EXPECT_THAT(run.out, HasSubstr(usage));
}

TEST_F(CliTest, RefusesBadArguments) {
  expect_refusal({}, "which command");
  expect_refusal({"nonsense"}, "no such command: nonsense");
  expect_refusal({"--nonsense"}, "--nonsense");
  expect_refusal({"compare"}, "which work");
  expect_refusal({"compare", "nonsense"}, "no such work: nonsense");
  expect_refusal({"compare", "sum"}, "--to");
  expect_refusal({"compare", "sum", "--to"}, "--to");
  expect_refusal({"compare", "sum", "--to", "5", "--frobnicate"}, "--frobnicate");
  expect_refusal({"compare", "sum", "--to", "5", "6"}, "6");
  expect_refusal({"compare", "wait", "--ms", "5"}, "--count");
  expect_refusal({"compare", "words"}, "FILE");
}

TEST_F(CliTest, RefusesNumbersOutOfRange) {
  for (const char* to : {"-1", "6074001001", "99999999999999999999", "1e8", "ten", "", "1 ", "0x10"})
    expect_refusal({"compare", "sum", "--to", to}, std::string("--to ") + to);
  for (const char* workers : {"", "0", "-2", "1025", "two"})
    expect_refusal({"compare", "sum", "--to", "5", "--workers", workers}, std::string("--workers ") + workers);
  expect_refusal({"compare", "sum", "--to", "5", "--runs", "0"}, "--runs 0");
  expect_refusal({"compare", "wait", "--ms", "0", "--count", "1"}, "--ms 0");
  expect_refusal({"compare", "wait", "--ms", "1", "--count", "0"}, "--count 0");
  expect_refusal({"compare", "sum", "--to", "5", "--where", "serial,moon"}, "moon");
  expect_refusal({"compare", "sum", "--to", "5", "--where", "serial,"}, "--where serial,");
  expect_refusal({"compare", "sum", "--to", "5", "--where", ""}, "no such place: ''");
}

TEST_F(CliTest, RefusesFilesThatItCannotRead) {
  const TemporaryFile empty("");
  const TemporaryFile full("some words");
  for (const std::string work : {"words", "sha256"}) {
    expect_refusal({"compare", work, "/no/such/file"}, "/no/such/file: cannot be read: No such file");
    expect_refusal({"compare", work, full.path(), "/no/such/file"}, "/no/such/file");
    expect_refusal({"compare", work, "/tmp"}, "/tmp: is a directory");
    expect_refusal({"compare", work, "/dev/null"}, "/dev/null: is not a regular file");
    expect_refusal({"compare", work, empty.path()}, empty.path() + ": is empty");
    expect_refusal({"compare", work, empty.path(), empty.path()}, "empty");
    expect_refusal({"compare", work, ""}, "name");
    expect_refusal({"compare", work, "a\nb\x1b[2J"}, "a\\x0ab\\x1b[2J");
  }
}

TEST_F(CliTest, RefusesPluginsThatDoNotFit) {
  const TemporaryFile text("this is no library");
  const std::string no_plugin = built_file("tests/plugins/no_plugin.so");
  const std::string other_build = built_file("tests/plugins/other_build.so");
  expect_refusal({"compare", "plugin", "/no/such/plugin.so"}, "/no/such/plugin.so");
  expect_refusal({"compare", "plugin", text.path()}, text.path() + ": cannot be loaded");
  expect_refusal({"compare", "plugin", no_plugin}, no_plugin + ": is not a plugin");
  expect_refusal({"compare", "plugin", other_build},
                 other_build + ": a plugin of another build: made for tandem 7.8.9");
  expect_refusal({"compare", "plugin", kMischief}, kMischief + ": say what mischief to do");
}

TEST_F(CliTest, ReportsAPartThatThrowsOrDies) {
  expect_refusal({"compare", "plugin", kMischief, "throw", "--runs", "1"}, "(serial): the part\\x0ais in a bad mood",
                 1);
  const ToolRun killed = run_tool({"compare", "plugin", kMischief, "die", "--runs", "1", "--json"});
  EXPECT_EQ(killed.code, 1);
  EXPECT_EQ(killed.out, "");
  EXPECT_TRUE(is_one_line(killed.err)) << killed.err;
  EXPECT_THAT(killed.err, HasSubstr("failed (processes): killed by SIGKILL"));
  // A crash is also reported by the worker itself, with its stack.
  const ToolRun crashed = run_tool({"compare", "plugin", kMischief, "crash", "--runs", "1"});
  EXPECT_EQ(crashed.code, 1);
  EXPECT_EQ(crashed.out, "");
  EXPECT_THAT(crashed.err, HasSubstr("failed (processes): killed by SIGSEGV"));
}

TEST_F(CliTest, EndsWithThreeWhenResultsDiffer) {
  const ToolRun run = run_tool({"compare", "plugin", kMischief, "differ", "--runs", "1", "--json"});
  EXPECT_EQ(run.code, 3);
  EXPECT_THAT(run.out, HasSubstr("\"agree\": false"));
  EXPECT_TRUE(is_one_line(run.err)) << run.err;
  EXPECT_THAT(run.err, HasSubstr("the results differ: processes gave"));
}

// Some servers start programs so: nobody would be told how a child ended.
TEST_F(CliTest, MayBeStartedWithSigchldIgnored) {
  const std::string command = "trap '' CHLD; exec '" + built_file("cli/tandem") +
                              "' compare wait --ms 1 --count 2 --runs 1 --where serial,processes >/dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST_F(CliTest, SaysThatItsOutputFailed) {
  const std::vector<std::string> arguments = {"compare", "sum", "--to", "5", "--runs", "1"};
  const auto expect_failure = [&](const ToolStreams& streams, const std::string& reason) {
    const ToolRun run = run_tool(arguments, streams);
    EXPECT_EQ(run.code, 1);
    EXPECT_TRUE(is_one_line(run.err)) << run.err;
    EXPECT_THAT(run.err, HasSubstr("standard output"));
    EXPECT_THAT(run.err, HasSubstr(reason));
  };
  const detail::Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  expect_failure({.out_fd = full.get()}, "No space left");
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  ::close(ends[0]);
  const detail::Fd closed_pipe(ends[1]);
  expect_failure({.out_fd = closed_pipe.get()}, "Broken pipe");
  expect_failure({.out_fd = -1}, "closed");
}

TEST_F(CliTest, WorksWithoutStandardError) {
  const ToolRun run = run_tool({"compare", "sum", "--to", "5", "--runs", "1"}, {.err_fd = -1});
  EXPECT_EQ(run.code, 0);
  EXPECT_THAT(run.out, HasSubstr("result    10\n"));
}

TEST_F(CliTest, ShowsProgressOnATerminalOnly) {
  EXPECT_EQ(run_tool({"compare", "sum", "--to", "5", "--runs", "1"}).err, "");
  int terminal = -1;
  int user = -1;
  ASSERT_EQ(::openpty(&user, &terminal, nullptr, nullptr, nullptr), 0);
  const detail::Fd user_end(user);
  detail::Fd terminal_end(terminal);
  const ToolRun run = run_tool({"compare", "sum", "--to", "5", "--runs", "1"}, {.err_fd = terminal_end.get()});
  EXPECT_EQ(run.code, 0);
  // The kernel hands it on in pieces: until the end, which is an error here.
  terminal_end.reset();
  std::string bar;
  std::array<char, 4096> shown{};
  for (ssize_t size = 0; (size = ::read(user_end.get(), shown.data(), shown.size())) > 0;)
    bar.append(shown.data(), static_cast<std::size_t>(size));
  EXPECT_THAT(bar, HasSubstr("1 of 10: serial"));
  EXPECT_TRUE(bar.ends_with("\r\x1b[K")) << "the bar is still there";
}

// ---------------------------------------------------------------------------------------------------------------------
// Ctrl-C.

/// A named pipe in which the workers of mischief.so say that they are there.
class Fifo {
 public:
  Fifo() : name_("/tmp/tandem_test_fifo-" + std::to_string(::getpid())) {
    if (::mkfifo(name_.c_str(), 0600) != 0) detail::throw_errno("cannot make " + name_);
  }
  ~Fifo() { ::unlink(name_.c_str()); }
  const std::string& name() const { return name_; }
  /// Waits until so many have said their pid.
  std::vector<pid_t> read_pids(std::size_t count) const {
    // Open for writing too: otherwise the pipe ends between one writer and the next.
    const detail::Fd keep(::open(name_.c_str(), O_RDWR | O_CLOEXEC));
    std::ifstream lines(name_);
    std::vector<pid_t> pids(count);
    for (pid_t& pid : pids) lines >> pid;
    return pids;
  }

 private:
  std::string name_;
};

bool has_ended(const detail::Fd& pidfd) {
  pollfd ended{pidfd.get(), POLLIN, 0};
  return ::poll(&ended, 1, 0) == 1;
}

void expect_stopped(const ToolRun& run, int code, const std::string& signal_name) {
  EXPECT_EQ(run.code, code);
  EXPECT_EQ(run.out, "");
  EXPECT_TRUE(is_one_line(run.err)) << run.err;
  EXPECT_THAT(run.err, HasSubstr(signal_name));
}

class CliStopTest : public CliTest, public ::testing::WithParamInterface<bool> {};

TEST_P(CliStopTest, TakesItsWorkersWithIt) {
  const Fifo fifo;
  RunningTool tool({"compare", "plugin", kMischief, "stay-in-worker", fifo.name(), "--workers", "2", "--json"});
  std::vector<detail::Fd> workers;
  for (const pid_t pid : fifo.read_pids(2)) workers.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  // A terminal sends it to every process of the group, `kill` to one.
  const bool to_group = GetParam();
  ::kill(to_group ? -tool.pid() : tool.pid(), SIGINT);
  expect_stopped(tool.finish(), 130, "SIGINT");
  for (const detail::Fd& worker : workers) EXPECT_TRUE(has_ended(worker));
}
INSTANTIATE_TEST_SUITE_P(Signal, CliStopTest, ::testing::Bool(),
                         [](const auto& of) { return of.param ? "ToTheGroup" : "ToTheTool"; });

TEST_F(CliTest, StopsWhileItComputesItself) {
  const Fifo fifo;
  RunningTool tool({"compare", "plugin", kMischief, "stay-anywhere", fifo.name()});
  EXPECT_EQ(fifo.read_pids(1).front(), tool.pid());
  ::kill(tool.pid(), SIGTERM);
  expect_stopped(tool.finish(), 128 + SIGTERM, "SIGTERM");
}

TEST_F(CliTest, IsStoppedOrDoneAtAnyInstant) {
  std::mt19937_64 random = random_engine();
  for (int i = 0; i < 12; ++i) {
    RunningTool tool({"compare", "sum", "--to", "2000000", "--workers", "2", "--runs", "1", "--json"});
    const auto wait_us = std::uniform_int_distribution<long>(0, 500'000)(random);
    const timespec wait{0, wait_us * 1000};
    ::nanosleep(&wait, nullptr);  // A random instant, not an event.
    ::kill(-tool.pid(), SIGINT);
    const ToolRun run = tool.finish();
    SCOPED_TRACE(std::to_string(wait_us) + " us");
    if (run.code == 0) {
      EXPECT_TRUE(run.out.starts_with("{\n") && run.out.ends_with("}\n"));
    } else if (run.code == -SIGINT) {
      EXPECT_EQ(run.out + run.err, "");  // Before it had come to listen.
    } else {
      expect_stopped(run, 130, "SIGINT");
    }
  }
}

}  // namespace
}  // namespace tandem::testing
