/// Everything shared that the processes of the chaos test use.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <tandem/array.hpp>
#include <tandem/barrier.hpp>
#include <tandem/condition.hpp>
#include <tandem/connection.hpp>
#include <tandem/event.hpp>
#include <tandem/lock.hpp>
#include <tandem/queue.hpp>
#include <tandem/rlock.hpp>
#include <tandem/semaphore.hpp>
#include <tandem/value.hpp>

namespace tandem::testing::chaos {

/// An item that is small, middling or large, and may hold a handle.
struct Parcel {
  std::uint64_t name = 0;
  std::string filler;
  std::vector<Event> events;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, filler, events);
  }
};

inline Parcel make_parcel(std::uint64_t name, const Event& event) {
  constexpr std::array<std::size_t, 8> kSizes{0, 0, 20, 20, 20, 500, 5'000, 100'000};
  Parcel parcel{name, std::string(kSizes[name % kSizes.size()], static_cast<char>('a' + name % 26)), {}};
  if (name % 3 == 0) parcel.events.push_back(event);
  return parcel;
}

/// Value: handles.
struct Shared {
  Lock lock{OnOwnerDeath::Tell};
  RLock rlock{OnOwnerDeath::Throw};
  Semaphore semaphore{kUnits};
  BoundedSemaphore bounded{1};
  Condition condition{Lock(OnOwnerDeath::Tell)};
  Event event;
  Barrier barrier{kParties, +[](Event rounds) { rounds.set(); }, event};
  Queue<std::uint64_t> numbers;
  Queue<Parcel> parcels{16};
  LifoQueue<std::uint64_t> lifo;
  PriorityQueue<std::uint64_t> priority;
  Value<std::int64_t> value;
  Array<std::int64_t> array{4, RLock(OnOwnerDeath::Tell)};  // All elements are equal.
  std::pair<Connection, Connection> pipe = Pipe(Duplex::No);

  static constexpr std::int64_t kUnits = 3;
  static constexpr std::int64_t kParties = 3;
  /// The keeper keeps the length of the queues and the tokens of the condition between these.
  static constexpr std::size_t kFew = 4, kMany = 12;
};

}  // namespace tandem::testing::chaos
