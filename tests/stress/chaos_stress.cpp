// Eight processes use everything shared at random, and one of them is killed every few milliseconds, thousands of
// times: nothing hangs, every count is exact, nothing is left.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include <tandem/arena.hpp>

#include "ipc/family.hpp"
#include "stress/chaos_worker.hpp"
#include "support/leak_checked_test.hpp"
#include "support/outside_memory.hpp"

namespace tandem::testing::chaos {
namespace {

class ChaosStress : public LeakCheckedTest {
 protected:
  std::chrono::seconds time_limit() const override { return soak() ? 1500s : 110s; }

  static bool soak() { return std::getenv("TANDEM_SOAK") != nullptr; }
  static std::size_t wanted_kills() { return soak() ? 5'000 : 500; }
};

/// The processes, by their places.
class Processes {
 public:
  Processes(Ledger& ledger, Shared& shared) : ledger_(ledger), shared_(shared) {}

  void start(std::size_t place) {
    const std::uint64_t process = ++started_ * 16 + place;
    fflush(stdout);  // A child that aborts would print it again.
    const pid_t pid = detail::fork_member();
    if (pid == 0) {
      Worker worker(ledger_, shared_, process);
      if (place == kKeeper) worker.keep();
      worker.work();
    }
    ASSERT_GT(pid, 0);
    pids_[place] = pid;
    processes_[place] = process;
  }

  void kill(std::size_t place) {
    ledger_.places[place].doomed.store(processes_[place]);
    ::kill(pids_[place], SIGKILL);
  }

  /// Whether the process of a place is gone; waits for that if it is `certain`. It must have been killed.
  bool bury(std::size_t place, bool certain) {
    int status = 0;
    const pid_t pid = ::waitpid(pids_[place], &status, certain ? 0 : WNOHANG);
    EXPECT_GE(pid, 0);
    if (pid <= 0) return false;
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "place " << place << " ended: " << status;
    return true;
  }

  /// Waits for its end, which it must find by itself; whether it was killed at a point on the way there.
  bool join(std::size_t place) {
    int status = 0;
    EXPECT_EQ(::waitpid(pids_[place], &status, 0), pids_[place]);
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    EXPECT_TRUE(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << "place " << place << ": " << status;
    return killed;
  }

  /// How long the process has been in its operation.
  std::chrono::nanoseconds waiting(std::size_t place) const {
    const Ledger::Place& at = ledger_.places[place];
    if (at.operation.load() == Operation::Nothing) return 0ns;
    return std::chrono::steady_clock::now().time_since_epoch() - std::chrono::nanoseconds(at.began_ns.load());
  }

 private:
  Ledger& ledger_;
  Shared& shared_;
  std::uint64_t started_ = 0;
  std::array<pid_t, kPlaces> pids_{};
  std::array<std::uint64_t, kPlaces> processes_{};
};

/// By which hand, and in which operation, so many were killed.
struct Kills {
  std::size_t from_outside = 0;
  std::size_t at_points = 0;
  std::array<std::size_t, kOperations> in{};

