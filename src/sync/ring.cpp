#include "sync/ring.hpp"

#include <cstring>
#include <system_error>

#include "sync/ring_members.hpp"

namespace tandem::detail {
namespace {

constexpr std::uint64_t kNoChunk = RingState::kChunks;

/// Lets who was faster do several steps in a row with what both fight for in its own cache.
class Backoff {
 public:
  void pause() {
    for (int i = 0; i < pauses_; ++i) __builtin_ia32_pause();
    pauses_ = std::min(2 * pauses_, kMost);
  }

 private:
  static constexpr int kMost = 32;
  int pauses_ = 1;
};

}  // namespace

// --- the ends

void Ring::advance_in_steps(Word& end, RingPosition first, std::uint64_t count) {
  const RingPosition wanted = first.after(count);
  // Who helps does it one by one, so the end may be anywhere between.
  for (RingPosition now = first; !advance_once(end, now, wanted);) {
    now = load(end);
    const std::uint64_t left = sequence_distance(now.sequence(), wanted.sequence());
    if (left == 0 || left > count) return;
  }
}

bool Ring::help_tail(RingPosition tail, SlotWord word) {
  if (word.sequence() != tail.sequence() || word.phase() == SlotPhase::End) return false;
  advance_once(state_.tail, tail, word.phase() == SlotPhase::Jump ? tail.moved_to(word.who()) : tail.after(1));
  return true;
}

bool Ring::help_head(RingPosition head, SlotWord word) {
  if (word.sequence() != head.sequence()) return false;
  switch (word.phase()) {
    case SlotPhase::Filling:
    case SlotPhase::Full:
    case SlotPhase::End:
      return false;
    default:
      advance_once(state_.head, head, word.phase() == SlotPhase::Jump ? head.moved_to(word.who()) : head.after(1));
      return true;
  }
}

std::uint64_t Ring::length() {
  RingPosition head = load(state_.head), tail = load(state_.tail);
  while (help_tail(tail, slot_at(tail).load())) tail = load(state_.tail);
  while (help_head(head, slot_at(head).load())) head = load(state_.head);
  // The front may have moved since: then it is behind the end that was read.
  const std::uint64_t length = sequence_distance(head.sequence(), tail.sequence());
  return length >> (63 - kSequenceShift - 1) != 0 ? 0 : length;
}

// --- room

bool Ring::is_still_full(RingPosition tail) {
  RingPosition head = load(state_.head);
  while (help_head(head, slot_at(head).load())) head = load(state_.head);
  seat_.head = head.word();
  return seems_full(tail);
}

// A chunk at whose beginning items can go on: two slots, because the first one is to be an item.
std::uint64_t Ring::free_chunk(RingPosition tail) {
  for (std::uint64_t chunk = 0; chunk < RingState::kChunks && get(state_.chunks[chunk]) != 0; ++chunk) {
    if (chunk == tail.chunk() && tail.place() < 2) continue;
    if (is_free(slot_in(chunk, 0).load(), tail) && is_free(slot_in(chunk, 1).load(), tail)) return chunk;
  }
  return kNoChunk;
}

void Ring::grow(RingPosition tail) {
  RingLock lock(state_);
  if (free_chunk(tail) != kNoChunk || load(state_.tail) != tail) return;  // Somebody was faster.
  std::uint64_t chunk = 0;
  while (chunk < RingState::kChunks && get(state_.chunks[chunk]) != 0) ++chunk;
  if (chunk == RingState::kChunks)
    throw std::system_error(ENOSPC, std::generic_category(), "a queue cannot hold more items");
  lock.add_block(state_.chunks[chunk], slots_of(chunk) * state_.slot_bytes);
  TANDEM_KILL_POINT("queue.ring.grown");
}

// --- pauses

namespace {

void pause(int times) {
  for (int i = 0; i < times; ++i) __builtin_ia32_pause();
}

}  // namespace

void Ring::wait_for_much_space() {
  constexpr int kFirst = 8, kLast = 64;  // Each look twice as late as the one before: 120 pauses, 24 ns each here.
  const RingPosition tail = load(state_.tail);
  for (int times = kFirst; times <= kLast; times *= 2) {
    pause(times);
    seat_.head = load(state_.head).word();
    const std::uint64_t length = sequence_distance(sequence_of(seat_.head), tail.sequence());
    if (length + state_.capacity / 8 <= state_.capacity && length < state_.capacity) return;
  }
}

void Ring::wait_for_much_to_take() {
  constexpr std::uint32_t kProbes = 16;
  constexpr int kPauses = 30;  // Less than a microsecond.
  // One who waits for single letters gets one each time. Now and then it is tried out whether more would come.
  seat_.expects_stream = seat_.expects_stream ? get(me_.gets) - seat_.gets_at_wait > 1 : ++seat_.waits % kProbes == 0;
  seat_.gets_at_wait = get(me_.gets);
  if (seat_.expects_stream) pause(kPauses);
}

// --- putting

Ring::Claim Ring::claim_put_in_loop(std::uint64_t form, RingPosition& at) {
  for (Backoff backoff;; backoff.pause()) {
    const RingPosition tail = load(state_.tail);
    RingSlot& slot = slot_at(tail);
    const SlotWord word = slot.load();
    // Numbers are compared for equality with an end that has not moved meanwhile.
    if (load(state_.tail) != tail) continue;
    if (help_tail(tail, word)) continue;
    if (word.sequence() == tail.sequence()) return Claim::Closed;
    if (is_full(tail)) {
      if (load(state_.tail) != tail) continue;
      return Claim::Full;
    }
    if (!next_is_free(tail)) {
      const std::uint64_t chunk = free_chunk(tail);
      if (chunk == kNoChunk) {
        grow(tail);
      } else if (slot.step(word, {SlotPhase::Jump, tail.sequence(), chunk})) {
        TANDEM_KILL_POINT("queue.ring.jumped");
      }
      continue;
    }
    if (slot.step(word, {SlotPhase::Filling, tail.sequence(), index_, form})) {
      at = tail;
      TANDEM_KILL_POINT("queue.put.claimed");
      return Claim::Done;
    }
  }
}

bool Ring::claim_next_put(std::uint64_t form, RingPosition& at) {
  const RingPosition next = at.after(1);
  // The one before is this thread's own and not yet an item, so that the front cannot have come this far.
  RingSlot& slot = slot_at(next);
  const SlotWord word = slot.load();
  if (word.sequence() == next.sequence() || !is_free(word, next) || is_full(next) || !next_is_free(next)) return false;
  if (!slot.step(word, {SlotPhase::Filling, next.sequence(), index_, form})) return false;
  at = next;
  TANDEM_KILL_POINT("queue.put.claimed");
  return true;
}

void Ring::put_end() {
  for (;;) {
    const RingPosition tail = load(state_.tail);
    RingSlot& slot = slot_at(tail);
    const SlotWord word = slot.load();
    if (load(state_.tail) != tail || help_tail(tail, word)) continue;
    if (word.sequence() == tail.sequence() || slot.step(word, {SlotPhase::End, tail.sequence()})) return;
  }
}

// --- taking

Ring::Front Ring::look() {
  for (;;) {
    const RingPosition head = load(state_.head);
    const SlotWord word = slot_at(head).load();
    if (load(state_.head) != head || help_head(head, word)) continue;
    if (word.sequence() != head.sequence()) return Front::Nothing;
    if (word.phase() == SlotPhase::Full) return Front::Item;
    return word.phase() == SlotPhase::End ? Front::End : Front::Filling;
  }
}

Ring::Front Ring::claim_get_in_loop(RingPosition& at) {
  for (Backoff backoff;; backoff.pause()) {
    const RingPosition head = load(state_.head);
    RingSlot& slot = slot_at(head);
    const SlotWord word = slot.load();
    if (word.sequence() == head.sequence() && word.phase() == SlotPhase::Full) {
      if (!slot.step(word, word.in_phase(SlotPhase::Taking, index_))) continue;
      at = head;
      TANDEM_KILL_POINT("queue.get.claimed");
      return Front::Item;
    }
    if (load(state_.head) != head || help_head(head, word)) continue;
    if (word.sequence() != head.sequence()) return Front::Nothing;
    return word.phase() == SlotPhase::End ? Front::End : Front::Filling;
  }
}

bool Ring::claim_next_get(RingPosition& at) {
  const RingPosition next = at.after(1);
  RingSlot& slot = slot_at(next);
  const SlotWord word = slot.load();
  if (word.sequence() != next.sequence() || word.phase() != SlotPhase::Full) return false;
  if (!slot.step(word, word.in_phase(SlotPhase::Taking, index_))) return false;
  at = next;
  TANDEM_KILL_POINT("queue.get.claimed");
  return true;
}

}  // namespace tandem::detail
