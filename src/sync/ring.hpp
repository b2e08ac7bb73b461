/// The ring of slots that a Queue is made of: claiming, filling, emptying, without a lock.
#pragma once

#include <algorithm>
#include <bit>

#include <tandem/detail/shared_object.hpp>

#include "core/kill_point.hpp"
#include "core/thread_sanitizer.hpp"
#include "sync/aligned.hpp"
#include "sync/ring_layout.hpp"

namespace tandem::detail {

/// The calling thread's place among those who use one queue, kept from call to call.
struct RingSeat {
  ObjectId queue;
  std::uint64_t owner = 0;
  RingState* state = nullptr;
  std::byte* base = nullptr;  // Of the arena.
  Participant* participant = nullptr;
  std::uint64_t index = 0;  // Of the participant.
  std::uint64_t head = 0;   // Where the front was when this thread last looked.
  // What its last waits for an item were like.
  std::uint32_t waits = 0;
  bool expects_stream = false;
  std::uint64_t gets_at_wait = 0;
};

/// The state in a queue's body, which begins where its alignment allows.
inline RingState* ring_state_in(void* body) {
  return reinterpret_cast<RingState*>(static_cast<std::byte*>(body) + aligned_distance(body, 0, alignof(RingState)));
}
inline RingState* ring_state_of(const SharedObject& queue) {
  return ring_state_in(queue.data());
}
/// Frees a slot's Cargo, with what it holds. The slot must be claimed by the caller, or the lock held for a dead one.
void free_cargo(RingSlot& slot);

/// The steps of the calling thread on one queue's ring. No step waits for another thread.
class Ring {
 public:
  explicit Ring(RingSeat& seat)
      : state_(*seat.state), seat_(seat), me_(*seat.participant), base_(seat.base), index_(seat.index) {}

  RingState& operator*() const { return state_; }
  RingState* operator->() const { return &state_; }
  Participant& me() const { return me_; }
  std::uint64_t index() const { return index_; }
  /// Whether somebody of the family died since this queue was last looked through.
  bool deaths_unseen() const {
    return get(reinterpret_cast<const ArenaHeader*>(base_)->deaths) != get(state_.seen_deaths);
  }

  // --- putting. Between begin_put() and finish_put() the thread puts or gives up.

  void begin_put() { me_.put_mark.store(get(me_.puts) + 1, std::memory_order_relaxed); }
  void finish_put() { me_.put_mark.store(0, std::memory_order_release); }

  enum class Claim { Done, Full, Closed };
  /// Claims the slot where the next item goes. Throws std::system_error if the ring must grow and cannot.
  Claim claim_put(std::uint64_t form, RingPosition& at) {
    const RingPosition tail = load(state_.tail);
    RingSlot& slot = slot_at(tail);
    const SlotWord word = slot.load();
    // Numbers are compared for equality with an end that has not moved meanwhile.
    if (load(state_.tail) != tail || word.sequence() == tail.sequence() || is_full(tail) || !next_is_free(tail) ||
        !slot.step(word, {SlotPhase::Filling, tail.sequence(), index_, form})) [[unlikely]]
      return claim_put_in_loop(form, at);
    at = tail;
    TANDEM_KILL_POINT("queue.put.claimed");
    return Claim::Done;
  }
  /// Claims several slots behind one another with one step, `count` of them: a power of two, up to `wanted`. Those
  /// behind the first are to be filled with set_behind().
  Claim claim_puts(std::uint64_t form, std::uint64_t wanted, RingPosition& at, std::uint64_t& count);
  /// Says what the item in a claimed slot is. Should this thread die behind the count, others make it an item.
  void set_behind(RingPosition at, std::uint64_t form) {
    slot_at(at).set({SlotPhase::Filling, at.sequence(), index_, form});
  }
  /// Makes the claimed slots items, from `first` on. From the instant at which the count is stored, they are put.
  void publish(RingPosition first, std::uint64_t count) {
    TANDEM_KILL_POINT("queue.put.filled");
    me_.puts.store(get(me_.puts) + count, std::memory_order_release);
    TANDEM_KILL_POINT("queue.put.committed");
    // The first one last: until then it says that all are claimed.
    for (std::uint64_t i = count; i-- > 0;) {
      RingSlot& slot = slot_at(first.after(i));
      slot.set(SlotWord(get(slot.word)).in_phase(SlotPhase::Full));
      TANDEM_KILL_POINT("queue.put.published");
    }
    finish_put();
    // Also the barrier between the items and the look at who sleeps.
    advance(state_.tail, first, count);
    TANDEM_KILL_POINT("queue.put.passed");
  }

  // --- taking. Between begin_get() and finish_get().

  void begin_get() { me_.get_mark.store(get(me_.gets) + 1, std::memory_order_relaxed); }
  void finish_get() { me_.get_mark.store(0, std::memory_order_release); }

