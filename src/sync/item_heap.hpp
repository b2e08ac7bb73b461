/// The waiting items of a PriorityQueue: a binary heap in the arena, its first item the smallest.
#pragma once

#include <cstdint>

#include <tandem/detail/locked_queue_core.hpp>

#include "ipc/members.hpp"
#include "sync/queue_layout.hpp"

namespace tandem::detail {

/// The heap of a locked queue. Comparing comes before changing: a search runs the user's code while nothing is changed
/// yet, so that whether that code throws or its process is killed there, all is as it was. The changes behind it are
/// one word for each level of the heap.
///
/// Threads and processes: every member needs the queue's lock.
/// Killed peers: every change is part of a transaction. A block on its way into the heap or out of it is owned by the
/// word `moving`, where those who come later find and free it.
class ItemHeap {
 public:
  ItemHeap(PriorityState& state, CountWins count_wins) : state_(state), count_wins_(count_wins) {}

  /// Sees to it that there is a place for one item more than are waiting or in somebody's hands: what goes back needs
  /// no memory. Throws std::system_error if the arena is full.
  void ensure_place();
  /// Gives back memory for places once the heap needs only a fraction of what it has.
  void release_spare_places();
  ///  /// Gives back all of it. Called again if the caller is killed in between.
  void release_all_places();
  /// Frees what who was killed had on its way.
  void free_moving();

  /// Where a node that is not in the heap belongs.
  std::uint64_t find_place(std::uint64_t node) const;
  /// The place behind all others, for a node that cannot be compared.
  std::uint64_t last_place() const { return count() + 1; }
  /// Puts a node into a place, which must have been found since the last change.
  void insert(Transaction& change, std::uint64_t node, std::uint64_t place);
  /// Takes over the thread's pending node, because the code that compares may need the thread's only pending block: it
  /// decodes, and an item that is decoded may make and drop shared objects. The insertion ends with moved().
  std::uint64_t take_over_pending(ThreadSlot& thread);
  void moved(Transaction& change);

  /// Where the last node belongs when the first is gone.
  std::uint64_t find_place_of_last() const;
  /// Takes the first node out; the last one goes to that place.
  std::uint64_t remove_first(Transaction& change, std::uint64_t place_of_last);
  /// The node in the last place, and taking it out: without comparing.
  std::uint64_t last() const { return get(node_in(count())); }
  std::uint64_t remove_last(Transaction& change);

  void count_in(Transaction& change) { change.set(state_.places, get(state_.places) + 1); }
  void count_out(Transaction& change) { change.set(state_.places, get(state_.places) - 1); }
  /// The number that the next item put gets, and that it has it.
  std::uint64_t next_number() const { return get(state_.next_number); }
  void use_number(Transaction& change) { change.set(state_.next_number, next_number() + 1); }

 private:
  std::uint64_t count() const { return get(state_.queue.ready_count); }
  Word& node_in(std::uint64_t place) const;
  std::uint64_t wins_of(std::uint64_t node, Rivals rivals) const;
  Rival rival_in(std::uint64_t place, std::uint64_t number) const;
  bool comes_before(std::uint64_t place, std::uint64_t other) const;

  PriorityState& state_;
  const CountWins count_wins_;
};

/// Throws UsedWhileComparing if the calling thread is comparing items just now.
void refuse_while_comparing();

}  // namespace tandem::detail
