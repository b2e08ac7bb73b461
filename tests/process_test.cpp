// A process as its owner sees it: members, names, the daemon flag, arguments. What a thread has too is in
// worker_test.cpp.
#include <tandem/process.hpp>

#include <gmock/gmock.h>
#include <poll.h>
#include <unistd.h>

#include <string>
#include <type_traits>

#include "support/bodies.hpp"
#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;

class ProcessTest : public ProcessesTest {};

static_assert(!std::is_copy_constructible_v<Process> && std::is_nothrow_move_constructible_v<Process>);

// PRC-01: there is no key, because nobody connects: what a child is given, it inherits.
TEST_P(ProcessTest, TheFirstProcessKnowsItself) {
  const ProcessInfo self = current_process();
  EXPECT_EQ(self.name, "MainProcess");
  EXPECT_EQ(self.pid, ::getpid());
  EXPECT_FALSE(self.daemon);
  EXPECT_FALSE(self.start_method.has_value());
  EXPECT_FALSE(parent_process().has_value());  // PRC-04
}

struct Seen {
  std::string name;
  pid_t pid = 0;
  bool daemon = false;
  std::optional<StartMethod> method;
  pid_t system_pid = 0;
  std::string parent_name;
  pid_t parent_pid = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, pid, daemon, method, system_pid, parent_name, parent_pid);
  }
};

void look_around(Queue<Seen> result) {
  const ProcessInfo self = current_process();
  const ProcessInfo parent = parent_process().value();
  result.put({self.name, self.pid, self.daemon, self.start_method, ::getpid(), parent.name, parent.pid});
}

// PRC-04 PRC-06 STM-12
TEST_P(ProcessTest, KnowsItselfAndItsParent) {
  Queue<Seen> result;
  ProcessOptions options = options_for(GetParam());
  options.name = "the child";
  options.daemon = true;
  Process process(options, look_around, result);
  process.start();
  const Seen seen = result.get();
  process.join();
  EXPECT_EQ(seen.name, "the child");
  EXPECT_EQ(seen.pid, seen.system_pid);
  EXPECT_EQ(seen.pid, process.pid());
  EXPECT_TRUE(seen.daemon);
  EXPECT_EQ(seen.method, start_method_of(GetParam()));
  EXPECT_EQ(seen.parent_name, "MainProcess");
  EXPECT_EQ(seen.parent_pid, ::getpid());
}

// PRC-06
TEST_P(ProcessTest, GoesThroughItsWholeLife) {
  Process process = process_in(GetParam(), bodies::wait_for_stop);
  EXPECT_FALSE(process.is_alive());
  EXPECT_FALSE(process.pid().has_value());
  EXPECT_FALSE(process.exitcode().has_value());
  EXPECT_THAT(active_children(), IsEmpty());
  EXPECT_THAT(process.to_string(), MatchesRegex("<Process\\(Process-[0-9]+, initial\\)>"));
  process.start();
  EXPECT_TRUE(process.is_alive());
  EXPECT_FALSE(process.exitcode().has_value());
  EXPECT_EQ(process.pid(), process.native_id());
  EXPECT_THAT(active_children(), Contains(process.info()));
  EXPECT_EQ(process.info().pid, process.pid());
  EXPECT_THAT(process.to_string(), HasSubstr("started"));
  EXPECT_EQ(process.start_method(), start_method_of(GetParam()));
  EXPECT_TRUE(process.request_stop());
  EXPECT_FALSE(process.request_stop());
  EXPECT_TRUE(process.stop_token().stop_requested());
  process.join();
  EXPECT_FALSE(process.is_alive());
  EXPECT_EQ(process.exitcode(), 0);
  EXPECT_EQ(process.exit_status(), ExitStatus::exited(0));
  EXPECT_FALSE(process.crash_report().has_value());
  EXPECT_GT(process.usage().value().peak_memory_bytes, 0u);
  EXPECT_THAT(active_children(), IsEmpty());
  EXPECT_THAT(process.to_string(), HasSubstr("stopped, exit code 0"));
}