  void count_from_outside(Operation operation) {
    ++from_outside;
    ++in[static_cast<std::size_t>(operation)];
  }
  void count_at_point(Operation operation) {
    ++at_points;
    ++in[static_cast<std::size_t>(operation)];
  }
  std::size_t all() const { return from_outside + at_points; }
  std::size_t during(Operation operation) const { return in[static_cast<std::size_t>(operation)]; }
};

/// Kills at random and replaces the dead. A process that has been in one operation for long is spared: killing it would
/// hide a hang, which the watchdog shows in the end. Long is far beyond what many deaths in a row cost, each of them
/// 100 ms.
void kill_at_random(Ledger& ledger, Processes& processes, std::size_t wanted, Kills& kills) {
  constexpr auto kSpared = kSanitized ? 40s : 10s, kHang = kSanitized ? 160s : 40s;
  auto engine = random_engine();
  while (kills.all() < wanted && !::testing::Test::HasFailure()) {
    // The instant is the randomness of this test; nothing is waited for.
    const timespec pause{0, static_cast<long>(engine() % 6'000'000)};
    ::nanosleep(&pause, nullptr);
    for (std::size_t place = 0; place < kWorkers; ++place) {
      if (!processes.bury(place, false)) continue;
      kills.count_at_point(ledger.places[place].operation.load());
      processes.start(place);
    }
    const std::size_t place = engine() % kWorkers;
    const auto waiting = processes.waiting(place);
    if (waiting > kHang) return;
    if (waiting > kSpared) continue;
    processes.kill(place);
    if (!processes.bury(place, true)) return;
    kills.count_from_outside(ledger.places[place].operation.load());
    processes.start(place);
  }
}

/// Each item was got at most once; only who was killed while it was getting one may have taken one along.
void expect_exact(const char* what, const Items& items, std::size_t killed_getting) {
  const Items::Counts counts = items.count([](std::uint64_t) {});
  std::printf("%s: %zu put, %zu got, %zu of them of killed puts, %zu died with %zu killed takers\n", what, counts.put,
              counts.got, counts.unsure, counts.vanished, killed_getting);
  EXPECT_EQ(counts.twice, 0U) << what;
  EXPECT_EQ(counts.invented, 0U) << what;
  EXPECT_LE(counts.vanished, killed_getting) << what << ": lost";
  EXPECT_EQ(counts.put - counts.vanished + counts.unsure, counts.got) << what;
}

void expect_whole(const char* what, const Guarded& guarded) {
  std::int64_t sum = 0;
  for (const auto& added : guarded.added) sum += added.load();
  EXPECT_EQ(guarded.total.load(), sum) << what;
  EXPECT_EQ(guarded.changing.load(), 0U) << what;
}

template <class AnySemaphore>
void expect_units(AnySemaphore& semaphore, std::size_t units) {
  // Those of the dead come back when somebody wants them.
  for (std::size_t n = 0; n < units; ++n) EXPECT_TRUE(semaphore.acquire_for(60s)) << n << " of " << units;
  EXPECT_FALSE(semaphore.try_acquire()) << "a unit was invented";
  semaphore.release(units);
  EXPECT_EQ(semaphore.value(), units);
}

/// What must hold when all others are gone.
void expect_all_exact(Ledger& ledger, Shared& shared, const Kills& kills) {
  Worker last(ledger, shared, kKeeper);
  last.use_lock();
  last.use_rlock();
  last.use_array();
  last.use_condition();
  expect_whole("Lock", ledger.by_lock);
  expect_whole("RLock", ledger.by_rlock);
  expect_whole("Condition", ledger.by_condition);
  // What was done, and at the most one for each kill behind the change and before it was counted.
  const auto expect_count = [&](Operation operation, std::int64_t total) {
    const auto n = static_cast<std::size_t>(operation);
    std::int64_t done = 0;
    for (const auto& place : ledger.places) done += static_cast<std::int64_t>(place.done[n].load());
    EXPECT_GE(total, done) << kNames[n];
    EXPECT_LE(total, done + static_cast<std::int64_t>(kills.in[n])) << kNames[n];
  };
  expect_count(Operation::Lock, ledger.by_lock.total.load() - 1);
  expect_count(Operation::RLock, ledger.by_rlock.total.load() - 1);
  expect_count(Operation::Array, shared.array[3] - 1);
  expect_count(Operation::Value, shared.value.get());
  expect_units(shared.semaphore, Shared::kUnits);
  expect_units(shared.bounded, 1);

  while (last.get_number(shared.numbers, ledger.numbers)) {
  }
  while (last.get_number(shared.lifo, ledger.lifo)) {
  }
  while (last.get_number(shared.priority, ledger.priority)) {
  }
  while (last.get_parcel()) {
  }
  while (last.receive()) {
  }
  EXPECT_TRUE(shared.numbers.join_for(60s)) << "an item counts as not done";
  EXPECT_TRUE(shared.lifo.join_for(60s)) << "an item of the LifoQueue counts as not done";
  EXPECT_TRUE(shared.priority.join_for(60s)) << "an item of the PriorityQueue counts as not done";
  EXPECT_TRUE(shared.parcels.join_for(60s)) << "a parcel counts as not done";
  expect_exact("Queue of numbers", ledger.numbers, kills.during(Operation::GetNumber));
  expect_exact("Queue of parcels", ledger.parcels, kills.during(Operation::GetParcel));
  expect_exact("LifoQueue", ledger.lifo, kills.during(Operation::GetLifo));
  expect_exact("PriorityQueue", ledger.priority, kills.during(Operation::GetPriority));
  expect_exact("Pipe", ledger.messages, kills.during(Operation::Receive));
}

TEST_F(ChaosStress, EverythingSharedSurvivesKillsAtAnyInstant) {
  const std::size_t before = arena_usage().in_use_bytes;
  const OutsideMemory<Ledger> ledger;
  Kills kills;
  {
    Shared shared;
    Processes processes(*ledger.get(), shared);
    for (std::size_t place = 0; place < kPlaces; ++place) ASSERT_NO_FATAL_FAILURE(processes.start(place));
    kill_at_random(*ledger.get(), processes, wanted_kills(), kills);
    ledger->workers_stop.store(true);
    for (std::size_t place = 0; place < kWorkers; ++place)
      if (processes.join(place)) kills.count_at_point(ledger->places[place].operation.load());
    ledger->keeper_stops.store(true);
    processes.join(kKeeper);
    expect_all_exact(*ledger.get(), shared, kills);
  }
  detail::sweep_family();
  EXPECT_EQ(arena_usage().in_use_bytes, before);

  std::printf("%zu killed from outside, %zu at points of an operation\n", kills.from_outside, kills.at_points);
  for (std::size_t n = 1; n < kOperations; ++n) {
    std::size_t done = 0;
    for (std::size_t place = 0; place < kWorkers; ++place) done += ledger->places[place].done[n].load();
    std::printf("%-18s %8zu done, %5zu killed in it\n", kNames[n], done, kills.in[n]);
    EXPECT_GT(done, kills.all() / 10) << kNames[n] << ": too little happened to prove anything";
  }
}

}  // namespace
}  // namespace tandem::testing::chaos
