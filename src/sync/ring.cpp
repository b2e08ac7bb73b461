#include "sync/ring.hpp"

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
  advance_once(state_.tail, tail, behind(tail, word));
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
      advance_once(state_.head, head, behind(head, word));
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

// Whether the end is still where it was, and nobody has claimed it: who has may be about to move it on, and the front
// may be past it by then, so that what is told from the two is nonsense.
bool Ring::is_end(RingPosition tail, SlotWord seen) const {
  return slot_at(tail).load() == seen && load(state_.tail) == tail;
}

// A chunk at whose beginning items can go on: two slots, because the first one is to be an item.
std::uint64_t Ring::free_chunk(RingPosition tail) {
  for (std::uint64_t chunk = 0; chunk < RingState::kChunks && chunk_at(chunk) != 0; ++chunk) {
    if (chunk == tail.chunk() && tail.place() < 2) continue;
    if (is_free(slot_in(chunk, 0).load(), tail) && is_free(slot_in(chunk, 1).load(), tail.after(1))) return chunk;
  }
  return kNoChunk;
}

void Ring::grow(RingPosition tail, SlotWord seen) {
  RingLock lock(state_);
  if (free_chunk(tail) != kNoChunk || !is_end(tail, seen)) return;  // Somebody was faster.
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

// How many slots, from the end on, can be claimed at once: the one behind them must be free, too.
std::uint64_t Ring::free_run(RingPosition tail, std::uint64_t wanted) {
  std::uint64_t most = std::min(wanted, SlotWord::kLongestRun);
  if (state_.capacity != 0)
    most = std::min(most, state_.capacity - sequence_distance(sequence_of(seat_.head), tail.sequence()));
  std::uint64_t count = 0;
  while (count < most && tail.place() + count + 1 < slots_of(tail.chunk()) &&
         is_free(slot_at(tail.after(count + 1)).load(), tail.after(count + 1)))
    ++count;
  return std::bit_floor(count);
}

Ring::Claim Ring::claim_puts(std::uint64_t form, std::uint64_t wanted, RingPosition& at, std::uint64_t& count) {
  for (Backoff backoff;; backoff.pause()) {
    const RingPosition tail = load(state_.tail);
    RingSlot& slot = slot_at(tail);
    const SlotWord word = slot.load();
    // Numbers are compared for equality with an end that has not moved meanwhile.
    if (load(state_.tail) != tail) continue;
    if (help_tail(tail, word)) continue;
    if (word.sequence() == tail.sequence()) return Claim::Closed;
    TANDEM_KILL_POINT("queue.put.looked");
    if (is_full(tail)) {
      if (!is_end(tail, word)) continue;
      return Claim::Full;
    }
    count = free_run(tail, wanted);
    if (count == 0) {
      const std::uint64_t chunk = free_chunk(tail);
      if (chunk == kNoChunk) {
        grow(tail, word);
      } else if (slot.step(word, {SlotPhase::Jump, tail.sequence(), chunk})) {
        TANDEM_KILL_POINT("queue.ring.jumped");
      }
      continue;
    }
    if (slot.step(word, SlotWord(SlotPhase::Filling, tail.sequence(), index_, form).with_run(count))) {
      at = tail;
      TANDEM_KILL_POINT("queue.put.claimed");
      return Claim::Done;
    }
  }
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

std::uint64_t Ring::full_run(RingPosition head, std::uint64_t wanted) const {
  const std::uint64_t most = std::min(wanted, SlotWord::kLongestRun);
  std::uint64_t count = 1;
  while (count < most && head.place() + count < slots_of(head.chunk())) {
    const SlotWord word = slot_at(head.after(count)).load();
    if (word.phase() != SlotPhase::Full || word.sequence() != head.after(count).sequence()) break;
    ++count;
  }
  return std::bit_floor(count);
}

Ring::Front Ring::claim_gets(std::uint64_t wanted, RingPosition& at, std::uint64_t& count) {
  for (Backoff backoff;; backoff.pause()) {
    const RingPosition head = load(state_.head);
    RingSlot& slot = slot_at(head);
    const SlotWord word = slot.load();
    if (word.sequence() == head.sequence() && word.phase() == SlotPhase::Full) {
      // Nobody can take those behind it before it is taken itself.
      count = full_run(head, wanted);
      if (!slot.step(word, word.in_phase(SlotPhase::Taking, index_).with_run(count))) continue;
      at = head;
      TANDEM_KILL_POINT("queue.get.claimed");
      return Front::Item;
    }
    if (load(state_.head) != head || help_head(head, word)) continue;
    if (word.sequence() != head.sequence()) return Front::Nothing;
    return word.phase() == SlotPhase::End ? Front::End : Front::Filling;
  }
}

}  // namespace tandem::detail
