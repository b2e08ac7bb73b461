/// What a pipe looks like in the arena, and the order that its parcels are kept in.
#pragma once

#include "ipc/family.hpp"
#include "ipc/members.hpp"
#include "ipc/shared_lock.hpp"

namespace tandem::detail {

/// A parcel on its way: while it is in the list, the pipe holds it.
struct InFlight {
  Word next;
  Word number;
  Word parcel;  // Offset of the object.
};
static_assert(sizeof(InFlight) == 24, "layout in shared memory");

/// What one end sends and the other receives. The words are guarded by the arena's lock, so that a parcel is held by
/// the list or not at all; the locks put things in order and guard no words of their own.
///
/// Numbers only grow, and a parcel is numbered, listed and sent in one turn: so the packets lie in the socket in the
/// order of the list. A receiver takes a packet out of the socket and its parcel off the list in one turn: what is then
/// in front of it in the list was never sent, for its sender was killed, or was received by one who was killed. Either
/// way nobody will ever ask for it, and it is dropped.
struct PipeDirection {
  SharedLock sending;
  SharedLock receiving;
  Word first;
  Word last;
  Word next_number;
};

/// The body of a pipe: for each end what it sends.
struct PipeState {
  PipeDirection directions[2];
};
static_assert(alignof(PipeState) == 8, "layout in shared memory");

SharedObjectPtr make_pipe_state();
inline PipeState& pipe_state(const SharedObjectPtr& pipe) {
  return *static_cast<PipeState*>(pipe->data());
}
/// Drops all parcels: nobody can receive any more.
void drop_all(PipeDirection& direction);

/// One sender's turn. Owner, for one scope.
class SendingTurn {
 public:
  explicit SendingTurn(PipeDirection& direction)
      : direction_(direction), lock_(direction.sending, Arena::instance().base()) {}
  /// Appends a parcel; gives its number. Throws std::system_error if the arena is full.
  std::uint64_t append(ObjectId parcel) const;
  /// Takes it off again: it was not sent.
  void take_back(std::uint64_t number) const;

 private:
  PipeDirection& direction_;
  Transaction lock_;
};

/// One receiver's turn. Owner, for one scope. Behind it, bury_zombies() is due.
class ReceivingTurn {
 public:
  explicit ReceivingTurn(PipeDirection& direction)
      : direction_(direction), lock_(direction.receiving, Arena::instance().base()) {}
  /// Takes over the parcel that a packet named, and drops what lies in front of it. Throws WireError if there is none.
  SharedObjectPtr take(std::uint64_t number, ObjectId parcel) const;

 private:
  PipeDirection& direction_;
  Transaction lock_;
};

}  // namespace tandem::detail
