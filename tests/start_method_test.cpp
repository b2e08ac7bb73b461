#include <tandem/start_method.hpp>

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>

#include <map>
#include <string>
#include <thread>

#include <tandem/thread.hpp>

#include "support/bodies.hpp"
#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Leaves the default as it was.
class StartMethodTest : public ProcessesTest {
 protected:
  void TearDown() override {
    set_start_method(StartMethod::ForkServer);
    set_fork_thread_policy(ForkThreadPolicy::Warn);
    ProcessesTest::TearDown();
  }
};

void tell_methods(Queue<StartMethod> told) {
  told.put(current_process().start_method.value());
  told.put(start_method());
}

// STM-12 STM-22
TEST_P(StartMethodTest, SetGetAndTheChildAgree) {
  set_start_method(start_method_of(GetParam()));
  EXPECT_EQ(start_method(), start_method_of(GetParam()));
  Queue<StartMethod> told;
  Process process(tell_methods, told);
  EXPECT_EQ(process.start_method(), start_method_of(GetParam()));
  process.start();
  process.join();
  EXPECT_EQ(told.get(), start_method_of(GetParam()));
  EXPECT_EQ(told.get(), start_method_of(GetParam()));
}

// STM-08 STM-09: the method of one process is fixed at its start, and sets no default.
TEST_P(StartMethodTest, AMethodGivenToOneProcessIsItsOwn) {
  Queue<StartMethod> told;
  Process process = process_in(GetParam(), tell_methods, told);
  process.start();
  process.join();
  EXPECT_EQ(told.get(), start_method_of(GetParam()));
  EXPECT_EQ(told.get(), StartMethod::ForkServer);
  set_start_method(StartMethod::Spawn);
  EXPECT_EQ(process.start_method(), start_method_of(GetParam()));
}

// STM-10
TEST_P(StartMethodTest, InitSetsNoMethod) {
  set_start_method(start_method_of(GetParam()));
  tandem::init();
  EXPECT_EQ(start_method(), start_method_of(GetParam()));
}

// STM-21
TEST_P(StartMethodTest, IsFoundByName) {
  const StartMethod method = start_method_of(GetParam());
  EXPECT_EQ(parse_start_method(to_string(method)), method);
  try {
    static_cast<void>(parse_start_method("xyz"));
    FAIL() << "an unknown name was accepted";
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(), HasSubstr("\"xyz\""));
    EXPECT_THAT(error.what(), HasSubstr("forkserver, spawn and fork"));
  }
  EXPECT_THROW(set_start_method(static_cast<StartMethod>(7)), std::invalid_argument);
  EXPECT_THROW(set_fork_thread_policy(static_cast<ForkThreadPolicy>(7)), std::invalid_argument);
}

void tell_options(int depth, Queue<std::string> told) {
  if (depth > 0) {
    Process child(tell_options, depth - 1, told);
    child.start();
    return child.join();
  }
  told.put(std::string(to_string(start_method())));
  told.put(std::to_string(static_cast<int>(fork_thread_policy())));
  told.put(std::to_string(stack_size()));
}

// STM-06
TEST_P(StartMethodTest, RunTimeOptionsReachTheGrandchild) {
  set_start_method(start_method_of(GetParam()));
  set_fork_thread_policy(ForkThreadPolicy::Allow);
  set_stack_size(1 << 20);
  Queue<std::string> told;
  EXPECT_EQ(exitcode_of(GetParam(), tell_options, 1, told), 0);
  set_stack_size(0);
  EXPECT_EQ(told.get(), to_string(start_method_of(GetParam())));
  EXPECT_EQ(told.get(), std::to_string(static_cast<int>(ForkThreadPolicy::Allow)));
  EXPECT_EQ(told.get(), std::to_string(1 << 20));
}

