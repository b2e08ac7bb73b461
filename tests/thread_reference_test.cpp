// The code of docs/reference/thread.md, timer.md, gil.md and exit.md: tools/check_docs holds them together.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include <tandem/tandem.hpp>

#include "support/thread_fixture.hpp"

using namespace std::chrono_literals;

namespace {

class ThreadReferenceTest : public tandem::testing::ReportFixture {};

std::int64_t polls = 0;  // In a moment it is beyond an int.
void poll(const std::stop_token& stop, std::string what) {
  do {
    polls += static_cast<std::int64_t>(what.size());
  } while (!stop.stop_requested());
}

TEST_F(ThreadReferenceTest, Thread) {
  tandem::ThreadOptions options;
  options.name = "poller";
  options.daemon = false;

  tandem::Thread poller(options, poll, "the sensor");  // void poll(const std::stop_token&, std::string)
  poller.start();
  if (!poller.join_for(10ms)) poller.request_stop();
  poller.join();
  EXPECT_GT(polls, 0);
}

TEST_F(ThreadReferenceTest, Excepthook) {
  std::vector<std::string> log;
  std::mutex log_mutex;
  const tandem::ExceptHook before = tandem::set_excepthook([&](const tandem::ExceptHookArgs& args) {
    const std::lock_guard guard(log_mutex);
    log.push_back(args.description + ": " + args.type_name + ": " + args.text);
  });
  tandem::ThreadOptions options;
  options.name = "parser";
  tandem::Thread parser(options, [] { throw std::runtime_error("line 3"); });
  parser.start();
  parser.join();
  tandem::set_excepthook(before);
  EXPECT_EQ(log, std::vector<std::string>{"parser: std::runtime_error: line 3"});
}

TEST_F(ThreadReferenceTest, StartNewThread) {
  int answer = 0;
  tandem::ThreadHandle handle = tandem::start_new_thread([&answer] { answer = 42; });
  handle.join();
  EXPECT_EQ(answer, 42);
}

TEST_F(ThreadReferenceTest, Timer) {
  tandem::Timer reminder(30s, [] { std::puts("still here"); });
  reminder.start();
  reminder.cancel();  // if it is not too late
  reminder.join();
}

TEST_F(ThreadReferenceTest, Gil) {
  tandem::Gil gil;
  tandem::ThreadOptions under_gil;
  under_gil.gil = gil;

  long total = 0;  // no atomic, no mutex: the Gil guards it
  auto add = [&] {
    for (int i = 0; i < 100'000; ++i) {
      ++total;
      tandem::checkpoint();
    }
  };
  tandem::Thread a(under_gil, add);
  tandem::Thread b(under_gil, add);
  a.start();
  b.start();
  a.join();
  b.join();
  EXPECT_EQ(total, 200'000);
}

TEST_F(ThreadReferenceTest, GilUnlocked) {
  tandem::Gil gil;
  const std::lock_guard guard(gil);
  const int c = gil.unlocked([] { return std::fputc('\n', stdout); });  // others run meanwhile
  EXPECT_EQ(c, '\n');
}

TEST_F(ThreadReferenceTest, AtExit) {
  tandem::ExitHookId id = tandem::at_exit([] { std::puts("saved"); });
  EXPECT_TRUE(tandem::cancel(id));
}

}  // namespace
