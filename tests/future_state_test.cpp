// The state behind a Future: who may settle it, and who is told.
#include <tandem/detail/future_state.hpp>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include <tandem/detail/completions.hpp>
#include <tandem/future.hpp>

#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

using detail::FutureState;
using IntState = detail::ResultState<int>;
using Outcome = FutureState::Outcome;

class FutureStateTest : public ThreadFixture {};

// EXE-59, EXE-60
TEST_F(FutureStateTest, OnlyOneClaimSucceeds) {
  for (int round = 0; round < 200; ++round) {
    auto* const state = new IntState;
    const Future<int> future = detail::adopt_future(state);
    std::atomic<int> claims{0};
    {
      std::latch begin(4);
      std::vector<std::jthread> threads;
      for (int value = 0; value < 3; ++value)
        threads.emplace_back([&, value] {
          begin.arrive_and_wait();
          if (!state->claim()) return;
          ++claims;
          if (value == 0) {
            state->settle_error(std::make_exception_ptr(std::runtime_error("first")));
          } else {
            state->settle(state->store(value));
          }
        });
      begin.arrive_and_wait();
    }
    EXPECT_EQ(claims, 1);
    EXPECT_FALSE(state->claim());
    EXPECT_TRUE(future.done());
  }
}

// EXE-61: who finds it done finds a whole outcome.
TEST_F(FutureStateTest, StatusAndOutcomeBelongTogether) {
  for (int round = 0; round < 500; ++round) {
    auto* const state = new IntState;
    const Future<int> future = detail::adopt_future(state);
    std::jthread reader([&] {
      for (FutureStatus status = future.status();; status = future.status()) {
        if (status == FutureStatus::Pending || status == FutureStatus::Running) continue;
        EXPECT_EQ(status, FutureStatus::Finished);
        EXPECT_EQ(future.get(), round);
        EXPECT_EQ(future.exception(), nullptr);
        return;
      }
    });
    ASSERT_TRUE(state->start());
    ASSERT_TRUE(state->claim_running());
    state->settle(state->store(round));
  }
}

// A callback that is added while the result comes runs exactly once.
TEST_F(FutureStateTest, EveryCallbackRunsOnceHoweverLateItIsAdded) {
  for (int round = 0; round < 300; ++round) {
    constexpr int kThreads = 3, kCallbacks = 20;
    auto* const state = new IntState;
    const Future<int> future = detail::adopt_future(state);
    std::atomic<int> ran{0};
    {
      std::latch begin(kThreads + 1);
      std::vector<std::jthread> threads;
      for (int thread = 0; thread < kThreads; ++thread)
        threads.emplace_back([&] {
          begin.arrive_and_wait();
          for (int callback = 0; callback < kCallbacks; ++callback)
            future.add_done_callback([&](const Future<int>& done) { ran += done.get(); });
        });
      begin.arrive_and_wait();
      ASSERT_TRUE(state->claim());
      state->settle(state->store(1));
    }
    EXPECT_EQ(ran, kThreads * kCallbacks);
  }
}

// Watching and letting go again leaves nothing behind, also while the result comes.
TEST_F(FutureStateTest, CompletionsLetGoWhileTheResultComes) {
  for (int round = 0; round < 500; ++round) {
    auto* const state = new IntState;
    const Future<int> future = detail::adopt_future(state);
    std::jthread watcher([&] {
      for (int times = 0; times < 20; ++times) {
        detail::Completions completions;
        completions.watch(*state, 0);
        static_cast<void>(completions.next(detail::Deadline::now()));
      }
    });
    ASSERT_TRUE(state->claim());
    state->settle(state->store(1));
  }
}

TEST_F(FutureStateTest, DestroyedUnsettledDropsItsContinuations) {
  const auto kept = std::make_shared<int>(1);
  {
    const Future<int> future = detail::adopt_future(new IntState);
    future.add_done_callback([kept](const Future<int>&) {});
    EXPECT_EQ(kept.use_count(), 2);
  }
  EXPECT_EQ(kept.use_count(), 1);
}

}  // namespace
}  // namespace tandem::testing
