// The options of a process, and what tandem::fork takes.
#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <vector>

#include <tandem/thread.hpp>

#include "support/bodies.hpp"
#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::MatchesRegex;

class ProcessOptionsTest : public LeakCheckedTest {};

TEST_F(ProcessOptionsTest, NamesAreNumberedUnlessGiven) {
  EXPECT_THAT(Process(bodies::do_nothing).name(), MatchesRegex("Process-[0-9]+"));
  EXPECT_NE(Process(bodies::do_nothing).name(), Process(bodies::do_nothing).name());
  ProcessOptions options;
  options.name = "mine";
  Process process(options, bodies::do_nothing);
  EXPECT_EQ(process.name(), "mine");
  process.set_name("other");
  EXPECT_EQ(process.name(), "other");
}

TEST_F(ProcessOptionsTest, WhatMakesNoSenseIsRefusedAtOnce) {
  const auto refused = [](auto change) {
    ProcessOptions options;
    change(options);
    EXPECT_THROW(Process(options, bodies::do_nothing), std::invalid_argument);
  };
  refused([](ProcessOptions& o) { o.name = std::string("a\0b", 3); });
  refused([](ProcessOptions& o) { o.terminate_grace = std::chrono::milliseconds(-1); });
  refused([](ProcessOptions& o) { o.start_method = static_cast<StartMethod>(9); });
  refused([](ProcessOptions& o) { o.environment[""] = "x"; });
  refused([](ProcessOptions& o) { o.environment["A=B"] = "x"; });
  refused([](ProcessOptions& o) { o.environment["A"] = std::string("x\0y", 3); });
  ProcessOptions options;
  options.start_method = StartMethod::Spawn;
  EXPECT_THROW(Process(tandem::fork, options, [] {}), std::invalid_argument);
}

// What tandem::fork takes: references, captures, what only moves, members.
TEST_F(ProcessOptionsTest, ForkTakesAnything) {
  const std::vector<int> big(1000, 1);
  Queue<int> result;
  const auto only_moves = std::make_unique<int>(41);
  Process by_capture(tandem::fork, [&] { Queue<int>(result).put(static_cast<int>(big.size()) + *only_moves); });
  by_capture.start();
  EXPECT_EQ(result.get(), 1041);
  Process by_reference(
      tandem::fork, [&result](const std::vector<int>& ints, std::unique_ptr<int> n) { result.put(ints[0] + *n); },
      std::cref(big), std::make_unique<int>(1));
  EXPECT_EQ(by_reference.start_method(), StartMethod::Fork);
  by_reference.start();
  EXPECT_EQ(result.get(), 2);
}

TEST_F(ProcessOptionsTest, WhatTheChildChangesStaysThere) {
  int number = 1;
  Process process(tandem::fork, [&number] { return ++number; });
  process.start();
  process.join();
  EXPECT_EQ(process.exitcode(), 2);
  EXPECT_EQ(number, 1);
}

// THR-68: one that was made but not started before a fork can be started in the child; one that was started cannot be
// used.
TEST_F(ProcessOptionsTest, MadeBeforeAForkItCanBeStartedInTheChild) {
  Queue<int> result;
  Process inner(+[](Queue<int> r) { r.put(parent_process()->pid); }, result);
  Process outer(tandem::fork, [&inner] {
    inner.start();
    inner.join();
    return inner.exitcode().value();
  });
  outer.start();
  outer.join();
  EXPECT_EQ(outer.exitcode(), 0);
  EXPECT_EQ(result.get(), outer.pid());
  EXPECT_FALSE(inner.pid().has_value());
}

TEST_F(ProcessOptionsTest, InAForkedProcessItIsVoid) {
  Process running(bodies::wait_for_stop);
  running.start();
  Process forked(tandem::fork, [&running] {
    try {
      running.join();
    } catch (const StateError&) {
      return 0;
    }
    return 1;
  });
  forked.start();
  forked.join();
  EXPECT_EQ(forked.exitcode(), 0);
  EXPECT_TRUE(running.is_alive());
  running.request_stop();
  running.join();
}

// THR-37 has no counterpart: a process has no Process of its own to join.
TEST_F(ProcessOptionsTest, JoinsFromManyThreadsAllReturn) {
  Process process(bodies::wait_for_stop);
  process.start();
  std::vector<Thread> joiners;
  for (int i = 0; i < 8; ++i) joiners.emplace_back([&process] { process.join(); });
  for (Thread& joiner : joiners) joiner.start();
  process.request_stop();
  for (Thread& joiner : joiners) joiner.join();
  EXPECT_EQ(process.exitcode(), 0);
}

}  // namespace
}  // namespace tandem::testing
