// A whole program is killed at random instants, again and again, and taken up from its journal until its work is done:
// every result is there exactly once, in order, and none that was given is computed a second time.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <ranges>
#include <string>

#include <tandem/executor.hpp>
#include <tandem/journal.hpp>

#include "support/journal_fixture.hpp"
#include "support/outside_memory.hpp"
#include "support/random.hpp"
#include "support/sanitizers.hpp"

namespace tandem::testing {
namespace {

constexpr int kMostItems = 20'000;

bool soak() {
  return std::getenv("TANDEM_SOAK") != nullptr;
}

/// What survives all kills.
struct Ledger {
  std::atomic<int> given;  // The most results that one run has given: these are on the disk.
  std::atomic<int> wrong;  // Results that are not those of their items.
  std::atomic<int> again;  // Calls for items whose results were given before.
  std::array<std::atomic<int>, kMostItems> calls;
};
Ledger* ledger = nullptr;

std::string expected(int item) {
  return std::string(static_cast<std::size_t>(item % 97), static_cast<char>('a' + item % 26)) + std::to_string(item);
}

/// An item of a little work.
std::string work(int item) {
  if (item < ledger->given) ++ledger->again;
  ++ledger->calls[static_cast<std::size_t>(item)];
  const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(200 + item % 7 * 100);
  while (std::chrono::steady_clock::now() < until) continue;
  return expected(item);
}

/// The program: 0 when it has given all.
template <class Executor>
int program(const Journal& journal, int items) {
  // Workers that are forked see the ledger too.
  Executor executor({.workers = 2, .start_method = StartMethod::Fork});
  int at = 0;
  for (const std::string& result : executor.map(journal, work, std::views::iota(0, items))) {
    if (result != expected(at)) ++ledger->wrong;
    ++at;
    if (at > ledger->given) ledger->given = at;
  }
  return at == items ? 0 : 1;
}

class JournalStress : public JournalFixture {
 protected:
  void SetUp() override {
    JournalFixture::SetUp();
    ledger = memory_.get();
  }
  std::chrono::seconds time_limit() const override { return std::chrono::seconds(1000); }

  template <class Executor>
  void kill_and_resume() {
    const int kills = soak() ? 50 : 12, items = soak() ? kMostItems : 1200;
    std::mt19937_64 random = random_engine();
    for (int kill = 0; kill < kills; ++kill) {
      const pid_t child = start<Executor>(items, /*stays=*/true);
      // Somewhere in its share of the work; sometimes while it still reads what it had.
      const int share = items / (kills + 1);
      const int at = kill * share + static_cast<int>(random() % static_cast<unsigned>(share));
      while (ledger->given < at && ::waitpid(child, nullptr, WNOHANG) == 0) pause_for(std::chrono::microseconds(200));
      pause_for(std::chrono::microseconds(random() % 20'000));
      ::kill(child, SIGKILL);
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child) << "it ended before it was killed";
      ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    }
    int status = 0;
    const pid_t last = start<Executor>(items, /*stays=*/false);
    ASSERT_EQ(::waitpid(last, &status, 0), last);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(ledger->given, items);
    EXPECT_EQ(ledger->wrong, 0);
    EXPECT_EQ(ledger->again, 0);
    EXPECT_EQ(query("SELECT count(*) FROM item"), items);
    EXPECT_EQ(query("SELECT max(number) FROM item"), items - 1);
    int calls = 0;
    for (int item = 0; item < items; ++item) calls += ledger->calls[static_cast<std::size_t>(item)];
    std::printf("%d items, %d kills: %d calls\n", items, kills, calls);
  }

 private:
  template <class Executor>
  pid_t start(int items, bool stays) {
    const pid_t child = ::fork();
    if (child == 0) {
      const int code = program<Executor>(journal(), items);
      // One that is to be killed waits for it, however late that comes.
      while (stays && code == 0) ::pause();
      ::_exit(code);
    }
    return child;
  }
  static void pause_for(std::chrono::microseconds time) {
    const timespec pause{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(time).count()};
    ::nanosleep(&pause, nullptr);
  }
  OutsideMemory<Ledger> memory_;
};

TEST_F(JournalStress, AProgramOfThreadsIsKilledAndTakenUp) {
  kill_and_resume<ThreadExecutor>();
}

TEST_F(JournalStress, AProgramOfProcessesIsKilledAndTakenUp) {
  kill_and_resume<ProcessExecutor>();
}

}  // namespace
}  // namespace tandem::testing