  enum class Front { Item, Nothing, Filling, End };
  /// Claims the first item. `Filling`: there is one, but somebody is just putting it.
  Front claim_get(RingPosition& at) {
    const RingPosition head = load(state_.head);
    RingSlot& slot = slot_at(head);
    const SlotWord word = slot.load();
    if (word.sequence() != head.sequence() || word.phase() != SlotPhase::Full ||
        !slot.step(word, word.in_phase(SlotPhase::Taking, index_))) [[unlikely]]
      return claim_get_in_loop(at);
    at = head;
    TANDEM_KILL_POINT("queue.get.claimed");
    return Front::Item;
  }
  /// Claims several items behind one another with one step, `count` of them: a power of two, up to `wanted`.
  Front claim_gets(std::uint64_t wanted, RingPosition& at, std::uint64_t& count);
  /// Moves the front behind what was claimed.
  void pass_front(RingPosition first, std::uint64_t count) { advance(state_.head, first, count); }
  /// What the front is, without claiming it.
  Front look();
  /// Says that `count` claimed items are this thread's own.
  void commit_gets(std::uint64_t count) { me_.gets.store(get(me_.gets) + count, std::memory_order_release); }
  /// Empties a claimed slot whose item is this thread's own. The first one of several last.
  void empty(RingSlot& slot) {
    const SlotWord word(get(slot.word));
    if (word.is_large()) free_cargo(slot);
    slot.set(word.in_phase(SlotPhase::Empty));
  }

  // --- pauses of a few microseconds before waiting in earnest. In a stream of small items, who looks for each item or
  // place as it comes takes the lines of the cache away from the other side at each; so let some gather.

  /// When the ring is full: until an eighth of it is not, at most for about 5 us.
  void wait_for_much_space();
  /// When there is no item: a moment, if waiting has lately been for the next of a stream.
  void wait_for_much_to_take();

  /// Marks the end behind the last item: nothing can be put any more.
  void put_end();

  RingSlot& slot_at(RingPosition at) const { return slot_in(at.chunk(), at.place()); }
  RingSlot& slot_in(std::uint64_t chunk, std::uint64_t place) const {
    if (chunk != 0) comes_back(base_);  // Another process may have made it of memory that this one wrote.
    return *reinterpret_cast<RingSlot*>(base_ + chunk_at(chunk) + place * state_.slot_bytes);
  }
  /// The offset of a chunk, or 0.
  std::uint64_t chunk_at(std::uint64_t chunk) const { return state_.chunks[chunk].load(std::memory_order_acquire); }
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
  static void advance(Word& end, RingPosition first, std::uint64_t count) {
    if (!advance_once(end, first, first.after(count))) advance_in_steps(end, first, count);
  }
  static void advance_in_steps(Word& end, RingPosition first, std::uint64_t count);
  Claim claim_put_in_loop(std::uint64_t form, RingPosition& at) {
    std::uint64_t count = 0;
    return claim_puts(form, 1, at, count);
  }
  Front claim_get_in_loop(RingPosition& at) {
    std::uint64_t count = 0;
    return claim_gets(1, at, count);
  }
  std::uint64_t free_run(RingPosition tail, std::uint64_t wanted);
  std::uint64_t full_run(RingPosition head, std::uint64_t wanted) const;
  /// Where the number behind a used slot's is.
  static RingPosition behind(RingPosition at, SlotWord word) {
    if (word.phase() == SlotPhase::Jump) return at.moved_to(word.who());
    return at.after(word.is_claimed() ? word.run() : 1);
  }

  /// Whether the slot's number has come and gone: it lies before the front, as those of all other chunks may do for
  /// ever. `tail` is what the slot is wanted for: the end, or one that will be. A slot with just this number, from a
  /// whole round of the numbers ago, is none of them.
  bool is_free(SlotWord word, RingPosition tail) {
    const SlotPhase phase = word.phase();
    if (phase != SlotPhase::Empty && phase != SlotPhase::Hole && phase != SlotPhase::Jump) return false;
    if (is_before_front(word, tail)) return true;
    seat_.head = load(state_.head).word();
    return is_before_front(word, tail);
  }
  bool is_before_front(SlotWord word, RingPosition tail) const {
    return sequence_distance(word.sequence(), tail.sequence()) >
           sequence_distance(sequence_of(seat_.head), tail.sequence());
  }
  bool is_end(RingPosition tail, SlotWord seen) const;
  bool is_full(RingPosition tail) { return state_.capacity != 0 && seems_full(tail) && is_still_full(tail); }
  bool seems_full(RingPosition tail) const {
    return sequence_distance(sequence_of(seat_.head), tail.sequence()) >= state_.capacity;
  }
  bool is_still_full(RingPosition tail);
  bool next_is_free(RingPosition at) {
    const RingPosition next = at.after(1);
    return at.place() + 1 < slots_of(at.chunk()) && is_free(slot_at(next).load(), next);
  }
  std::uint64_t free_chunk(RingPosition tail);
  void grow(RingPosition tail, SlotWord seen);
  bool help_tail(RingPosition tail, SlotWord word);
  bool help_head(RingPosition head, SlotWord word);

  RingState& state_;
  RingSeat& seat_;
  Participant& me_;
  std::byte* const base_;
  const std::uint64_t index_;
};

}  // namespace tandem::detail
