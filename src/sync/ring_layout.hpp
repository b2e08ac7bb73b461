/// What a Queue looks like in the arena. docs/internals/queue.md has the picture and the proof; tests/model/ring.pml
/// the model.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "ipc/arena.hpp"
#include "ipc/futex.hpp"
#include "ipc/members.hpp"
#include "ipc/shared_lock.hpp"

namespace tandem::detail {

/// Sequence numbers of items, modulo 2^37: they are compared only within the window of items that a queue holds, or for
/// equality by one who has just seen that the end of the queue which they belong to has not moved.
inline constexpr int kSequenceShift = 27;
inline constexpr std::uint64_t kOneSequence = std::uint64_t{1} << kSequenceShift;
constexpr std::uint64_t sequence_of(std::uint64_t word) noexcept {
  return word >> kSequenceShift;
}
/// How far `later` is behind `earlier`.
constexpr std::uint64_t sequence_distance(std::uint64_t earlier, std::uint64_t later) noexcept {
  return ((later << kSequenceShift) - (earlier << kSequenceShift)) >> kSequenceShift;
}
/// Whether `one` is that of the older of two items that a queue holds at the same time.
constexpr bool is_earlier(std::uint64_t one, std::uint64_t other) noexcept {
  const std::uint64_t distance = sequence_distance(one, other);
  return distance != 0 && distance >> (63 - kSequenceShift) == 0;
}

/// One end of the ring in one word: where the item with this number is, or will be. Value.
///
///   bits 0 to 4: chunk   5 to 26: place in the chunk   27 to 63: number
class RingPosition {
 public:
  static constexpr int kChunkBits = 5;
  static constexpr int kPlaceBits = 22;

  explicit constexpr RingPosition(std::uint64_t word) noexcept : word_(word) {}
  constexpr RingPosition(std::uint64_t sequence, std::uint64_t chunk, std::uint64_t place) noexcept
      : word_(sequence << kSequenceShift | place << kChunkBits | chunk) {}

  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr std::uint64_t sequence() const noexcept { return sequence_of(word_); }
  constexpr std::uint64_t chunk() const noexcept { return word_ & ((1U << kChunkBits) - 1); }
  constexpr std::uint64_t place() const noexcept { return word_ >> kChunkBits & ((1U << kPlaceBits) - 1); }
  /// The one `count` items on, in the same chunk.
  constexpr RingPosition after(std::uint64_t count) const noexcept {
    return RingPosition(word_ + count * (kOneSequence + (std::uint64_t{1} << kChunkBits)));
  }
  /// The same number at the beginning of another chunk.
  constexpr RingPosition moved_to(std::uint64_t chunk) const noexcept { return {sequence(), chunk, 0}; }

  friend constexpr bool operator==(RingPosition, RingPosition) = default;

 private:
  std::uint64_t word_;
};

/// What a slot is in the midst of. Who may change it from which to which is in docs/internals/queue.md.
enum class SlotPhase : std::uint64_t {
  Empty,     ///< Its number has come and gone.
  Filling,   ///< Claimed by one who puts.
  Full,      ///< An item.
  Taking,    ///< Claimed by one who gets.
  Returned,  ///< An item whose taker died; the front of the ring is past it.
  Hole,      ///< Its putter died: the number has no item.
  Jump,      ///< The number goes on at the beginning of another chunk.
  End,       ///< The queue is closed: nothing comes behind.
};

/// The word of a slot, which one compare-and-swap changes. Value.
///
///   bits 0 to 2: SlotPhase   3 to 14: who has claimed it, or the chunk to jump to   15 to 21: bytes of an item inside,
///   if not all are of one size   22: the item is a Cargo of its own   23 to 25: a claim is of so many slots, from this
///   one on, as a power of two   27 to 63: number
class SlotWord {
 public:
  static constexpr int kParticipantBits = 12;
  static constexpr int kSizeBits = 7;
  static constexpr std::uint64_t kLongestRun = 128;

