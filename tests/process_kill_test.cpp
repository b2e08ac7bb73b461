// A start or a join in which somebody is killed at each named point: nobody hangs, nothing is left.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/kill_point.hpp"
#include "ipc/family.hpp"
#include "support/bodies.hpp"
#include "support/kill_points.hpp"
#include "support/process_fixture.hpp"
#include "support/shared_memory_fixture.hpp"
#include "support/watchdog.hpp"

namespace tandem::testing {
namespace {

using ::testing::IsSupersetOf;

constexpr char kVariable[] = "TANDEM_TEST_DIE_AT";

// In a process that is executed, points are passed before main: what the environment asks for is arranged before that.
__attribute__((constructor(101))) void arrange_death() {
  const char* const text = std::getenv(kVariable);
  if (text == nullptr) return;
  std::string name;
  std::size_t pass = 0;
  std::istringstream(text) >> name >> pass;
  die_at_kill_point(name, pass);
}

// Processes that are started while this lives, but for this one's own, that are still there at the end of it.
class Strays {
 public:
  Strays() : before_(members()) {}
  // Waits for their end, and gives those that stay.
  std::set<pid_t> left() const {
    std::set<pid_t> stay;
    const std::set<pid_t> now = members();
    // The one that this process's own server keeps ready is another one after each start.
    const std::vector<pid_t> ready = children_of(server_pid().value_or(-1));
    for (const pid_t pid : now) {
      if (before_.contains(pid) || std::ranges::find(ready, pid) != ready.end()) continue;
      try {
        const detail::Fd stray = detail::open_pidfd(pid);
        if (!ends_within(stray, std::chrono::seconds(60))) stay.insert(pid);
      } catch (const std::system_error&) {
        // It is gone.
      }
    }
    return stay;
  }

 private:
  // Of this process's group, which those inherit that have lost their parents too; but for the child that this
  // process's own server keeps ready, which is another one after each start.
  static std::set<pid_t> members() {
    std::set<pid_t> found;
    const std::vector<pid_t> ready = children_of(server_pid().value_or(-1));
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (!std::isdigit(static_cast<unsigned char>(name[0]))) continue;
      const auto pid = static_cast<pid_t>(std::stoi(name));
      if (::getpgid(pid) == ::getpgrp()) found.insert(pid);
    }
    return found;
  }

  const std::set<pid_t> before_;
};

class ProcessKillTest : public ProcessesTest {
 protected:
  void SetUp() override {
    if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
    ::setpgid(0, 0);
    ProcessesTest::SetUp();
  }
  std::chrono::seconds time_limit() const override { return std::chrono::seconds(110); }

  // What every victim leaves to others: the queue works, the next process can be started.
  void expect_all_well(Queue<int>& queue) {
    while (queue.try_get()) {
    }
    Process process = process_in(GetParam(), +[](Queue<int> result) { result.put(1); }, queue);
    process.start();
    EXPECT_EQ(queue.get(), 1);
    process.join();
    EXPECT_EQ(process.exitcode(), 0);
  }

