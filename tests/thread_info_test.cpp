#include <tandem/thread_info.hpp>

#include <gmock/gmock.h>
#include <pthread.h>
#include <unistd.h>
#include <tandem/gil.hpp>
#include <tandem/thread.hpp>

#include <algorithm>
#include <latch>
#include <thread>

#include "support/bodies.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class ThreadInfoTest : public ThreadFixture {};

std::string shown_name(pthread_t thread) {
  char name[16] = {};
  EXPECT_EQ(::pthread_getname_np(thread, name, sizeof name), 0);
  return name;
}
std::string shown_name() {
  return shown_name(::pthread_self());
}

// THR-17
TEST_F(ThreadInfoTest, MainThreadHasAFixedNameAndTheCallersId) {
  EXPECT_EQ(main_thread().name(), "MainThread");
  EXPECT_EQ(main_thread(), current_thread());
  EXPECT_EQ(main_thread().id(), current_thread().id());
  EXPECT_TRUE(main_thread().is_main());
  EXPECT_TRUE(main_thread().is_alive());
  EXPECT_FALSE(main_thread().daemon());
  Thread other([] {
    EXPECT_NE(main_thread(), current_thread());
    EXPECT_NE(main_thread().id(), current_thread().id());
    EXPECT_FALSE(current_thread().is_main());
  });
  other.start();
  other.join();
}

// THR-06
TEST_F(ThreadInfoTest, NativeIdIsTheSystemsAlsoForForeignThreads) {
  EXPECT_EQ(main_thread().native_id(), ::gettid());
  EXPECT_EQ(main_thread().native_id(), ::getpid());
  std::thread([] { EXPECT_EQ(current_thread().native_id(), ::gettid()); }).join();
  Thread thread([] { EXPECT_EQ(current_thread().native_id(), ::gettid()); });
  thread.start();
  thread.join();
}

// THR-07
TEST_F(ThreadInfoTest, ForeignThreadIsListedWhileItLives) {
  std::optional<ThreadInfo> info;
  std::latch registered(1);
  std::latch go(1);
  const std::size_t before = active_count();
  std::thread foreign([&] {
    info.emplace(current_thread());
    EXPECT_EQ(*info, current_thread());
    registered.count_down();
    go.wait();
  });
  registered.wait();
  EXPECT_TRUE(info->is_alive());
  EXPECT_TRUE(info->daemon());
  EXPECT_THAT(info->to_string(), HasSubstr("<ForeignThread(Foreign-"));
  EXPECT_THAT(enumerate(), Contains(*info));
  EXPECT_EQ(active_count(), before + 1);
  EXPECT_THROW(info->join(), StateError);
  go.count_down();
  foreign.join();
  EXPECT_FALSE(info->is_alive());
  EXPECT_EQ(active_count(), before);
  EXPECT_THROW(info->join(), StateError);
}

TEST_F(ThreadInfoTest, ThreadMadeByAForeignOneIsNoDaemon) {
  std::thread([] {
    static_cast<void>(current_thread());
    EXPECT_FALSE(Thread(bodies::do_nothing).daemon());
  }).join();
}

// THR-10: also while others come and go, and while a Gil with short turns moves the moments of switching.
TEST_F(ThreadInfoTest, AJoinedThreadIsNeverListed) {
  for (int i = 1; i <= 100; ++i) {
    Gil gil{std::chrono::microseconds(i * 20)};
    Thread other({.gil = gil}, [](const std::stop_token& stop) {
      while (!stop.stop_requested()) checkpoint();
    });
    other.start();
    Thread thread({.gil = gil}, [] { checkpoint(); });
    thread.start();
    thread.join();
    EXPECT_THAT(enumerate(), Not(Contains(thread.info())));
  }
}

TEST_F(ThreadInfoTest, StartedThreadIsListedAtOnce) {
  Thread thread(bodies::wait_for_stop);
  EXPECT_THAT(enumerate(), Not(Contains(thread.info())));
  thread.start();
  EXPECT_THAT(enumerate(), Contains(thread.info()));
}

// THR-50
TEST_F(ThreadInfoTest, SystemShowsTheNameCutAtAWholeCharacter) {
  const std::pair<std::string, std::string> names[] = {
      {"short", "short"},
      {"exactly15bytes.", "exactly15bytes."},
      {"exactly16bytes..", "exactly16bytes."},
      {"thirteen.....\xE2\x82\xAC", "thirteen....."},  // A character of three bytes, of which two would fit.
      {"twelve......\xE2\x82\xAC.", "twelve......\xE2\x82\xAC"},
      {std::string("before\0after", 12), "before"},
      {"\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80",
       "\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80"},
  };
  for (const auto& [name, shown] : names) {
    std::string seen;
    Thread thread({.name = name}, [&seen] { seen = shown_name(); });
    EXPECT_EQ(thread.name(), name);
    thread.start();
    thread.join();
    EXPECT_EQ(seen, shown);
  }
}

// THR-51
TEST_F(ThreadInfoTest, RenamingARunningThreadShowsAtOnce) {
  std::latch running(1);
  std::latch go(1);
  pthread_t native{};
  Thread thread({.name = "before"}, [&] {
    native = ::pthread_self();
    running.count_down();
    go.wait();
    EXPECT_EQ(shown_name(), "after");
    current_thread().set_name("by itself");
    EXPECT_EQ(shown_name(), "by itself");
  });
  thread.start();
  running.wait();
  EXPECT_EQ(shown_name(native), "before");
  thread.set_name("after");
  EXPECT_EQ(thread.name(), "after");
  EXPECT_EQ(shown_name(native), "after");
  go.count_down();
  thread.join();
  EXPECT_EQ(thread.name(), "by itself");
  thread.set_name("ended");
  EXPECT_EQ(thread.name(), "ended");
}

TEST_F(ThreadInfoTest, StopsAThreadThatItDoesNotOwn) {
  Thread thread(bodies::wait_for_stop);
  const ThreadInfo info = thread.info();
  thread.start();
  EXPECT_TRUE(info.request_stop());
  EXPECT_TRUE(info.join_for(std::chrono::hours(1)));
  EXPECT_TRUE(thread.stop_token().stop_requested());
}

}  // namespace
}  // namespace tandem::testing