// STM-15: shared objects serve all methods alike, in any order.
TEST_P(StartMethodTest, ObjectsServeEveryMethod) {
  Queue<int> numbers;
  for (const Where other : {Where::ForkServer, Where::Spawn, Where::Fork}) {
    Process first = process_in(GetParam(), +[](Queue<int> q) { q.put(1); }, numbers);
    Process second = process_in(other, +[](Queue<int> q) { q.put(q.get() + 1); }, numbers);
    first.start();
    first.join();
    second.start();
    second.join();
    EXPECT_EQ(numbers.get(), 2);
  }
}

std::map<std::string, int>& made_at_start() {
  static std::map<std::string, int> table = {{"one", 1}};
  return table;
}
// A shared object that the program makes before main, in each process that executes it anew.
Queue<int> global_queue;

void use_what_the_program_made(Queue<int> result) {
  global_queue.put(made_at_start().at("one"));
  result.put(global_queue.get());
}

class StaticObjectTest : public ProcessesTest {
 protected:
  void SetUp() override {
    // The first item of a queue gives it room for more, which it keeps; that of the server lives as long as that.
    Queue<int> result;
    EXPECT_EQ(exitcode_of(GetParam(), use_what_the_program_made, result), 0);
    ProcessesTest::SetUp();
  }
};

// STM-14 STM-19 STM-23: what the program makes before main is there in every child, without main being run for it
// again.
TEST_P(StaticObjectTest, WhatTheProgramMakesBeforeMainIsThereInTheChild) {
  Queue<int> result;
  EXPECT_EQ(exitcode_of(GetParam(), use_what_the_program_made, result), 0);
  EXPECT_EQ(result.try_get(), 1);
  EXPECT_EQ(global_queue.size(), 0u);
}

TANDEM_TEST_IN_PROCESSES(StartMethodTest);
TANDEM_TEST_IN_PROCESSES(StaticObjectTest);

class ForkThreadPolicyTest : public LeakCheckedTest {};

// Within a process of its own: the warning comes once for each.
int fork_beside_a_thread(ForkThreadPolicy policy) {
  set_fork_thread_policy(policy);
  Thread other(bodies::wait_for_stop);
  other.start();
  Process process(tandem::fork, bodies::do_nothing);
  try {
    process.start();
  } catch (const StateError& error) {
    std::fprintf(stderr, "refused: %s\n", error.what());
    return 3;
  }
  process.join();
  return process.exitcode().value();
}

std::string stderr_of_fork(ForkThreadPolicy policy, int& exitcode) {
  ::testing::internal::CaptureStderr();
  exitcode = exitcode_of(Where::ForkServer, fork_beside_a_thread, policy);
  return ::testing::internal::GetCapturedStderr();
}

// STM-20
TEST_F(ForkThreadPolicyTest, ForkingBesideThreadsWarnsOrIsRefused) {
  if (kThreadSanitized) GTEST_SKIP() << "the sanitizer's own threads, one or two of them, would be counted";
  int exitcode = -1;
  EXPECT_THAT(stderr_of_fork(ForkThreadPolicy::Warn, exitcode), HasSubstr("1 other thread:"));
  EXPECT_EQ(exitcode, 0);
  EXPECT_THAT(stderr_of_fork(ForkThreadPolicy::Refuse, exitcode), HasSubstr("refused: Process-"));
  EXPECT_EQ(exitcode, 3);
  EXPECT_EQ(stderr_of_fork(ForkThreadPolicy::Allow, exitcode), "");
  EXPECT_EQ(exitcode, 0);
}

// Tandem's own threads are no reason to warn.
TEST_F(ForkThreadPolicyTest, ForkingAloneDoesNotWarn) {
  if (kThreadSanitized) GTEST_SKIP() << "the sanitizer's own threads, one or two of them, would be counted";
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(exitcode_of(
                Where::ForkServer,
                +[](std::stop_token) {
                  set_fork_thread_policy(ForkThreadPolicy::Refuse);
                  Process first(bodies::do_nothing), second(tandem::fork, bodies::do_nothing);
                  first.start();
                  second.start();
                  first.join();
                  second.join();
                }),
            0);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace tandem::testing
