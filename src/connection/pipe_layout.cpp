#include "connection/pipe_layout.hpp"

#include <cstring>

#include <tandem/error.hpp>

#include "core/kill_point.hpp"

namespace tandem::detail {
namespace {

InFlight& in_flight_at(std::uint64_t offset) {
  return Arena::instance().at<InFlight>(offset);
}

/// Takes the first parcel off the list and gives up the hold on it.
void drop_first(ArenaChange& change, PipeDirection& direction) {
  Arena& arena = Arena::instance();
  const std::uint64_t first = get(direction.first);
  InFlight& entry = in_flight_at(first);
  const std::uint64_t parcel = get(entry.parcel);
  change.set(direction.first, get(entry.next));
  if (get(entry.next) == 0) change.set(direction.last, 0);
  change.set(arena.header().scratch, first);
  arena.heap().free(change, arena.header().scratch);
  unhold(change, parcel);
  change.commit();
  TANDEM_KILL_POINT("connection.dropped");
}

void destroy_pipe(void* body) {
  for (PipeDirection& direction : static_cast<PipeState*>(body)->directions) {
    ArenaChange change(Arena::instance());
    while (get(direction.first) != 0) drop_first(change, direction);
  }
}

// Every process that can meet a pipe has this file in it.
[[maybe_unused]] const bool destroyer_is_set = (set_destroyer(ObjectKind::Pipe, destroy_pipe), true);

}  // namespace

SharedObjectPtr make_pipe_state() {
  return make_object(
      ObjectKind::Pipe, sizeof(PipeState),
      [](void* body, const void*) {
        std::memset(body, 0, sizeof(PipeState));
        for (PipeDirection& direction : static_cast<PipeState*>(body)->directions) {
          direction.sending.initialise();
          direction.receiving.initialise();
        }
      },
      nullptr);
}

void drop_all(PipeDirection& direction) {
  {
    // A turn: otherwise one who is about to send could not take back what it appended.
    const Transaction turn(direction.sending, Arena::instance().base());
    ArenaChange change(Arena::instance());
    while (get(direction.first) != 0) drop_first(change, direction);
  }
  bury_zombies();
}

std::uint64_t SendingTurn::append(ObjectId parcel) const {
  Arena& arena = Arena::instance();
  ArenaChange change(arena);
  Word& scratch = arena.header().scratch;
  static_cast<void>(arena.heap().allocate(change, sizeof(InFlight), scratch, Heap::Use::Record));
  const std::uint64_t offset = get(scratch);
  InFlight& entry = in_flight_at(offset);
  const std::uint64_t number = get(direction_.next_number) + 1;
  change.set(direction_.next_number, number);
  change.set(entry.next, 0);
  change.set(entry.number, number);
  change.set(entry.parcel, parcel.offset);
  change.set(get(direction_.last) != 0 ? in_flight_at(get(direction_.last)).next : direction_.first, offset);
  change.set(direction_.last, offset);
  change.set(scratch, 0);
  auto& header = arena.at<ObjectHeader>(parcel.offset);
  change.set(header.holds, get(header.holds) + 1);
  change.commit();
  return number;
}

void SendingTurn::take_back(std::uint64_t number) const {
  Arena& arena = Arena::instance();
  ArenaChange change(arena);
  // It is the last one, for nobody else appends meanwhile; few are in front of it, as few fit into the socket.
  std::uint64_t before = 0;
  std::uint64_t at = get(direction_.first);
  for (; at != 0 && get(in_flight_at(at).number) != number; at = get(in_flight_at(at).next)) before = at;
  if (at == 0) return;
  const std::uint64_t parcel = get(in_flight_at(at).parcel);
  change.set(before != 0 ? in_flight_at(before).next : direction_.first, 0);
  change.set(direction_.last, before);
  change.set(arena.header().scratch, at);
  arena.heap().free(change, arena.header().scratch);
  unhold(change, parcel);
  change.commit();
}

SharedObjectPtr ReceivingTurn::take(std::uint64_t number, ObjectId id) const {
  SharedObjectPtr parcel;
  try {
    parcel = attach(id, ObjectKind::Parcel);
  } catch (const StaleHandle&) {
    throw WireError("bytes in a pipe that no connection has sent: they name a message that is not there");
  }
  TANDEM_KILL_POINT("connection.recv.attached");
  ArenaChange change(Arena::instance());
  while (get(direction_.first) != 0 && get(in_flight_at(get(direction_.first)).number) <= number)
    drop_first(change, direction_);
  return parcel;
}

}  // namespace tandem::detail