// PRC-13
TEST_P(ProcessTest, ActiveChildrenIsAFreshList) {
  Process process = process_in(GetParam(), bodies::wait_for_stop);
  process.start();
  std::vector<ProcessInfo> list = active_children();
  ASSERT_EQ(list.size(), 1u);
  list.clear();
  EXPECT_EQ(active_children().size(), 1u);
  process.request_stop();
  process.join();
}

void make_and_tell_daemon(Queue<bool> told) {
  const Process by_default(bodies::do_nothing);
  ProcessOptions options;
  options.daemon = false;
  const Process given(options, bodies::do_nothing);
  told.put(by_default.daemon());
  told.put(given.daemon());
}

// PRC-03
TEST_P(ProcessTest, DaemonFlagIsThatOfItsMakerUnlessGiven) {
  Queue<bool> told;
  ProcessOptions options = options_for(GetParam());
  options.daemon = true;
  Process process(options, make_and_tell_daemon, told);
  EXPECT_TRUE(process.daemon());
  process.start();
  process.join();
  EXPECT_EQ(told.try_get(), true);
  EXPECT_EQ(told.try_get(), false);
  EXPECT_FALSE(Process(bodies::do_nothing).daemon());
}

// PRC-15
TEST_P(ProcessTest, SentinelIsReadyOnceItHasEnded) {
  Process process = process_in(GetParam(), bodies::wait_for_stop);
  EXPECT_THROW(static_cast<void>(process.sentinel()), StateError);
  process.start();
  // Usable with others in one wait.
  int other[2];
  ASSERT_EQ(::pipe(other), 0);
  pollfd both[] = {{process.sentinel(), POLLIN, 0}, {other[0], POLLIN, 0}};
  EXPECT_EQ(::poll(both, 2, 0), 0);
  process.request_stop();
  EXPECT_EQ(::poll(both, 2, -1), 1);
  EXPECT_EQ(both[0].revents, POLLIN);
  EXPECT_EQ(process.exitcode(), 0);  // Known by then.
  EXPECT_EQ(::poll(both, 1, 0), 1);  // It stays ready.
  ::close(other[0]);
  ::close(other[1]);
  Process ended = process_in(GetParam(), bodies::do_nothing);
  ended.start();
  ended.join();
  pollfd asked_late{ended.sentinel(), POLLIN, 0};
  EXPECT_EQ(::poll(&asked_late, 1, 0), 1);
}

// PRC-17
TEST_P(ProcessTest, CloseRefusesWhileAliveAndThenEndsAllUse) {
  Process process = process_in(GetParam(), bodies::wait_for_stop);
  process.start();
  EXPECT_THROW(process.close(), StateError);
  process.request_stop();
  process.join();
  const std::size_t open = open_descriptors().size();
  static_cast<void>(process.sentinel());
  process.close();
  EXPECT_LE(open_descriptors().size(), open);
  EXPECT_THROW(process.start(), StateError);
  EXPECT_THROW(process.join(), StateError);
  EXPECT_THROW(static_cast<void>(process.is_alive()), StateError);
  EXPECT_THROW(static_cast<void>(process.exitcode()), StateError);
  EXPECT_THROW(static_cast<void>(process.pid()), StateError);
  EXPECT_THROW(static_cast<void>(process.name()), StateError);
  EXPECT_THROW(static_cast<void>(process.sentinel()), StateError);
  EXPECT_THROW(process.terminate(), StateError);
  EXPECT_NO_THROW(process.close());
  Process never_started = process_in(GetParam(), bodies::do_nothing);
  never_started.close();
  EXPECT_THROW(never_started.start(), StateError);
}

// PRC-18
TEST_P(ProcessTest, ManyAtOnce) {
  for (const bool end_them : {false, true}) {
    std::vector<Process> processes;
    for (int i = 0; i < 100; ++i)
      processes.push_back(end_them ? process_in(GetParam(), wait_for_ever)
                                   : process_in(GetParam(), bodies::do_nothing));
    for (Process& process : processes) process.start();
    if (end_them)
      for (Process& process : processes) process.terminate();
    for (Process& process : processes) process.join();
    for (Process& process : processes) ASSERT_EQ(process.exitcode(), end_them ? -SIGTERM : 0);
  }
}

void copy_text(std::string text, Queue<std::size_t> size) {
  size.put(text.size());
}

