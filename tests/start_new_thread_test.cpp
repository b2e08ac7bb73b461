#include <tandem/start_new_thread.hpp>

#include <gmock/gmock.h>
#include <pthread.h>
#include <tandem/thread.hpp>

#include <atomic>
#include <latch>
#include <vector>

#include "support/bodies.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::HasSubstr;

class StartNewThreadReportTest : public ReportFixture {};

class StartNewThreadTest : public ThreadFixture {
 protected:
  void TearDown() override {
    set_stack_size(0);
    ThreadFixture::TearDown();
  }
};

// THR-52
TEST_F(StartNewThreadTest, EveryDetachedTaskRuns) {
  constexpr int kTasks = 50;
  std::latch done(kTasks);
  std::atomic<int> ran = 0;
  for (int i = 0; i < kTasks; ++i)
    start_new_thread(
        [&](int number) {
          ran += number;
          done.count_down();
        },
        i);
  done.wait();
  EXPECT_EQ(ran, kTasks * (kTasks - 1) / 2);
}

// THR-53
TEST_F(StartNewThreadTest, StackSizeIsZeroAndRefusesWhatNoThreadCanHave) {
  EXPECT_EQ(stack_size(), 0U);
  EXPECT_THROW(set_stack_size(1), std::invalid_argument);
  EXPECT_THROW(set_stack_size(4096), std::invalid_argument);
  EXPECT_THROW(set_stack_size(static_cast<std::size_t>(-1)), std::invalid_argument);
  EXPECT_EQ(stack_size(), 0U);
  EXPECT_EQ(set_stack_size(kMinStackBytes * 4), 0U);
  EXPECT_EQ(set_stack_size(0), kMinStackBytes * 4);
  EXPECT_EQ(stack_size(), 0U);
}

std::size_t own_stack_size() {
  pthread_attr_t attributes;
  std::size_t bytes = 0;
  EXPECT_EQ(::pthread_getattr_np(::pthread_self(), &attributes), 0);
  EXPECT_EQ(::pthread_attr_getstacksize(&attributes, &bytes), 0);
  ::pthread_attr_destroy(&attributes);
  return bytes;
}

// THR-54
TEST_F(StartNewThreadTest, StackSizeIsReportedBackAndUsed) {
  for (const std::size_t bytes : {std::size_t{256} * 1024, std::size_t{1024} * 1024}) {
    set_stack_size(bytes);
    EXPECT_EQ(stack_size(), bytes);
    std::size_t task_has = 0;
    std::size_t thread_has = 0;
    start_new_thread([&] { task_has = own_stack_size(); }).join();
    Thread thread([&] { thread_has = own_stack_size(); });
    thread.start();
    thread.join();
    // The system may add a guard, and a sanitizer room for itself.
    EXPECT_GE(task_has, bytes);
    EXPECT_LT(task_has, bytes * 2);
    EXPECT_EQ(thread_has, task_has);
  }
}

// THR-55
TEST_F(StartNewThreadTest, CountGoesUpByOneAndBack) {
  const std::size_t before = thread_count();
  std::latch go(1);
  const ThreadHandle handle = start_new_thread([&go] { go.wait(); });
  EXPECT_EQ(thread_count(), before + 1);
  go.count_down();
  handle.join();
  EXPECT_EQ(thread_count(), before);
}

// THR-56
TEST_F(StartNewThreadReportTest, AnExceptionGoesToTheHookWithADescription) {
  CaughtReports reports;
  const ThreadHandle handle = start_new_thread(bodies::throw_body_error, "the text");
  handle.join();
  const auto caught = reports.take();
  ASSERT_EQ(caught.size(), 1U);
  EXPECT_EQ(caught[0].type_name, "tandem::testing::bodies::BodyError");
  EXPECT_EQ(caught[0].text, "the text");
  EXPECT_EQ(caught[0].description, "task (throw_body_error)");
  EXPECT_FALSE(caught[0].thread.has_value());
  EXPECT_EQ(caught[0].thread_id, handle.id());
}

