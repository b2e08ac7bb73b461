/// A process of the chaos test: what it does at random with everything shared.
#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>

#include "core/kill_point.hpp"
#include "stress/chaos_ledger.hpp"
#include "stress/chaos_shared.hpp"
#include "support/random.hpp"

namespace tandem::testing::chaos {

using namespace std::chrono_literals;

/// One process's view of it all.
class Worker {
 public:
  /// `process` is a number that no other has had; modulo 16 it is the place.
  Worker(Ledger& ledger, Shared& shared, std::uint64_t process)
      : ledger_(ledger), shared_(shared), process_(process), place_(process % 16), random_(random_engine(process)) {
    doomed = &ledger.places[place_].doomed;
    this_process = process;
  }

  /// What a worker does until it is killed or told to stop.
  [[noreturn]] void work() {
    while (!ledger_.workers_stop.load()) {
      const auto operation = static_cast<Operation>(1 + random_() % (kOperations - 1));
      begin(operation);
      // Killed from outside it dies while it waits, mostly; so sometimes it dies at a point of the operation itself.
      if (one_in(kDiesOnceIn)) {
        points_left = 1 + random_() % (std::size_t{1} << random_() % 7);
        detail::kill_point_hook = die_when_due;
      }
      run(operation);
      detail::kill_point_hook = nullptr;
      end(operation);
    }
    ::_exit(0);
  }

  /// What the keeper does until the workers are gone.
  [[noreturn]] void keep() {
    while (!ledger_.keeper_stops.load()) {
      keep_queues();
      keep_condition();
      begin(Operation::EventChange);
      shared_.event.set();
      begin(Operation::Barrier);
      wait_at_barrier([&] { return shared_.barrier.wait_for(3ms); });
      end(Operation::Barrier);
    }
    ::_exit(0);
  }

  /// With nobody else left: what the killed left half done is finished, and how many units, items and so on there are.
  void use_lock() {
    const Acquired acquired = shared_.lock.acquire();
    ledger_.by_lock.enter(acquired.owner_died());
    if (acquired.owner_died()) shared_.lock.repaired();
    ledger_.by_lock.add(place_, 1);
    shared_.lock.release();
  }
  void use_rlock();
  void use_condition() { produce(1); }
  void use_array();
  template <class Numbers>
  bool get_number(Numbers& queue, Items& items) {
    const auto number = queue.try_get();
    if (!number) return false;
    items.note_got(*number);
    queue.task_done();
    return true;
  }
  bool get_parcel() {
    const auto parcel = shared_.parcels.try_get();
    if (parcel) note(*parcel);
    return parcel.has_value();
  }
  bool receive() {
    const auto message = shared_.pipe.first.recv_for<Parcel>(1ms);
    if (message) note_message(*message);
    return message.has_value();
  }

 private:
  static constexpr std::uint64_t kDiesOnceIn = 40;

  void begin(Operation operation) {
    auto& mine = ledger_.places[place_];
    mine.operation.store(operation);
    mine.began_ns.store(std::chrono::steady_clock::now().time_since_epoch().count());
  }
  void end(Operation operation) {
    auto& mine = ledger_.places[place_];
    mine.done[static_cast<std::size_t>(operation)].fetch_add(1);
    mine.operation.store(Operation::Nothing);
  }
  bool one_in(std::uint64_t count) { return random_() % count == 0; }

  void run(Operation operation);
  void use_semaphore();
  void use_bounded_semaphore();
  void produce(std::int64_t tokens);
  void consume();
  void change_event();
  template <class Wait>
  void wait_at_barrier(Wait wait);
  template <class Numbers>
  void put_number(Numbers& queue, Items& items) {
    const std::uint64_t name = items.begin(place_);
    queue.put(name);
    items.note_put(name);
  }
  template <class Numbers>
  void await_number(Numbers& queue, Items& items) {
    items.note_got(queue.get());
    queue.task_done();
  }
  template <class Numbers>
  void keep_numbers(Numbers& queue, Items& items, Operation putting, Operation getting) {
    begin(putting);
    while (queue.size() < Shared::kFew) put_number(queue, items);
    begin(getting);
    while (queue.size() > Shared::kMany && get_number(queue, items)) {
    }
  }
  void put_parcel();
  void send();
  void note(const Parcel& parcel);
  void note_message(const Parcel& message);
  void keep_queues();
  void keep_condition();

