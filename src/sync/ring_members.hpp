/// Who uses a Queue, what they have counted, and what is done about those who are no more.
#pragma once

#include <array>
#include <cstdint>

#include <tandem/detail/shared_object.hpp>

#include "ipc/arena.hpp"
#include "ipc/owner.hpp"
#include "sync/ring.hpp"

namespace tandem::detail {

/// The seats that the calling thread used last. One that is pushed out is found again in the queue.
inline constexpr std::size_t kSeats = 16;
extern constinit thread_local std::array<RingSeat, kSeats> seats;
RingSeat& take_ring_seat(RingSeat& seat, const SharedObject& queue);
inline constexpr std::uint64_t kNoParticipant = ~std::uint64_t{0};

/// The calling thread's seat at this queue; on its first call the thread becomes a participant. Throws
/// std::system_error (EUSERS) if more threads use the queue than its slots can name.
inline RingSeat& seat_at(const SharedObject& queue) {
  const ObjectId id = queue.id();
  RingSeat& seat = seats[(id.offset >> 6) % kSeats];
  // Generations are never used twice. A child that was forked has the parent's seats, which are not its own: it has
  // another owner.
  if (seat.queue.generation != id.generation || seat.owner != this_owner_cache) [[unlikely]]
    return take_ring_seat(seat, queue);
  return seat;
}
/// A second seat for the calling thread: for a call inside a call, by code that runs while an item is decoded, and for
/// an item that is lent.
RingSeat other_seat_at(const SharedObject& queue);

/// A queue's lock: for what is rare. Who participates, growth, what the dead have left. Under it, and only then, the
/// arena's lock is taken. Owner, for one scope.
class RingLock {
 public:
  explicit RingLock(RingState& state) : state_(state), change_(state.lock, Arena::instance().base()) {}

  /// Makes `owner`, 0 until now, own zeroed bytes.
  void add_block(Word& owner, std::uint64_t bytes);

  /// A participant's entry for the calling thread, other than the one with the index `except`.
  std::uint64_t join(std::uint64_t owner, const Member& thread, std::uint64_t except);
  /// Undoes or finishes what those who are no more left half done, and adds up what they counted. Returns whether items
  /// came back or space did.
  bool settle();
  /// Claims the oldest item whose taker died, for the participant with this index.
  RingSlot* take_returned(std::uint64_t index);

  struct Counts {
    std::uint64_t puts, gets, dones;
    std::uint64_t unfinished() const { return puts - dones; }
    std::uint64_t not_taken() const { return puts - gets; }
    /// More was marked done than there was.
    bool overdrawn() const { return dones > puts; }
  };
  Counts counts() const;

  /// Frees all that belongs to a queue which nobody has a handle to.
  void take_apart();

 private:
  template <class Visit>
  void for_each_participant(Visit visit) const;
  template <class Visit>
  void for_each_slot(Visit visit) const;
  void settle_growing();
  bool settle_slots(Participant& participant, std::uint64_t index);
  void keep_for_process(Participant& participant);
  void close_account(Participant& account);

  RingState& state_;
  Transaction change_;
};

Participant& participant_at(const RingState& state, std::uint64_t index);
/// As RingLock::counts(), without the lock: may be wrong while somebody settles.
RingLock::Counts estimate_counts(const RingState& state);

/// Looks for the dead at once if this participant is one of them. Returns whether it was.
bool settle_if_dead(RingState& state, std::uint64_t index);
/// The same for each who has claimed something.
bool settle_dead_claims(RingState& state, std::uint64_t but_for);

}  // namespace tandem::detail
