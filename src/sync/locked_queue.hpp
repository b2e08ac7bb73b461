/// A queue's lock and the steps on its lists; locked_queue_core.cpp makes put, get and the rest of them.
#pragma once

#include <new>
#include <optional>

#include "core/kill_point.hpp"
#include "ipc/members.hpp"
#include "sync/item_heap.hpp"
#include "sync/queue_layout.hpp"

namespace tandem::detail {

/// The queue's lock, which waiting leaves and takes again; and the steps on the queue's lists. Steps named on a
/// Transaction are not final before that is committed, so that several make one change.
class LockedQueue {
 public:
  /// `comparison` is what the PriorityQueue that is locked compares with; null for the other kinds.
  explicit LockedQueue(QueueState& state, CountWins comparison) : state_(state), count_wins_(comparison) {
    if (comparison != nullptr) refuse_while_comparing();
    lock();
  }

  QueueState& operator*() const { return state_; }
  CountWins count_wins() const { return count_wins_; }
  QueueState* operator->() const { return &state_; }
  Transaction& change() { return *change_; }
  void unlock() { change_.reset(); }
  void lock() { change_.emplace(state_.lock, Arena::instance().base()); }

  bool full() const { return state_.capacity != 0 && get(state_.ready_count) >= state_.capacity; }
  bool no_items() const { return get(state_.ready_count) == 0; }
  /// How many items are being received: each may still come back.
  std::uint64_t items_in_hands() const;
  bool drained() const { return no_items() && items_in_hands() == 0; }

  /// Waits until `ready()`, which is asked with the lock held. False if the deadline passed first.
  template <class Ready>
  bool wait(WaitPoint& point, const Deadline& deadline, Ready ready) {
    bool slept = false;
    while (!ready()) {
      if (deadline.passed()) return false;
      const WaitPoint::Ticket ticket = point.prepare();
      unlock();
      TANDEM_KILL_POINT("queue.sleep");
      point.sleep(ticket, deadline);
      sweep_family_if_due();
      TANDEM_KILL_POINT("queue.woken");
      lock();
      point.resume();
      slept = true;
    }
    // The waker woke one of perhaps many. Whoever leaves may leave something for the next.
    slept_ = slept;
    return true;
  }
  bool slept() const { return slept_; }

  /// Sees to it that there is memory for one more item among those that wait. What the caller has not committed yet is
  /// not allowed.
  void ensure_place() {
    if (has_heap()) heap().ensure_place();
  }
  /// Where an item belongs among those that wait: needed for a heap alone. It may run the user's code, so it comes
  /// before any change.
  std::uint64_t find_place(std::uint64_t node) { return has_heap() ? heap().find_place(node) : 0; }
  /// What a new item's Node::number must be.
  std::uint64_t next_number() { return has_heap() ? heap().next_number() : 0; }
  void put(Transaction& change, std::uint64_t node, std::uint64_t place) {
    if (!has_heap()) {
      prepend(change, node);
    } else {
      heap().insert(change, node, place);
      heap().count_in(change);
      heap().use_number(change);
    }
    change.set(state_.unfinished, get(state_.unfinished) + 1);
  }
  /// Puts the node that is this thread's pending block.
  void put_pending();

  /// Where the last item will belong when the first is taken; as find_place().
  std::uint64_t find_place_of_last() { return has_heap() ? heap().find_place_of_last() : 0; }
  /// Takes the item whose turn it is.
  std::uint64_t remove_first(Transaction& change, std::uint64_t place_of_last) {
    return has_heap() ? heap().remove_first(change, place_of_last) : remove_from_list(change);
  }
  /// An item in no order, and taking it: to discard it.
  std::uint64_t any_item() const { return has_heap() ? heap().last() : get(state_.ready_first); }
  std::uint64_t remove_any(Transaction& change) {
    return has_heap() ? heap().remove_last(change) : remove_from_list(change);
  }

  void add_claim(Transaction& change, std::uint64_t node, const Member& taker, Taken& taken) {
    const std::uint64_t first = get(state_.claims_first);
    node_at(node).received.store(0, std::memory_order_relaxed);  // Means nothing before the node is in the list.
    change.set(node_at(node).taken, arena_offset_of(&taken));
    change.set(taken.items, get(taken.items) + 1);
    change.set(node_at(node).next, first);
    change.set(node_at(node).previous, 0);
    change.set(node_at(node).taker, taker.slot);
    change.set(node_at(node).taker_generation, taker.generation);
    if (first != 0) change.set(node_at(first).previous, node);
    change.set(state_.claims_first, node);
  }