  Ledger& ledger_;
  Shared& shared_;
  const std::uint64_t process_;
  const std::size_t place_;
  std::mt19937_64 random_;
};

inline void Worker::run(Operation operation) {
  switch (operation) {
    case Operation::Nothing:
      return;
    case Operation::Lock:
      return use_lock();
    case Operation::RLock:
      return use_rlock();
    case Operation::Semaphore:
      return use_semaphore();
    case Operation::BoundedSemaphore:
      return use_bounded_semaphore();
    case Operation::Produce:
      return produce(one_in(4) ? 2 : 1);
    case Operation::Consume:
      return consume();
    case Operation::EventChange:
      return change_event();
    case Operation::EventWait:
      if (one_in(2)) return shared_.event.wait();
      static_cast<void>(shared_.event.wait_for(1ms));
      return;
    case Operation::Barrier:
      return wait_at_barrier([&]() -> std::optional<std::size_t> { return shared_.barrier.wait(); });
    case Operation::PutNumber:
      return put_number(shared_.numbers, ledger_.numbers);
    case Operation::GetNumber:
      return await_number(shared_.numbers, ledger_.numbers);
    case Operation::PutParcel:
      return put_parcel();
    case Operation::GetParcel:
      return note(shared_.parcels.get());
    case Operation::PutLifo:
      return put_number(shared_.lifo, ledger_.lifo);
    case Operation::GetLifo:
      return await_number(shared_.lifo, ledger_.lifo);
    case Operation::PutPriority:
      return put_number(shared_.priority, ledger_.priority);
    case Operation::GetPriority:
      return await_number(shared_.priority, ledger_.priority);
    case Operation::Value:
      shared_.value += 1;
      return;
    case Operation::Array:
      return use_array();
    case Operation::Send:
      return send();
    case Operation::Receive:
      return note_message(shared_.pipe.first.recv<Parcel>());
  }
}

inline void Worker::use_rlock() {
  bool died = false;
  try {
    shared_.rlock.acquire();
  } catch (const OwnerDied&) {
    died = shared_.rlock.recover().owner_died();  // False if another one has mended it meanwhile.
  }
  require(shared_.rlock.recursion_count() == 1, "the new owner of an RLock has it more than once");
  ledger_.by_rlock.enter(died);
  if (died) shared_.rlock.repaired();
  {
    const std::scoped_lock again(shared_.rlock);
    ledger_.by_rlock.add(place_, 1);
  }
  shared_.rlock.release();
}

inline void Worker::use_semaphore() {
  shared_.semaphore.acquire();
  // A second one only if it is there: who waits for it with one in hand could wait for others who do.
  const bool second = one_in(3) && (one_in(2) ? shared_.semaphore.try_acquire() : shared_.semaphore.acquire_for(1ms));
  detail::pass_kill_point("chaos.has_units");
  shared_.semaphore.release(second ? 2 : 1);
}

inline void Worker::use_bounded_semaphore() {
  if (one_in(4)) {
    if (!shared_.bounded.acquire_for(1ms)) return;
  } else {
    shared_.bounded.acquire();
  }
  const std::uint64_t before = ledger_.inside.exchange(process_);
  require(before == 0 || ledger_.is_doomed(before), "two processes have the one unit of a semaphore");
  detail::pass_kill_point("chaos.inside");
  std::uint64_t mine = process_;
  require(ledger_.inside.compare_exchange_strong(mine, 0), "another process got the unit that this one has");
  shared_.bounded.release();  // Throws OverRelease, which ends this process, if there was one too many.
}

inline void Worker::produce(std::int64_t tokens) {
  const Acquired acquired = shared_.condition.acquire();
  ledger_.by_condition.enter(acquired.owner_died());
  if (acquired.owner_died()) shared_.condition.repaired();
  if (ledger_.by_condition.total.load() < static_cast<std::int64_t>(Shared::kMany))
    ledger_.by_condition.add(place_, tokens);
  static_cast<void>(shared_.condition.notify(static_cast<std::size_t>(tokens)));
  shared_.condition.release();
}

inline void Worker::consume() {
  bool died = shared_.condition.acquire().owner_died();
  for (;;) {
    ledger_.by_condition.enter(died);
    if (died) shared_.condition.repaired();
    if (ledger_.by_condition.total.load() > 0) break;
    if (one_in(4)) {
      static_cast<void>(shared_.condition.wait_for(1ms));
    } else {
      shared_.condition.wait();
    }
    died = shared_.condition.owner_died();
  }
  ledger_.by_condition.add(place_, -1);
  shared_.condition.release();
}

inline void Worker::change_event() {
  if (one_in(2)) {
    shared_.event.set();
  } else {
    shared_.event.clear();
  }
}

template <class Wait>
void Worker::wait_at_barrier(Wait wait) {
  try {
    const std::optional<std::size_t> index = wait();
    require(!index || *index < Shared::kParties, "a barrier gave a number that it does not have");
    if (!index) shared_.barrier.reset();
  } catch (const BrokenBarrier&) {
    shared_.barrier.reset();
  }
}

// One who dies in between leaves the first elements larger than the last ones.
inline void Worker::use_array() {
  auto& array = shared_.array;
  const bool died = array.acquire().owner_died();
  const auto elements = array.span();
  for (std::int64_t& element : elements) {
    require(died || element == elements.front(), "the elements of an array are torn, and nobody was told");
    element = elements.front();
  }
  if (died) array.repaired();
  for (std::int64_t& element : elements) {
    detail::pass_kill_point("chaos.array");
    std::atomic_ref(element).fetch_add(1);
  }
  array.release();
}

inline void Worker::put_parcel() {
  const std::uint64_t name = ledger_.parcels.begin(place_);
  shared_.parcels.put(make_parcel(name, shared_.event));
  ledger_.parcels.note_put(name);
}

inline void Worker::send() {
  const std::uint64_t name = ledger_.messages.begin(place_);
  shared_.pipe.second.send(make_parcel(name, shared_.event));
  ledger_.messages.note_put(name);
}

inline void Worker::note(const Parcel& parcel) {
  ledger_.parcels.note_got(parcel.name);
  const Parcel expected = make_parcel(parcel.name, shared_.event);
  require(parcel.filler == expected.filler && parcel.events == expected.events, "a parcel has changed on its way");
  shared_.parcels.task_done();
}

inline void Worker::note_message(const Parcel& message) {
  ledger_.messages.note_got(message.name);
  const Parcel expected = make_parcel(message.name, shared_.event);
  require(message.filler == expected.filler && message.events == expected.events, "a message has changed on its way");
}

inline void Worker::keep_queues() {
  keep_numbers(shared_.numbers, ledger_.numbers, Operation::PutNumber, Operation::GetNumber);
  keep_numbers(shared_.lifo, ledger_.lifo, Operation::PutLifo, Operation::GetLifo);
  keep_numbers(shared_.priority, ledger_.priority, Operation::PutPriority, Operation::GetPriority);
  begin(Operation::PutParcel);
  while (shared_.parcels.size() < Shared::kFew) {
    const std::uint64_t name = ledger_.parcels.begin(place_);
    if (shared_.parcels.try_put(make_parcel(name, shared_.event))) ledger_.parcels.note_put(name);
  }
  begin(Operation::GetParcel);
  while (shared_.parcels.size() > Shared::kMany && get_parcel()) {
  }
  begin(Operation::Send);
  const std::uint64_t name = ledger_.messages.begin(place_);
  if (shared_.pipe.second.send_for(make_parcel(name, shared_.event), 1ms)) ledger_.messages.note_put(name);
  begin(Operation::Receive);
  static_cast<void>(receive());
}

// By itself it produces one token at a time, so that a notification that got lost would be missed by somebody.
inline void Worker::keep_condition() {
  begin(Operation::Produce);
  produce(1);
}

}  // namespace tandem::testing::chaos
