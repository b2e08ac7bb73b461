// The fork server: what becomes of it, and what becomes of its children when it is killed.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "support/bodies.hpp"
#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::HasSubstr;

class ForkServerTest : public LeakCheckedTest {
 protected:
  void SetUp() override {
    LeakCheckedTest::SetUp();
    ASSERT_TRUE(server_pid().has_value());
  }

  // Kills the server and waits until it is gone.
  static void kill_server() {
    const detail::Fd server = detail::open_pidfd(server_pid().value());
    detail::send_signal(server.get(), SIGKILL);
    EXPECT_TRUE(ends_within(server, std::chrono::seconds(60)));
  }
};

// The child that the server keeps ready, while no other runs. (One that has just ended may still be seen.)
detail::Fd spare_of(pid_t server) {
  for (;;) {
    for (const pid_t pid : children_of(server)) {
      try {
        detail::Fd spare = detail::open_pidfd(pid);
        if (!detail::has_ended(spare.get())) return spare;
      } catch (const std::system_error&) {
        // It is gone.
      }
    }
    std::this_thread::yield();
  }
}

int stop_and_return(std::stop_token stop, int code) {
  bodies::wait_for_stop(stop);
  return code;
}

// STM-02: it does not die of what Ctrl-C sends to all processes of the terminal, which is for the program to answer.
TEST_F(ForkServerTest, WhatATerminalSendsDoesNotEndIt) {
  Process running(stop_and_return, 7);
  running.start();
  const pid_t server = server_pid().value();
  for (const int signum : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ASSERT_EQ(::kill(server, signum), 0);
  EXPECT_EQ(exitcode_of(Where::ForkServer, bodies::do_nothing), 0);
  EXPECT_EQ(server_pid(), server);
  running.request_stop();
  running.join();
  EXPECT_EQ(running.exitcode(), 7);
}

// STM-03
TEST_F(ForkServerTest, KilledItIsReplacedAndItsChildrenLiveOn) {
  Process running(stop_and_return, 7);
  running.start();
  const pid_t before = server_pid().value();
  kill_server();
  EXPECT_EQ(exitcode_of(Where::ForkServer, bodies::do_nothing), 0);
  EXPECT_NE(server_pid().value(), before);
  EXPECT_TRUE(running.is_alive());
  running.request_stop();
  running.join();
  EXPECT_EQ(running.exitcode(), 7);
}

bool linux_is_at_least(int wanted_major, int wanted_minor) {
  utsname system{};
  int its_major = 0, its_minor = 0;
  char dot = '.';
  if (::uname(&system) != 0) return false;
  std::istringstream(system.release) >> its_major >> dot >> its_minor;
  return std::pair(its_major, its_minor) >= std::pair(wanted_major, wanted_minor);
}

int wait_and_die(int signum, Queue<int> go) {
  static_cast<void>(go.get());
  if (signum == 0) ::_exit(9);
  ::raise(signum);
  return 0;
}

TEST_F(ForkServerTest, ChildrenOfADeadOneStillTellHowTheyEnded) {
  for (const int signum : {0, SIGABRT, SIGTERM, SIGKILL}) {
    Queue<int> go;
    Process running(wait_and_die, signum, go);
    running.start();
    kill_server();
    go.put(1);
    running.join();
    // Before Linux 6.15 only those who had time for a note tell exactly.
    const int expected = signum == 0 ? 9 : -signum;
    if (linux_is_at_least(6, 15)) {
      EXPECT_EQ(running.exitcode(), expected);
    } else {
      EXPECT_THAT(running.exitcode(), ::testing::AnyOf(-SIGKILL, expected));
    }
  }
  Process to_be_terminated(wait_for_ever);
  to_be_terminated.start();
  kill_server();
  to_be_terminated.terminate();
  to_be_terminated.join();
  EXPECT_EQ(to_be_terminated.exitcode(), -SIGTERM);
}

TEST_F(ForkServerTest, ChildrenOfADeadOneGoWithTheirParent) {
  Queue<pid_t> pids;
  Process middle(
      +[](Queue<pid_t> p) {
        Process child(wait_for_ever);
        child.start();
        kill_server();
        p.put(child.pid().value());
        wait_for_ever();
      },
      pids);
  middle.start();
  const detail::Fd child = detail::open_pidfd(pids.get());
  EXPECT_FALSE(ends_within(child, std::chrono::seconds(0)));
  middle.kill();
  middle.join();
  EXPECT_TRUE(ends_within(child, std::chrono::seconds(60)));
}

// What a user without privileges gets, whose processes the system counts.
int start_refused(Queue<std::string> told) {
  ::prctl(PR_SET_DUMPABLE, 1);
  const auto error_of_start = [&] {
    Queue<int> ran;
    Process process(+[](Queue<int> r) { r.put(1); }, ran);
    std::string text = "started";
    try {
      process.start();
      process.join();
    } catch (const std::system_error& error) {
      text = error.code() == std::errc::resource_unavailable_try_again ? "refused" : error.what();
    }
    if (text != "started" && (process.is_alive() || process.pid() || !active_children().empty() || ran.try_get()))
      text += " but something is left";
    return text;
  };
  // First nothing is there: not even the watcher can be started. Then there is a server, which cannot fork: it has one
  // child ready, and no other.
  rlimit before{};
  ::getrlimit(RLIMIT_NPROC, &before);
  const rlimit none{0, before.rlim_max};  // The soft limit alone, because it is raised again.
  ::setrlimit(RLIMIT_NPROC, &none);
  told.put(error_of_start());
  ::setrlimit(RLIMIT_NPROC, &before);
  told.put(error_of_start());
  if (const auto server = server_pid()) {
    static_cast<void>(spare_of(*server));
    ::prlimit(*server, RLIMIT_NPROC, &none, nullptr);
    told.put(error_of_start());
    told.put(error_of_start());
    ::prlimit(*server, RLIMIT_NPROC, &before, nullptr);
    told.put(error_of_start());
  }
  return 0;
}

// THR-08 THR-09, for processes.
TEST_F(ForkServerTest, AStartThatTheSystemRefusesLeavesNothingAndMayBeTriedAgain) {
  Queue<std::string> told;
  Process limited(tandem::fork, [&told] {
    // As root nothing is refused.
    if (::getuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 1;
    return start_refused(told);
  });
  limited.start();
  limited.join();
  ASSERT_EQ(limited.exitcode(), 0);
  EXPECT_EQ(told.try_get(), "refused");
  EXPECT_EQ(told.try_get(), "started");
  EXPECT_EQ(told.try_get(), "started");
  EXPECT_EQ(told.try_get(), "refused");
  EXPECT_EQ(told.try_get(), "started");
}

// It holds nothing for each child, but for the one that it keeps ready.
TEST_F(ForkServerTest, HasNoDescriptorsOfItsChildren) {
  constexpr std::size_t kMany = 20;  // Far more than it has open for a moment while it makes or starts a child.
  const auto count = [] {
    std::size_t open = 0;
    for ([[maybe_unused]] const auto& each :
         std::filesystem::directory_iterator("/proc/" + std::to_string(server_pid().value()) + "/fd"))
      ++open;
    return open;
  };
  const std::size_t before = count();
  std::vector<Process> running;
  for (std::size_t i = 0; i < kMany; ++i) {
    running.emplace_back(wait_for_ever);
    running.back().start();
  }
  EXPECT_LT(count(), before + kMany / 2);
  for (Process& process : running) process.kill();
}

// The child that is kept ready is nobody's yet: killed, it is replaced by the time that one is needed.
TEST_F(ForkServerTest, AChildKeptReadyMayDie) {
  const pid_t server = server_pid().value();
  for (int round = 0; round < 3; ++round) {
    const detail::Fd spare = spare_of(server);
    detail::send_signal(spare.get(), SIGKILL);
    ASSERT_TRUE(ends_within(spare, std::chrono::seconds(60)));
    EXPECT_EQ(exitcode_of(Where::ForkServer, bodies::do_nothing), 0);
    EXPECT_EQ(server_pid(), server);
  }
}

TEST_F(ForkServerTest, AChildKeptReadyGoesWithTheServer) {
  const pid_t server = server_pid().value();
  const detail::Fd spare = spare_of(server);
  kill_server();
  EXPECT_TRUE(ends_within(spare, std::chrono::seconds(60)));
}

int report_folder_and_mask(Queue<std::string> told) {
  told.put(std::filesystem::current_path().string());
  told.put(std::getenv("TANDEM_TEST_LATE") == nullptr ? "" : std::getenv("TANDEM_TEST_LATE"));
  return static_cast<int>(::umask(0));
}

TEST_F(ForkServerTest, AChildKeptReadyTakesOverWhatHasChangedSince) {
  static_cast<void>(spare_of(server_pid().value()));
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path("/");
  const mode_t mask = ::umask(027);
  ::setenv("TANDEM_TEST_LATE", "set", 1);
  Queue<std::string> told;
  EXPECT_EQ(exitcode_of(Where::ForkServer, report_folder_and_mask, told), 027);
  ::unsetenv("TANDEM_TEST_LATE");
  ::umask(mask);
  std::filesystem::current_path(before);
  EXPECT_EQ(told.get(), "/");
  EXPECT_EQ(told.get(), "set");
  EXPECT_EQ(exitcode_of(Where::ForkServer, report_folder_and_mask, told), static_cast<int>(mask));
  EXPECT_EQ(told.get(), before.string());
  EXPECT_EQ(told.get(), "");
}

}  // namespace
}  // namespace tandem::testing