  explicit constexpr SlotWord(std::uint64_t word) noexcept : word_(word) {}
  constexpr SlotWord(SlotPhase phase, std::uint64_t sequence, std::uint64_t who = 0, std::uint64_t form = 0) noexcept
      : word_(static_cast<std::uint64_t>(phase) | who << 3 | form << 15 | sequence << kSequenceShift) {}
  /// What an item is: its bytes, if they are in the slot.
  static constexpr std::uint64_t small(std::uint64_t size) noexcept { return size; }
  static constexpr std::uint64_t kLarge = std::uint64_t{1} << kSizeBits;

  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr SlotPhase phase() const noexcept { return static_cast<SlotPhase>(word_ & 7); }
  constexpr std::uint64_t who() const noexcept { return word_ >> 3 & ((1U << kParticipantBits) - 1); }
  constexpr std::uint64_t form() const noexcept { return word_ >> 15 & (2 * kLarge - 1); }
  constexpr std::uint64_t size() const noexcept { return form() & (kLarge - 1); }
  constexpr bool is_large() const noexcept { return (form() & kLarge) != 0; }
  constexpr std::uint64_t sequence() const noexcept { return sequence_of(word_); }
  /// The same number and item.
  constexpr SlotWord in_phase(SlotPhase phase, std::uint64_t participant = 0) const noexcept {
    return {phase, sequence(), participant, form()};
  }
  /// How many slots the claim is of: those behind this one are claimed with it, whatever their words say.
  constexpr std::uint64_t run() const noexcept { return std::uint64_t{1} << (word_ >> 23 & 7); }
  constexpr SlotWord with_run(std::uint64_t run) const noexcept {
    return SlotWord(word_ | static_cast<std::uint64_t>(std::countr_zero(run)) << 23);
  }
  constexpr bool is_claimed() const noexcept { return phase() == SlotPhase::Filling || phase() == SlotPhase::Taking; }
  constexpr bool is_claimed_by(std::uint64_t participant) const noexcept {
    return is_claimed() && who() == participant;
  }

  friend constexpr bool operator==(SlotWord, SlotWord) = default;

 private:
  std::uint64_t word_;
};

/// A slot: its word, then the item or the offset of its Cargo.
struct RingSlot {
  Word word;
  Word cargo;  // If SlotWord::is_large(); otherwise the item begins here.
  SlotWord load() const noexcept { return SlotWord(word.load(std::memory_order_acquire)); }
  /// One step from what the slot was seen as. Fails if it is something else by now.
  bool step(SlotWord from, SlotWord to) noexcept {
    std::uint64_t expected = from.word();
    return word.compare_exchange_strong(expected, to.word(), std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  /// A step of a slot that nobody else may change: SYNC(slot), release here and acquire in load() or step().
  void set(SlotWord to) noexcept { word.store(to.word(), std::memory_order_release); }
  std::byte* bytes() noexcept { return reinterpret_cast<std::byte*>(&cargo); }
};
static_assert(sizeof(RingSlot) == 16, "layout in shared memory");

/// What a thread does with a queue. One line of the cache, which its thread alone writes while it lives; so the counts
/// cost plain stores.
///
/// A count changes in the instant in which its items are put or taken for good: of one who died with a mark set, the
/// count tells whether the slots in its name are still to be undone or to be finished.
struct alignas(64) Participant {
  Word owner;  // An Owner; 0: free. Without a thread's number: what the ended threads of a process have left.
  Word thread_slot;
  Word thread_generation;
  Word puts;
  Word put_mark;  // While slots are claimed: 1 more than `puts` was then.
  Word gets;
  Word get_mark;
  Word dones;  // Calls of task_done().
};
static_assert(sizeof(Participant) == 64, "layout in shared memory");

/// The body of a queue, at the first line of the cache in its object.
struct alignas(64) RingState {
  static constexpr std::size_t kChunks = std::size_t{1} << RingPosition::kChunkBits;
  static constexpr std::uint64_t kLargestChunk = std::uint64_t{1} << RingPosition::kPlaceBits;
  static constexpr std::size_t kTables = 10;
  static constexpr std::uint64_t kFirstTable = 8;

  // Constant after construction.
  std::uint64_t capacity;      // 0: no bound.
  std::uint64_t slot_bytes;    // From one slot to the next.
  std::uint64_t inline_bytes;  // Items up to this size are in their slots.
  std::uint64_t plain_bytes;   // The size of all items, if it is one; otherwise 0.
  std::uint64_t
      first_slots;  // Slots of the first chunk, a power of two; chunk k > 0 has that << (k - 1), up to a limit.

  // Rarely changed.
  Word closed;       // A Closing; only grows.
  Word seen_deaths;  // ArenaHeader::deaths when somebody last looked for the dead.
  Word returned;     // There may be slots in the phase Returned.
  Word disturbed;    // There have been Holes or Returned ones, so that size() must not be told from the ends.
  Word chunks[kChunks];

  // Guarded by `lock`, as are all changes of who participates and of what the dead leave.
  Word tables[kTables];    // Of participants: kFirstTable in the first, which is in the object; each as large as all
                           // before.
  Word puts, gets, dones;  // Of participants that are no more.
  Word dones_of_others;    // Some thread has marked done what another one took.
  Word growing;            // A block on its way into `chunks` or `tables`.
  SharedLock lock;

  alignas(64) Word tail;           // Where the next item goes. A hint that lags: the slots decide.
  WaitPoint items;                 // get() waits here,
  alignas(64) Word head;           // Where the next one is.
  WaitPoint space;                 // put() here,
  alignas(64) WaitPoint finished;  // and join() here.
};

}  // namespace tandem::detail