TEST_F(StartNewThreadTest, AnExitRequestIsSilent) {
  CaughtReports reports;
  start_new_thread(bodies::ask_to_exit, 3).join();
  EXPECT_TRUE(reports.take().empty());
}

// THR-57
TEST_F(StartNewThreadTest, JoinWaitsAndTheIdIsTheOneSeenInside) {
  std::latch go(1);
  std::uint64_t seen = 0;
  const ThreadHandle handle = start_new_thread([&] {
    go.wait();
    seen = current_thread().id();
  });
  go.count_down();
  handle.join();
  EXPECT_EQ(handle.id(), seen);
}

// THR-58 THR-59
TEST_F(StartNewThreadTest, JoinAfterTheEndReturnsAtOnceAnyNumberOfTimes) {
  const ThreadHandle handle = start_new_thread(bodies::do_nothing);
  while (!handle.done()) std::this_thread::yield();
  for (int i = 0; i < 3; ++i) handle.join();
  EXPECT_TRUE(handle.join_for(std::chrono::seconds(0)));
}

// THR-60
TEST_F(StartNewThreadTest, DroppingTheHandleLeavesTheTaskAlone) {
  std::latch go(1);
  std::latch done(1);
  start_new_thread([&] {
    go.wait();
    done.count_down();
  });
  go.count_down();
  done.wait();
}

// THR-61
TEST_F(StartNewThreadTest, SelfJoinThrowsAndAJoinFromOutsideStillWorks) {
  ThreadHandle handle;
  std::atomic<bool> refused = false;
  start_new_thread(handle, [&] {
    try {
      handle.join();
    } catch (const StateError&) {
      refused = true;
    }
  });
  handle.join();
  EXPECT_TRUE(refused);
}

// THR-62
TEST_F(StartNewThreadTest, SelfJoinThrowsAlsoWhileAnotherJoins) {
  ThreadHandle handle;
  std::latch joiner_is_there(1);
  std::atomic<bool> refused = false;
  start_new_thread(handle, [&] {
    joiner_is_there.wait();
    try {
      handle.join();
    } catch (const StateError&) {
      refused = true;
    }
  });
  const ThreadHandle joiner = start_new_thread([&] {
    joiner_is_there.count_down();
    handle.join();
  });
  joiner.join();
  EXPECT_TRUE(refused);
}

// THR-63
TEST_F(StartNewThreadTest, TimedJoinGivesUpAndDoneTurnsTrue) {
  std::latch go(1);
  const ThreadHandle handle = start_new_thread([&go] { go.wait(); });
  EXPECT_FALSE(handle.join_for(std::chrono::milliseconds(20)));
  EXPECT_FALSE(handle.done());
  EXPECT_THROW(static_cast<void>(handle.join_for(std::chrono::milliseconds(-1))), std::invalid_argument);
  go.count_down();
  EXPECT_TRUE(handle.join_for(std::chrono::hours(1)));
  EXPECT_TRUE(handle.done());
}

// THR-65
TEST_F(StartNewThreadTest, AHandleStartsOnlyOneTask) {
  ThreadHandle handle;
  EXPECT_FALSE(handle.done());
  EXPECT_FALSE(handle.id().has_value());
  EXPECT_THROW(handle.join(), StateError);
  start_new_thread(handle, bodies::do_nothing);
  EXPECT_THROW(start_new_thread(handle, bodies::do_nothing), StateError);
  handle.join();
  EXPECT_THROW(start_new_thread(handle, bodies::do_nothing), StateError);
}

// THR-66
TEST_F(StartNewThreadTest, WithoutAHandleOneIsMade) {
  const ThreadHandle handle = start_new_thread(bodies::do_nothing);
  EXPECT_TRUE(handle.id().has_value());
  handle.join();
  EXPECT_TRUE(handle.done());
}

}  // namespace
}  // namespace tandem::testing