  // Runs `body` in a process of its own, with its own server.
  template <class Body>
  void expect_in_process_of_its_own(Body body) {
    Process middle(tandem::fork, body);
    middle.start();
    middle.join();
    EXPECT_EQ(middle.exitcode(), 0);
  }
};

void work(Queue<int> result) {
  result.put(1);
}

// The parent is killed: its child and its server are gone, and what they held.
TEST_P(ProcessKillTest, AParentKilledAtAnyPointLeavesNothing) {
  constexpr std::size_t kStep = kSanitized ? 7 : 1;
  Queue<int> queue;
  const Strays strays;
  const std::vector<std::string> passed = for_each_kill_point(
      [&] {
        Process process = process_in(GetParam(), work, queue);
        process.start();
        process.join();
      },
      [&](const std::string&) {
        EXPECT_THAT(strays.left(), ::testing::IsEmpty());
        expect_all_well(queue);
      },
      kStep);
  // A forked child takes the count along and dies too: so what follows the fork is killed by name as well, below.
  if (kStep == 1) {
    EXPECT_THAT(passed, IsSupersetOf({"process.start.prepared", "process.start.ready"}));
  }
}

TEST_P(ProcessKillTest, AParentKilledAtANamedPointLeavesNothing) {
  std::vector<const char*> points = {"process.start.prepared", "process.start.ready", "process.start.launched",
                                     "process.start.done",     "process.join.wait",   "process.join.reaped",
                                     "process.join.done"};
  if (GetParam() == Where::Fork) points.insert(points.end(), {"process.start.forking", "process.start.forked"});
  if (GetParam() == Where::Spawn) points.insert(points.end(), {"process.start.parcel", "process.start.executed"});
  if (GetParam() == Where::ForkServer)
    points.insert(points.end(), {"process.start.parcel", "process.start.server", "process.start.asked"});
  Queue<int> queue;
  const Strays strays;
  for (const char* const point : points) {
    SCOPED_TRACE(point);
    Process middle(tandem::fork, [&] {
      Process process = process_in(GetParam(), work, queue);
      die_at_kill_point(point);
      process.start();
      process.join();
    });
    middle.start();
    middle.join();
    EXPECT_EQ(middle.exitcode(), -SIGKILL);
    EXPECT_THAT(strays.left(), ::testing::IsEmpty());
    expect_all_well(queue);
  }
}

// A child is killed: its parent learns it, and no more.
TEST_P(ProcessKillTest, AChildKilledAtAnyPointIsJoined) {
  std::vector<std::string> points = {"process.child.body", "process.child.returned", "process.child.leaving"};
  points.push_back(GetParam() == Where::Spawn ? "process.child.lifeline" : "process.child.forked");
  if (GetParam() != Where::Fork)
    points.insert(points.end(), {"process.child.begun", "process.child.attached", "process.child.told"});
  if (GetParam() == Where::ForkServer) points.insert(points.end(), {"process.spare.forked", "process.spare.ready"});
  Queue<int> queue;
  const Strays strays;
  for (const std::string& point : points) {
    SCOPED_TRACE(point);
    expect_in_process_of_its_own([&] {
      Process process = process_in(GetParam(), work, queue);
      if (GetParam() == Where::Fork)
        die_at_kill_point(point);  // The child takes it along; this process passes none of these until its own end.
      else
        ::setenv(kVariable, point.c_str(), 1);  // For the child, or for the server and all of its children.
      process.start();
      detail::kill_point_hook = nullptr;
      process.join();
      return process.exitcode() == -SIGKILL && active_children().empty() ? 0 : 1;
    });
    EXPECT_THAT(strays.left(), ::testing::IsEmpty());
    expect_all_well(queue);
  }
}

TANDEM_TEST_IN_PROCESSES(ProcessKillTest);

using ForkServerKillTest = ProcessKillTest;

// The server is killed while it starts, or reports on, its second child: that one runs to its end, by another if it
// must.
TEST_P(ForkServerKillTest, AServerKilledAtAnyPointIsReplaced) {
  const Strays strays;
  for (const char* const point :
       {"process.server.asked", "process.server.forked", "process.server.ended", "process.server.reported"}) {
    SCOPED_TRACE(point);
    Queue<int> queue;
    expect_in_process_of_its_own([&] {
      ::setenv(kVariable, (std::string(point) + " 1").c_str(), 1);
      expect_all_well(queue);
      const detail::Fd server = detail::open_pidfd(server_pid().value());
      ::unsetenv(kVariable);
      expect_all_well(queue);
      if (!ends_within(server, std::chrono::seconds(60))) return 1;
      expect_all_well(queue);
      return HasFailure() ? 2 : 0;
    });
    EXPECT_THAT(strays.left(), ::testing::IsEmpty());
  }
}

// One that dies each time is given up, with an error that says so.
TEST_P(ForkServerKillTest, AServerThatAlwaysDiesIsAnError) {
  expect_in_process_of_its_own([&] {
    Queue<int> queue;
    ::setenv(kVariable, "process.server.asked", 1);
    Process process = process_in(GetParam(), work, queue);
    try {
      process.start();
      return 1;
    } catch (const Error&) {
    }
    ::unsetenv(kVariable);
    // One more dies that was started before; then all is well.
    process.start();
    process.join();
    return process.exitcode().value();
  });
}

// The server goes last, when its client has been killed. Killed meanwhile, it leaves the names to whoever uses such
// next.
TEST_P(ForkServerKillTest, AServerKilledWhileItGoesLeavesNoProcess) {
  const Strays strays;
  const std::string name = unique_name("alone");
  WaitingProcess first([&] {
    ::setenv(kVariable, "process.server.alone", 1);
    new SharedMemory(SharedMemory::create(name, 100));
    Queue<int> queue;
    expect_all_well(queue);
  });
  first.kill();
  EXPECT_THAT(strays.left(), ::testing::IsEmpty());
  EXPECT_FALSE(can_attach(name));
}

INSTANTIATE_TEST_SUITE_P(Where, ForkServerKillTest, ::testing::Values(Where::ForkServer),
                         ::testing::PrintToStringParamName());

// Another thread forks a process, one that stays, just when a start has asked the server; and then the server is
// killed. The new process must not keep that start from learning of it.
TEST(ProcessForkedDuringAStartTest, DoesNotKeepItFromLearningThatTheServerDied) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
  const Watchdog watchdog(std::chrono::seconds(60));
  ASSERT_EQ(exitcode_of(Where::ForkServer, bodies::do_nothing), 0);
  static pid_t server = 0, stays = 0;
  server = server_pid().value();
  const detail::Fd server_end = detail::open_pidfd(server);
  ASSERT_EQ(::kill(server, SIGSTOP), 0);
  detail::kill_point_hook = [](const char* name) {
    if (std::string_view(name) != "process.start.asked") return;
    detail::kill_point_hook = nullptr;
    std::thread([] {
      stays = detail::fork_member();
      if (stays == 0) wait_for_ever();
    }).join();
    ::kill(server, SIGKILL);
  };
  EXPECT_EQ(exitcode_of(Where::ForkServer, bodies::do_nothing), 0);
  EXPECT_TRUE(ends_within(server_end, std::chrono::seconds(60)));
  ::kill(stays, SIGKILL);
  EXPECT_EQ(::waitpid(stays, nullptr, 0), stays);
}

}  // namespace
}  // namespace tandem::testing
