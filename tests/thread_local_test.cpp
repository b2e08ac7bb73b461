// Thread-local values are C++'s own; these tests hold what Tandem's threads promise about them.
#include <gmock/gmock.h>
#include <tandem/thread.hpp>

#include <atomic>
#include <concepts>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

class ThreadLocalTest : public ThreadFixture {};

std::atomic<int> constructed = 0;
std::atomic<int> destroyed = 0;

struct Counted {
  Counted() { ++constructed; }
  ~Counted() { ++destroyed; }
  int value = 0;
};
thread_local Counted t_counted;

// TLS-01
TEST_F(ThreadLocalTest, IsDestroyedByTheTimeThatTheThreadIsJoined) {
  for (const int count : {20, 50, 100}) {
    constructed = destroyed = 0;
    std::vector<Thread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back([] { t_counted.value = 1; });
    for (Thread& thread : threads) thread.start();
    for (int joined = 0; joined < count; ++joined) {
      threads[static_cast<std::size_t>(joined)].join();
      EXPECT_GT(destroyed, joined);
    }
    EXPECT_EQ(constructed, count);
    EXPECT_EQ(destroyed, count);
  }
}

struct Base {
  explicit Base(int start) : value(start) {}
  int value;
};
struct Derived : Base {
  // Gives the other threads every chance to come between.
  Derived() : Base(0) {
    for (int i = 0; i < 100; ++i) {
      ++value;
      std::this_thread::yield();
    }
  }
};
thread_local Derived t_derived;

// TLS-02
TEST_F(ThreadLocalTest, IsConstructedForEachThreadAlsoWhenTheyAlternate) {
  std::vector<Thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([] { EXPECT_EQ(t_derived.value, 100); });
  for (Thread& thread : threads) thread.start();
  for (Thread& thread : threads) thread.join();
}

struct Made {
  Made(int given_number, std::string given_text) : number(given_number), text(std::move(given_text)) {}
  int number;
  std::string text;
};
thread_local Made t_made(7, "seven");

// TLS-03
TEST_F(ThreadLocalTest, ConstructorArgumentsAreUsedForEachThread) {
  t_made.number = 8;
  for (int i = 0; i < 3; ++i) {
    Thread thread([] {
      EXPECT_EQ(t_made.number, 7);
      EXPECT_EQ(t_made.text, "seven");
      t_made.text.clear();
    });
    thread.start();
    thread.join();
  }
  EXPECT_EQ(t_made.number, 8);
  t_made.number = 7;
  static_assert(!std::constructible_from<Derived, int>, "stray arguments do not compile");
}

// TLS-04 TLS-05
TEST_F(ThreadLocalTest, AValueSetInOneThreadIsNotSeenInAnother) {
  t_counted.value = 1;
  t_derived.value = 1;
  Thread thread([] {
    EXPECT_EQ(t_counted.value, 0);
    EXPECT_EQ(t_derived.value, 100);
    t_counted.value = 2;
    t_derived.value = 2;
  });
  thread.start();
  thread.join();
  EXPECT_EQ(t_counted.value, 1);
  EXPECT_EQ(t_derived.value, 1);
  t_counted.value = 0;
  t_derived.value = 100;
}

// TLS-06
TEST_F(ThreadLocalTest, ComingAndGoingWhileAForeignThreadLivesDoesNotRace) {
  std::latch go(1);
  std::thread foreign([&go] {
    t_counted.value = 5;
    static_cast<void>(current_thread());
    go.wait();
    EXPECT_EQ(t_counted.value, 5);
  });
  for (int i = 0; i < 100; ++i) {
    Thread thread([] { t_counted.value = 6; });
    thread.start();
    thread.join();
  }
  go.count_down();
  foreign.join();
}

// The end of a thread is told after the destructors of its thread_local objects, which may still use Tandem.
TEST_F(ThreadLocalTest, DestructorsStillKnowTheirThread) {
  static std::atomic<std::uint64_t> seen;
  struct Asks {
    ~Asks() { seen = current_thread().id(); }
    bool used = false;
  };
  Thread thread([] {
    thread_local Asks asks;
    asks.used = true;
  });
  thread.start();
  thread.join();
  EXPECT_EQ(seen, thread.id().value());
}

}  // namespace
}  // namespace tandem::testing
