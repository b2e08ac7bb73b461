/// What a LifoQueue and a PriorityQueue look like in the arena. docs/internals/queue.md has the picture.
#pragma once

#include <cstddef>
#include <cstdint>

#include <tandem/detail/locked_queue_core.hpp>

#include "ipc/arena.hpp"
#include "ipc/family.hpp"
#include "ipc/futex.hpp"
#include "ipc/shared_lock.hpp"
#include "sync/queue_closing.hpp"

namespace tandem::detail {

enum NodeForm : std::uint64_t {
  kLargeNode = 1,  // The item is a Cargo behind the node; otherwise its bytes are.
  kPlainItem = 2,  // Receiving it copies bytes and runs no code of the user's.
};

/// One item, in a block of its own. A node is at every instant in exactly one list or heap of the queue, or some
/// thread's pending block.
struct Node {
  Word next;              // In all lists.
  Word previous;          // In the list of claims only.
  Word taker;             // In the list of claims: slot and
  Word taker_generation;  // generation of the thread that is receiving the item,
  Word taken;             // offset of its process's Taken, and
  Word received;  // whether its get() is about to return, which makes the item its own. Stored without the lock.

  // Constant while the node carries the item.
  std::uint64_t description;  // 2 bits: NodeForm flags. 7: size in bytes of a small node's item; a large one's cargo
                              // knows. 55: in a PriorityQueue, how many items were put before it; ten million a second
                              // would need a hundred years to use them up.

  void describe(std::uint64_t form, std::uint64_t small_size, std::uint64_t number) noexcept {
    description = form | small_size << 2 | number << 9;
  }
  std::uint64_t form() const noexcept { return description & 3; }
  std::uint64_t small_size() const noexcept { return description >> 2 & 127; }
  std::uint64_t number() const noexcept { return description >> 9; }

  std::byte* small_bytes() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
  const std::byte* small_bytes() const noexcept { return reinterpret_cast<const std::byte*>(this + 1); }
  Cargo& cargo() noexcept { return *reinterpret_cast<Cargo*>(this + 1); }
  const Cargo& cargo() const noexcept { return *reinterpret_cast<const Cargo*>(this + 1); }
  ItemView view() const noexcept {
    if ((form() & kLargeNode) == 0) return {{small_bytes(), small_size()}};
    return {{cargo().bytes(), cargo().size_bytes}};
  }
};
static_assert(sizeof(Node) == 56 && alignof(Node) == 8, "layout in shared memory");

inline Node& node_at(std::uint64_t offset) {
  return Arena::instance().at<Node>(offset);
}

/// Items up to this size travel in nodes that the queue keeps for reuse. A node then takes 144 bytes of the arena.
inline constexpr std::size_t kSmallBytes = 72;
static_assert(kSmallBytes < 128, "fits into Node::description");
/// Blocks of items up to this size are given back by the next who locks the queue; larger ones, whose memory would be
/// missed, at once.
inline constexpr std::size_t kFreedLaterBytes = 64 << 10;
/// How many nodes for small items a queue keeps for reuse.
inline constexpr std::uint64_t kMaxSpareNodes = 4096;

/// What a process has taken and not yet marked done: if it dies, join() must not wait for it.
struct Taken {
  Word next;
  Word process;             // Slot and
  Word process_generation;  // generation.
  Word items;
};
static_assert(sizeof(Taken) == 32, "layout in shared memory");

enum QueueOrder : std::uint64_t { kNewestFirst, kSmallestFirst };

/// The body of a queue. All words are guarded by `lock`; a change that also concerns the allocator or the holds of
/// objects is one transaction of the arena's lock, made while holding this one. A process killed anywhere leaves each
/// list as before or as after its change; items in `claims` that a dead taker had not received go back to the front, or
/// to their place in the heap.
struct QueueState {
  SharedLock lock;
  std::uint64_t capacity;  // Constant. 0: no bound.
  std::uint64_t order;     // Constant: a QueueOrder.

  Word ready_first;  // Items waiting, in the order in which they are taken; unused in a PriorityQueue.
  Word ready_count;
  Word claims_first;  // Items being received, and received ones that nobody has cleared away yet.
  Word spare_first;   // Empty nodes for small items.
  Word spare_count;
  Word unfinished;  // Items put and not yet marked done.
  Word taken_first;
  Word closed;        // A Closing; only grows.
  Word last_look_ns;  // When somebody last looked for dead takers, on the steady clock; a hint.

  // Hints; see WaitPoint.
  WaitPoint items;     // get() waits here,
  WaitPoint space;     // put() here,
  WaitPoint finished;  // and join() here.
};
static_assert(alignof(QueueState) == 8, "layout in shared memory");

/// The body of a PriorityQueue, whose waiting items are a heap instead of a list: see ItemHeap.
struct PriorityState {
  static constexpr std::size_t kSegments = 32;  // Enough for 2^37 items, more than the arena holds.

  QueueState queue;
  Word segments[kSegments];  // Offsets of the blocks that hold the heap's places, each a node's offset; 0: not there.
  Word moving;               // A block on its way into the heap or out of it: of places, or a node.
  Word moving_cargo;         // Offset of the cargo in that block whose holds must be given back first; 0 if none.
  Word places;               // Items that need a place: those waiting, and those in `claims`, which may come back.
  Word next_number;          // How many items were put so far.
};

}  // namespace tandem::detail
