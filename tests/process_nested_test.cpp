// Children of children.
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include <tandem/arena.hpp>

#include "support/bodies.hpp"
#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::MatchesRegex;

class NestedProcessTest : public ProcessesTest {};

void recurse(std::vector<int> path, Queue<std::vector<int>> seen) {
  seen.put(path);
  if (path.size() == 2) return;
  for (int i = 0; i < 2; ++i) {
    std::vector<int> below = path;
    below.push_back(i);
    Process child(recurse, below, seen);
    child.start();
    child.join();
    if (child.exitcode() != 0) tandem::exit(1);
  }
}

// PRC-14
TEST_P(NestedProcessTest, ThreeLevelsReportDepthFirst) {
  set_start_method(start_method_of(GetParam()));
  Queue<std::vector<int>> seen;
  EXPECT_EQ(exitcode_of(GetParam(), recurse, std::vector<int>{}, seen), 0);
  set_start_method(StartMethod::ForkServer);
  std::vector<std::vector<int>> order;
  while (auto path = seen.try_get()) order.push_back(*path);
  EXPECT_THAT(order,
              ElementsAre(std::vector<int>{}, std::vector<int>{0}, std::vector<int>{0, 0}, std::vector<int>{0, 1},
                          std::vector<int>{1}, std::vector<int>{1, 0}, std::vector<int>{1, 1}));
}

void answer(Queue<int> question, Queue<int> result) {
  result.put(question.get() + 1);
}

void use_queue_of_own(StartMethod method, Queue<int> result) {
  Queue<int> question;
  ProcessOptions options;
  options.start_method = method;
  Process grandchild(options, answer, question, result);
  grandchild.start();
  question.put(41);
  grandchild.join();
}

// PRC-27 STM-16: by every pair of methods.
TEST_P(NestedProcessTest, AChildMakesAQueueAndAGrandchildAndPassesItsArgumentsOn) {
  for (const StartMethod method : {StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork}) {
    Queue<int> result;
    EXPECT_EQ(exitcode_of(GetParam(), use_queue_of_own, method, result), 0);
    EXPECT_EQ(result.try_get(), 42);
  }
}

void tell_names(Queue<std::string> names) {
  names.put(current_process().name);
  Process child(+[](Queue<std::string> n) { n.put(current_process().name + " of " + parent_process()->name); }, names);
  child.start();
  child.join();
}

TEST_P(NestedProcessTest, DefaultNamesTellTheLevel) {
  Queue<std::string> names;
  EXPECT_EQ(exitcode_of(GetParam(), tell_names, names), 0);
  const std::string child = names.get();
  EXPECT_THAT(child, MatchesRegex("Process-[0-9]+"));
  EXPECT_EQ(names.get(), child + ":1 of " + child);
}

void descend(int depth, Queue<std::size_t> sizes) {
  sizes.put(open_descriptors().size());
  if (depth == 0) return;
  Process child(descend, depth - 1, sizes);
  child.start();
  child.join();
  if (child.exitcode() != 0) tandem::exit(1);
}

// PRC-30: what a child inherits of the bookkeeping is the same at each depth.
TEST_P(NestedProcessTest, NothingPilesUpWithDepth) {
  set_start_method(start_method_of(GetParam()));
  Queue<std::size_t> sizes;
  EXPECT_EQ(exitcode_of(GetParam(), descend, 5, sizes), 0);
  set_start_method(StartMethod::ForkServer);
  std::vector<std::size_t> all;
  while (auto size = sizes.try_get()) all.push_back(*size);
  ASSERT_EQ(all.size(), 6u);
  for (std::size_t i = 2; i < all.size(); ++i) EXPECT_EQ(all[i], all[1]);
}

void wait_in_grandchild(Queue<pid_t> pids) {
  pids.put(::getpid());
  Process grandchild(
      +[](Queue<pid_t> p) {
        p.put(::getpid());
        wait_for_ever();
      },
      pids);
  grandchild.start();
  wait_for_ever();
}

// Promise 4 of a family: here for a part of it, whose top is killed.
TEST_P(NestedProcessTest, WhenAParentIsKilledItsChildrenAreGoneAtOnce) {
  for (const StartMethod below : {StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork}) {
    set_start_method(below);
    Queue<pid_t> pids;
    Process child = process_in(GetParam(), wait_in_grandchild, pids);
    child.start();
    static_cast<void>(pids.get());
    const detail::Fd grandchild = detail::open_pidfd(pids.get());
    child.kill();
    child.join();
    // A second is promised; a busy machine is granted more.
    EXPECT_TRUE(ends_within(grandchild, std::chrono::seconds(60)));
    set_start_method(StartMethod::ForkServer);
  }
}

void fork_barely_and_start(Queue<int> result) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    Process child(+[](Queue<int> r) { r.put(1); }, result);
    child.start();
    child.join();
    ::_exit(child.exitcode().value());
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  result.put(WEXITSTATUS(status));
}

TEST_P(NestedProcessTest, ABareForkOfAChildMayStartProcesses) {
  Queue<int> result;
  EXPECT_EQ(exitcode_of(GetParam(), fork_barely_and_start, result), 0);
  EXPECT_EQ(result.try_get(), 1);
  EXPECT_EQ(result.try_get(), 0);
}

TANDEM_TEST_IN_PROCESSES(NestedProcessTest);

}  // namespace
}  // namespace tandem::testing
