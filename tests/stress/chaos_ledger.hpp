/// What the processes of the chaos test note of what they do, in memory that survives them.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "core/kill_point.hpp"
#include "support/item_ledger.hpp"

namespace tandem::testing::chaos {

constexpr std::size_t kWorkers = 8;
/// The place of the process that is never killed and keeps the others from waiting for what nobody would ever do.
constexpr std::size_t kKeeper = kWorkers;
constexpr std::size_t kPlaces = kWorkers + 1;

enum class Operation : std::uint32_t {
  Nothing,
  Lock,
  RLock,
  Semaphore,
  BoundedSemaphore,
  Produce,
  Consume,
  EventChange,
  EventWait,
  Barrier,
  PutNumber,
  GetNumber,
  PutParcel,
  GetParcel,
  PutLifo,
  GetLifo,
  PutPriority,
  GetPriority,
  Value,
  Array,
  Send,
  Receive,
};
constexpr std::size_t kOperations = static_cast<std::size_t>(Operation::Receive) + 1;
constexpr std::array<const char*, kOperations> kNames{"nothing",
                                                      "Lock",
                                                      "RLock",
                                                      "Semaphore",
                                                      "BoundedSemaphore",
                                                      "Condition.notify",
                                                      "Condition.wait",
                                                      "Event.change",
                                                      "Event.wait",
                                                      "Barrier.wait",
                                                      "Queue.put",
                                                      "Queue.get",
                                                      "Queue.put parcel",
                                                      "Queue.get parcel",
                                                      "LifoQueue.put",
                                                      "LifoQueue.get",
                                                      "PriorityQueue.put",
                                                      "PriorityQueue.get",
                                                      "Value",
                                                      "Array",
                                                      "Pipe.send",
                                                      "Pipe.recv"};

/// Ends the calling process, which the test sees, unless it holds.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "chaos: process %d: %s\n", ::getpid(), what);
  std::abort();
}

/// How many kill points this process may still pass: its end, if it is to die at one.
inline std::size_t points_left = 0;
/// Where that it is dying is noted first, and which process it is.
inline std::atomic<std::uint64_t>* doomed = nullptr;
inline std::uint64_t this_process = 0;

inline void die_when_due(const char*) {
  if (--points_left != 0) return;
  doomed->store(this_process);
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

/// A total and what each place has added to it: two words that a change must not tear apart. Guarded by a lock of
/// Tandem; a change is written down first, so that the next owner of the lock can finish it.
struct Guarded {
  std::atomic<std::int64_t> total;
  std::array<std::atomic<std::int64_t>, kPlaces> added;
  std::atomic<std::int64_t> next_total;
  std::atomic<std::int64_t> next_added;
  std::atomic<std::uint64_t> changing;  // A place plus 1, while that is being done.

  /// To be called by who got the lock, with what it was told.
  void enter(bool owner_died) {
    if (owner_died) return finish();
    require(changing.load() == 0, "the owner of a lock died, and the next owner was not told");
    std::int64_t sum = 0;
    for (const auto& one : added) sum += one.load();
    require(sum == total.load(), "a counter that a lock guards is torn");
  }
  void add(std::size_t place, std::int64_t amount) {
    detail::pass_kill_point("chaos.entered");
    next_total.store(total.load() + amount);
    next_added.store(added[place].load() + amount);
    changing.store(place + 1);
    finish();
  }

 private:
  void finish() {
    const std::uint64_t place = changing.load();
    if (place == 0) return;
    detail::pass_kill_point("chaos.written_down");
    added[place - 1].store(next_added.load());
    detail::pass_kill_point("chaos.torn");
    total.store(next_total.load());
    changing.store(0);
    detail::pass_kill_point("chaos.changed");
  }
};

using Items = ItemLedger<kPlaces, 2'000'000>;

/// What survives all kills.
struct Ledger {
  struct Place {
    std::atomic<Operation> operation;
    std::atomic<std::int64_t> began_ns;  // On the steady clock: when the operation began.
    std::atomic<std::uint64_t> doomed;   // Processes of this place up to this one are dead or being killed.
    std::array<std::atomic<std::uint64_t>, kOperations> done;
  };
  std::array<Place, kPlaces> places;
  std::atomic<bool> workers_stop;
  std::atomic<bool> keeper_stops;
  Guarded by_lock;
  Guarded by_rlock;
  Guarded by_condition;
  std::atomic<std::uint64_t> inside;  // Who has the one unit of a semaphore that is used as a lock.
  Items numbers;
  Items parcels;
  Items lifo;
  Items priority;
  Items messages;

  bool is_doomed(std::uint64_t process) const { return places[process % 16].doomed.load() >= process; }
};

}  // namespace tandem::testing::chaos