  void remove_claim(Transaction& change, std::uint64_t node) {
    const std::uint64_t next = get(node_at(node).next);
    const std::uint64_t previous = get(node_at(node).previous);
    if (next != 0) change.set(node_at(next).previous, previous);
    change.set(previous != 0 ? node_at(previous).next : state_.claims_first, next);
  }
  /// Puts a claimed item back to where its turn is next, or where its priority puts it.
  void give_back(std::uint64_t node);

  /// An empty node for a small item, in no list any more.
  std::uint64_t take_spare(Transaction& change) {
    const std::uint64_t node = get(state_.spare_first);
    change.set(state_.spare_first, get(node_at(node).next));
    change.set(state_.spare_count, get(state_.spare_count) - 1);
    return node;
  }
  void add_spare(Transaction& change, std::uint64_t node) {
    change.set(node_at(node).next, get(state_.spare_first));
    change.set(state_.spare_first, node);
    change.set(state_.spare_count, get(state_.spare_count) + 1);
  }
  /// Sees to it that there is a spare node. What the caller has not committed yet is not allowed.
  void ensure_spare() {
    if (get(state_.spare_first) != 0) return;
    Arena& arena = Arena::instance();
    ArenaChange arena_change(arena);
    Word& scratch = arena.header().scratch;
    static_cast<void>(arena.heap().allocate(arena_change, sizeof(Node) + kSmallBytes, scratch));
    new (arena.base() + get(scratch)) Node{};  // Its form must be that of a small node from the start.
    add_spare(arena_change, get(scratch));
    arena_change.set(scratch, 0);
    arena_change.commit();
  }

  /// Takes a node out of the queue: small ones are kept for reuse, others become the thread's
  /// pending block, which it frees when it has unlocked. All in one transaction with `take_off`, which removes the node
  /// from its list.
  template <class TakeOff>
  void retire(std::uint64_t offset, TakeOff take_off) {
    if ((node_at(offset).form() & kLargeNode) == 0 && get(state_.spare_count) < kMaxSpareNodes) {
      take_off(*change_);
      add_spare(*change_, offset);
      if (has_heap()) heap().count_out(*change_);
      change_->commit();
    } else {
      ThreadSlot& thread = this_thread_slot();  // May lock the arena.
      ArenaChange arena_change(Arena::instance());
      take_off(arena_change);
      make_pending(arena_change, thread, offset);
      if (has_heap()) heap().count_out(arena_change);
      arena_change.commit();
    }
    if (has_heap()) heap().release_spare_places();
  }

  void count_finished(Transaction& change, std::uint64_t items) {
    change.set(state_.unfinished, get(state_.unfinished) - items);
  }

  /// This process's record of what it has taken.
  Taken& taken_by_this_process();
  /// Clears away what was received, looking at no more than so many claims.
  void clear_received(std::uint64_t most = ~std::uint64_t{0});
  /// Hands back what dead threads were receiving.
  void take_over_claims();
  /// The same if nobody has looked for as long as a death may go unnoticed: for takers that never find the queue empty.
  void take_over_claims_if_due();
  /// Frees all items that wait, as done.
  void discard_items();
  /// Frees all that the queue consists of but for its body, one transaction each. Nobody has a handle to it any more.
  void take_apart();
  bool is_claimed_for(std::uint64_t taken) const;
  /// Marks done what dead processes had taken.
  void finish_for_the_dead();

 private:
  bool has_heap() const { return state_.order == kSmallestFirst; }
  ItemHeap heap() const { return {reinterpret_cast<PriorityState&>(state_), count_wins_}; }
  void prepend(Transaction& change, std::uint64_t node) {
    change.set(node_at(node).next, get(state_.ready_first));
    change.set(state_.ready_first, node);
    change.set(state_.ready_count, get(state_.ready_count) + 1);
  }
  std::uint64_t remove_from_list(Transaction& change) {
    const std::uint64_t node = get(state_.ready_first);
    change.set(state_.ready_first, get(node_at(node).next));
    change.set(state_.ready_count, get(state_.ready_count) - 1);
    return node;
  }
  static void make_pending(ArenaChange& change, ThreadSlot& thread, std::uint64_t node);
  void free_list(Word& first);

  QueueState& state_;
  const CountWins count_wins_;
  std::optional<Transaction> change_;
  bool slept_ = false;
};

}  // namespace tandem::detail