TEST_P(ProcessTest, ArgumentsOfManyMegabytesArriveWholeAndGo) {
  Queue<std::size_t> size;
  Process process = process_in(GetParam(), copy_text, std::string(50 << 20, 'x'), size);
  process.start();
  EXPECT_EQ(size.get(), std::size_t{50} << 20);
  process.join();
}

int add(int a, int b) {
  return a + b;
}
bool is_even(int n) {
  return n % 2 == 0;
}

// PRC-26: a number is the exit code, nothing is 0, true and false are 1 and 0; text there is none to return.
TEST_P(ProcessTest, ResultIsTheExitCode) {
  EXPECT_EQ(exitcode_of(GetParam(), add, 3, 4), 7);
  EXPECT_EQ(exitcode_of(GetParam(), add, 200, 100), 300 - 256);
  EXPECT_EQ(exitcode_of(GetParam(), is_even, 2), 1);
  EXPECT_EQ(exitcode_of(GetParam(), is_even, 3), 0);
  EXPECT_EQ(exitcode_of(GetParam(), bodies::do_nothing), 0);
  EXPECT_EQ(exitcode_of(GetParam(), bodies::ask_to_exit, 5), 5);
  EXPECT_EQ(exitcode_of(GetParam(), bodies::ask_to_exit, 0), 0);
}

void say_variable(Queue<std::string> said) {
  const char* const value = ::getenv("TANDEM_TEST_VARIABLE");
  said.put(value == nullptr ? "none" : value);
}

// PRC-32
TEST_P(ProcessTest, EnvironmentIsTheParentsOfNowUnlessGiven) {
  Queue<std::string> said;
  ::setenv("TANDEM_TEST_VARIABLE", "of the parent", 1);
  EXPECT_EQ(exitcode_of(GetParam(), say_variable, said), 0);
  EXPECT_EQ(said.get(), "of the parent");
  ProcessOptions options = options_for(GetParam());
  options.environment = {{"TANDEM_TEST_VARIABLE", "given"}};
  Process given(options, say_variable, said);
  given.start();
  EXPECT_EQ(said.get(), "given");
  options.environment = {{"TANDEM_TEST_VARIABLE", std::nullopt}};
  Process removed(options, say_variable, said);
  removed.start();
  EXPECT_EQ(said.get(), "none");
  ::unsetenv("TANDEM_TEST_VARIABLE");
  EXPECT_EQ(exitcode_of(GetParam(), say_variable, said), 0);
  EXPECT_EQ(said.get(), "none");
}

void say_folder(Queue<std::string> said) {
  said.put(std::filesystem::current_path());
}

TEST_P(ProcessTest, WorkingDirectoryIsTheParentsOfNow) {
  Queue<std::string> said;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path("/usr");
  EXPECT_EQ(exitcode_of(GetParam(), say_folder, said), 0);
  std::filesystem::current_path(before);
  EXPECT_EQ(said.get(), "/usr");
}

TEST_P(ProcessTest, MovedFromIsAnErrorAndMovingKeepsTheChild) {
  Process process = process_in(GetParam(), bodies::wait_for_stop);
  process.start();
  Process other = std::move(process);
  EXPECT_THROW(process.join(), StateError);            // NOLINT(bugprone-use-after-move): that is the test.
  other = process_in(GetParam(), bodies::do_nothing);  // Stops and joins the first.
  EXPECT_FALSE(other.is_alive());
  EXPECT_THAT(active_children(), IsEmpty());
}

TEST_P(ProcessTest, DestructorTerminatesADaemonAndKillsOneThatWillNotGo) {
  Queue<int> ready;
  {
    ProcessOptions options = options_for(GetParam());
    options.daemon = true;
    options.terminate_grace = std::chrono::milliseconds(50);
    Process stubborn(
        options,
        +[](Queue<int> says) {
          ::signal(SIGTERM, SIG_IGN);
          says.put(1);
          wait_for_ever();
        },
        ready);
    stubborn.start();
    EXPECT_EQ(ready.get(), 1);
  }
  EXPECT_THAT(active_children(), IsEmpty());
}

TANDEM_TEST_IN_PROCESSES(ProcessTest);

}  // namespace
}  // namespace tandem::testing
