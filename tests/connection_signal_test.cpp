// Connections and signals: a handler that runs meanwhile changes nothing, and a peer that is gone never kills.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <tandem/connection.hpp>
#include <tandem/gil.hpp>

#include "support/leak_checked_test.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;

std::atomic<int> signals{0};

/// While it lives, SIGALRM comes every millisecond and is counted. Owner.
class SignalStorm {
 public:
  SignalStorm() {
    signals = 0;
    struct sigaction action{};
    action.sa_handler = [](int) { ++signals; };  // Without SA_RESTART: every call is interrupted.
    ::sigaction(SIGALRM, &action, &before_);
    const itimerval every{{0, 1000}, {0, 1000}};
    ::setitimer(ITIMER_REAL, &every, nullptr);
  }
  ~SignalStorm() {
    const itimerval never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
    ::sigaction(SIGALRM, &before_, nullptr);
  }
  SignalStorm(const SignalStorm&) = delete;
  SignalStorm& operator=(const SignalStorm&) = delete;

 private:
  struct sigaction before_{};
};

void wait_for_signals(int more) {
  const int until = signals + more;
  while (signals < until) std::this_thread::yield();
}

class ConnectionSignalTest : public testing::LeakCheckedTest {};

// The signals hit this thread: the other one blocks them.
std::thread without_signals(auto body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(body);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

// SIG-08
TEST_F(ConnectionSignalTest, ReceiveContinuesAfterSignals) {
  auto [here, there] = Pipe();
  const SignalStorm storm;
  std::thread sender = without_signals([end = there]() mutable {
    wait_for_signals(20);
    end.send(std::string("in the end"));
  });
  EXPECT_EQ(here.recv<std::string>(), "in the end");
  EXPECT_GE(signals, 20);
  sender.join();
}

// SIG-08
TEST_F(ConnectionSignalTest, SendContinuesAfterSignals) {
  auto [here, there] = Pipe();
  int sent = 0;
  while (here.send_for(sent, 0ms)) ++sent;
  const SignalStorm storm;
  std::thread receiver = without_signals([end = there, sent]() mutable {
    wait_for_signals(20);
    for (int i = 0; i <= sent; ++i) EXPECT_EQ(end.recv<int>(), i);
  });
  here.send(sent);
  EXPECT_GE(signals, 20);
  receiver.join();
}

TEST_F(ConnectionSignalTest, ATimeLimitHoldsUnderSignals) {
  auto [here, there] = Pipe();
  const SignalStorm storm;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(here.poll_for(50ms));
  EXPECT_FALSE(here.recv_for<int>(50ms).has_value());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 100ms);
}

TEST_F(ConnectionSignalTest, SendingToNobodyDoesNotRaiseASignal) {
  struct sigaction fatal{}, before{};
  fatal.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &fatal, &before);
  auto [here, there] = Pipe();
  there.close();
  EXPECT_THROW(here.send(1), BrokenPipe);
  EXPECT_THROW(here.send_bytes(std::vector<std::byte>(100'000)), BrokenPipe);
  ::sigaction(SIGPIPE, &before, nullptr);
}

TEST_F(ConnectionSignalTest, AWaitReleasesTheGil) {
  Gil gil;
  auto [here, there] = Pipe();
  std::thread answering([&gil, end = there]() mutable {
    const int question = end.recv<int>();
    const std::lock_guard held(gil);
    end.send(question + 1);
  });
  {
    const std::lock_guard held(gil);
    here.send(1);
    EXPECT_EQ(here.recv<int>(), 2);
  }
  answering.join();
}

}  // namespace
}  // namespace tandem
