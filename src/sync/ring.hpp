/// The ring of slots that a Queue is made of: claiming, filling, emptying, without a lock.
#pragma once

#include <algorithm>
#include <bit>

#include <tandem/detail/shared_object.hpp>

#include "core/kill_point.hpp"
#include "sync/aligned.hpp"
#include "sync/ring_layout.hpp"

namespace tandem::detail {

/// The calling thread's place among those who use one queue, kept from call to call.
struct Seat {
  ObjectId queue;
  std::uint64_t owner = 0;
  RingState* state = nullptr;
  Participant* participant = nullptr;
  std::uint64_t index = 0;  // Of the participant.
  std::uint64_t head = 0;   // Where the front was when this thread last looked.
};

/// The state in a queue's body, which begins where its alignment allows.
inline RingState* ring_state_in(void* body) {
  return reinterpret_cast<RingState*>(static_cast<std::byte*>(body) + aligned_distance(body, 0, alignof(RingState)));
}
inline RingState* ring_state_of(const SharedObject& queue) {
  return ring_state_in(queue.data());
}
/// The steps of the calling thread on one queue's ring. No step waits for another thread.
class Ring {
 public:
  explicit Ring(Seat& seat) : state_(*seat.state), seat_(seat), me_(*seat.participant), index_(seat.index) {}

  RingState& operator*() const { return state_; }
  RingState* operator->() const { return &state_; }
  Participant& me() const { return me_; }
  std::uint64_t index() const { return index_; }

  // --- putting. Between begin_put() and finish_put() the thread puts or gives up.

  void begin_put() { me_.put_mark.store(get(me_.puts) + 1, std::memory_order_relaxed); }
  void finish_put() { me_.put_mark.store(0, std::memory_order_release); }

  enum class Claim { Done, Full, Closed };
  /// Claims the slot where the next item goes. Throws std::system_error if the ring must grow and cannot.
  Claim claim_put(std::uint64_t form, RingPosition& at);
  /// Claims the one behind a slot that this thread has claimed and not yet published, if it can be had at once.
  bool claim_next_put(std::uint64_t form, RingPosition& at);
  /// Makes the claimed slots items, from `first` on. From the instant at which the count is stored, they are put.
  void publish(RingPosition first, std::uint64_t count);

  // --- taking. Between begin_get() and finish_get().

  void begin_get() { me_.get_mark.store(get(me_.gets) + 1, std::memory_order_relaxed); }
  void finish_get() { me_.get_mark.store(0, std::memory_order_release); }

  enum class Front { Item, Nothing, Filling, End };
  /// Claims the first item. `Filling`: there is one, but somebody is just putting it.
  Front claim_get(RingPosition& at);
  /// Claims the item behind the one that this thread has just claimed, if there is one.
  bool claim_next_get(RingPosition& at);
  /// Behind the last of a run of claims: the front is behind it.
  void pass_front(RingPosition first, std::uint64_t count) { advance(state_.head, first, count); }
  /// What the front is, without claiming it.
  Front look();
  /// Says that `count` claimed items are this thread's own.
  void commit_gets(std::uint64_t count) { me_.gets.store(get(me_.gets) + count, std::memory_order_release); }
  /// Empties a claimed slot whose item is this thread's own.
  void empty(RingSlot& slot);

  /// Marks the end behind the last item: nothing can be put any more.
  void put_end();

  RingSlot& slot_at(RingPosition at) const { return slot_in(at.chunk(), at.place()); }
  RingSlot& slot_in(std::uint64_t chunk, std::uint64_t place) const {
    std::byte* const slots = Arena::instance().base() + get(state_.chunks[chunk]);
    return *reinterpret_cast<RingSlot*>(slots + place * state_.slot_bytes);
  }
  static std::uint64_t slots_of(const RingState& state, std::uint64_t chunk) {
    return std::min(state.first_slots << (chunk == 0 ? 0 : chunk - 1), RingState::kLargestChunk);
  }
  std::uint64_t slots_of(std::uint64_t chunk) const { return slots_of(state_, chunk); }
  /// Helps both ends on, then how many numbers lie between them.
  std::uint64_t length();

 private:
  static RingPosition load(const Word& end) { return RingPosition(end.load(std::memory_order_acquire)); }
  static bool advance_once(Word& end, RingPosition from, RingPosition to) {
    std::uint64_t expected = from.word();
    return end.compare_exchange_strong(expected, to.word(), std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  static void advance(Word& end, RingPosition first, std::uint64_t count);
  bool is_free(SlotWord word, RingPosition tail);
  bool is_full(RingPosition tail);
  bool next_is_free(RingPosition at);
  std::uint64_t free_chunk(RingPosition tail);
  void grow(RingPosition tail);
  bool help_tail(RingPosition tail, SlotWord word);
  bool help_head(RingPosition head, SlotWord word);

  RingState& state_;
  Seat& seat_;
  Participant& me_;
  const std::uint64_t index_;
};

}  // namespace tandem::detail
