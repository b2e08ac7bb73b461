// Signals sent to processes, and signals that come while waiting for them.
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>

#include "support/bodies.hpp"
#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::IsEmpty;

class ProcessSignalTest : public ProcessesTest {};

// PRC-09: the child has the system's default for SIGINT. PRC-08: and no other handler comes with it.
TEST_P(ProcessSignalTest, InterruptEndsItWithMinusSigint) {
  Process process = process_in(GetParam(), wait_for_ever);
  EXPECT_THROW(process.interrupt(), StateError);
  process.start();
  process.interrupt();
  process.join();
  EXPECT_EQ(process.exitcode(), -SIGINT);
}

// PRC-10
TEST_P(ProcessSignalTest, TerminateEndsItWithMinusSigterm) {
  Process process = process_in(GetParam(), wait_for_ever);
  process.start();
  EXPECT_FALSE(process.join_for(std::chrono::seconds(0)));
  EXPECT_TRUE(process.is_alive());
  process.terminate();
  process.join();
  EXPECT_FALSE(process.is_alive());
  EXPECT_EQ(process.exitcode(), -SIGTERM);
  EXPECT_EQ(process.exit_status()->signal(), SIGTERM);
  EXPECT_THAT(active_children(), IsEmpty());
  process.terminate();  // Nothing happens to one that has ended.
}

// PRC-11
TEST_P(ProcessSignalTest, KillEndsItWithMinusSigkill) {
  Process process = process_in(GetParam(), wait_for_ever);
  process.start();
  process.kill();
  process.join();
  EXPECT_EQ(process.exitcode(), -SIGKILL);
}

void kill_self() {
  ::kill(::getpid(), SIGTERM);
}

// PRC-16
TEST_P(ProcessSignalTest, SentinelWakesForAChildThatKillsItself) {
  Process process = process_in(GetParam(), kill_self);
  process.start();
  pollfd end{process.sentinel(), POLLIN, 0};
  EXPECT_EQ(detail::retry_on_signal([&] { return ::poll(&end, 1, -1); }), 1);
  EXPECT_EQ(process.exitcode(), -SIGTERM);
}

std::atomic<int> signals_seen{0};

// SIG-07
TEST_P(ProcessSignalTest, JoinContinuesAfterASignal) {
  signals_seen = 0;
  struct sigaction action{}, before{};
  action.sa_handler = [](int) { ++signals_seen; };
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);  // Without SA_RESTART: what waits in the system is interrupted.
  Process process = process_in(GetParam(), bodies::wait_for_stop);
  process.start();
  const itimerval each_5_ms{{0, 5000}, {0, 5000}}, never{};
  ::setitimer(ITIMER_REAL, &each_5_ms, nullptr);
  while (signals_seen < 3) EXPECT_FALSE(process.join_for(std::chrono::milliseconds(20)));
  process.request_stop();
  process.join();
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  EXPECT_EQ(process.exitcode(), 0);
}

// The same while a process is being started.
TEST_P(ProcessSignalTest, StartContinuesAfterASignal) {
  struct sigaction action{}, before{};
  action.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
  const itimerval each_ms{{0, 1000}, {0, 1000}}, never{};
  ::setitimer(ITIMER_REAL, &each_ms, nullptr);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(exitcode_of(GetParam(), bodies::do_nothing), 0);
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
}

void tell_signals(Queue<bool> told) {
  sigset_t blocked;
  ::sigprocmask(SIG_SETMASK, nullptr, &blocked);
  told.put(sigismember(&blocked, SIGUSR1) == 1);
  told.put(sigismember(&blocked, SIGTERM) == 1 || sigismember(&blocked, SIGCHLD) == 1);
  struct sigaction action{};
  ::sigaction(SIGUSR2, nullptr, &action);
  told.put(action.sa_handler == SIG_IGN);
  ::sigaction(SIGINT, nullptr, &action);
  told.put(action.sa_handler == SIG_DFL);
}

// As exec leaves them, by every method: the server's own do not show.
TEST_P(ProcessSignalTest, BlockedAndIgnoredSignalsAreThoseOfTheStarter) {
  Queue<bool> told;
  sigset_t usr1, before;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &usr1, &before);
  const auto handler = ::signal(SIGUSR2, SIG_IGN);
  EXPECT_EQ(exitcode_of(GetParam(), tell_signals, told), 0);
  ::signal(SIGUSR2, handler);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_TRUE(told.get()) << "SIGUSR1 is blocked in the parent";
  EXPECT_FALSE(told.get()) << "SIGTERM and SIGCHLD are not";
  EXPECT_TRUE(told.get()) << "SIGUSR2 is ignored in the parent";
  EXPECT_TRUE(told.get()) << "SIGINT is not";
}

// Starts children down to `depth`, each telling its pid.
void grow_tree(int depth, Queue<pid_t> pids) {
  pids.put(::getpid());
  std::vector<Process> children;
  if (depth > 0)
    for (int i = 0; i < 2; ++i) children.emplace_back(grow_tree, depth - 1, pids);
  for (Process& child : children) child.start();
  wait_for_ever();
}

// PRC-35: by the lifeline, when only the root is killed; and by kill_tree(), which does not need it.
TEST_P(ProcessSignalTest, KillTreeEndsAllDescendants) {
  for (const bool whole_tree : {true, false}) {
    Queue<pid_t> pids;
    Process root = process_in(GetParam(), grow_tree, 2, pids);
    root.start();
    std::vector<detail::Fd> all;
    for (int i = 0; i < 7; ++i) all.push_back(detail::open_pidfd(pids.get()));
    if (whole_tree)
      root.kill_tree();
    else
      root.kill();
    root.join();
    EXPECT_EQ(root.exitcode(), -SIGKILL);
    for (const detail::Fd& each : all) EXPECT_TRUE(ends_within(each, std::chrono::seconds(60)));
  }
}

void fork_bomb_of_four(Queue<pid_t> pids) {
  for (int i = 0; i < 4; ++i)
    if (::fork() == 0) {
      pids.put(::getpid());
      wait_for_ever();
    }
  pids.put(::getpid());
  wait_for_ever();
}

// Those that Tandem has not started too, and those that stand still.
TEST_P(ProcessSignalTest, KillTreeEndsBareForks) {
  Queue<pid_t> pids;
  Process root = process_in(GetParam(), fork_bomb_of_four, pids);
  root.start();
  std::vector<detail::Fd> all;
  for (int i = 0; i < 5; ++i) all.push_back(detail::open_pidfd(pids.get()));
  detail::send_signal(all.back().get(), SIGSTOP);
  root.kill_tree();
  root.join();
  for (const detail::Fd& each : all) EXPECT_TRUE(ends_within(each, std::chrono::seconds(60)));
}

TANDEM_TEST_IN_PROCESSES(ProcessSignalTest);

}  // namespace
}  // namespace tandem::testing
