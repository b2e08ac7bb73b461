#include "sync/locked_queue.hpp"

#include <cxxabi.h>

#include <algorithm>

namespace tandem::detail {

// --- the items that wait

void LockedQueue::put_pending() {
  ThreadSlot& thread = this_thread_slot();
  if (!has_heap()) {
    ArenaChange change(Arena::instance());
    put(change, get(thread.pending), 0);
    change.set(thread.pending, 0);
    change.set(thread.pending_cargo, 0);
    change.commit();
    return;
  }
  heap().ensure_place();
  const std::uint64_t node = heap().take_over_pending(thread);
  node_at(node).describe(node_at(node).form(), 0, heap().next_number());
  std::uint64_t place = 0;
  try {
    place = heap().find_place(node);
  } catch (...) {
    heap().free_moving();
    throw;
  }
  put(*change_, node, place);
  heap().moved(*change_);
  change_->commit();
}

void LockedQueue::give_back(std::uint64_t node) {
  std::uint64_t place = 0;
  try {
    place = find_place(node);
  } catch (const abi::__forced_unwind&) {
    throw;  // This thread ends; then others give the item back.
  } catch (...) {
    // What the user's code throws concerns those who put and take. This must not fail: nobody would do it again.
    place = heap().last_place();
  }
  remove_claim(*change_, node);
  if (has_heap()) {
    heap().insert(*change_, node, place);
  } else {
    prepend(*change_, node);
  }
  Taken& taken = Arena::instance().at<Taken>(get(node_at(node).taken));
  change_->set(taken.items, get(taken.items) - 1);
  change_->commit();
}

// --- the items that are taken

Taken& LockedQueue::taken_by_this_process() {
  Arena& arena = Arena::instance();
  const Member me = this_process();
  for (std::uint64_t at = get(state_.taken_first); at != 0; at = get(arena.at<Taken>(at).next)) {
    auto& taken = arena.at<Taken>(at);
    if (get(taken.process) == me.slot && get(taken.process_generation) == me.generation) return taken;
  }
  finish_for_the_dead();  // Otherwise the records of short-lived processes would pile up.
  ArenaChange arena_change(arena);
  Word& scratch = arena.header().scratch;
  static_cast<void>(arena.heap().allocate(arena_change, sizeof(Taken), scratch, Heap::Use::Record));
  auto& taken = arena.at<Taken>(get(scratch));
  arena_change.set(taken.next, get(state_.taken_first));
  arena_change.set(taken.process, me.slot);
  arena_change.set(taken.process_generation, me.generation);
  arena_change.set(taken.items, 0);
  arena_change.set(state_.taken_first, get(scratch));
  arena_change.set(scratch, 0);
  arena_change.commit();
  return taken;
}

namespace {

bool is_received(const Node& node) {
  // SYNC(received): acquire here, release in locked_queue_core.cpp's ItemsInHand. Otherwise the node could be filled
  // anew while its last taker's reads of the old item are still under way.
  return node.received.load(std::memory_order_acquire) != 0;
}

}  // namespace

std::uint64_t LockedQueue::items_in_hands() const {
  std::uint64_t items = 0;
  for (std::uint64_t at = get(state_.claims_first); at != 0; at = get(node_at(at).next))
    items += is_received(node_at(at)) ? 0 : 1;
  return items;
}

bool LockedQueue::is_claimed_for(std::uint64_t taken) const {
  for (std::uint64_t at = get(state_.claims_first); at != 0; at = get(node_at(at).next))
    if (get(node_at(at).taken) == taken) return true;
  return false;
}

void LockedQueue::clear_received(std::uint64_t most) {
  std::uint64_t at = get(state_.claims_first);
  for (std::uint64_t looked = 0; at != 0 && looked < most; ++looked) {
    const std::uint64_t offset = at;
    at = get(node_at(offset).next);
    if (!is_received(node_at(offset))) continue;
    retire(offset, [&](Transaction& change) { remove_claim(change, offset); });
    free_pending();
  }
}

void LockedQueue::take_over_claims() {
  clear_received();
  if (has_heap()) heap().free_moving();
  for (std::uint64_t at = get(state_.claims_first); at != 0;) {
    const std::uint64_t offset = at;
    Node& node = node_at(offset);
    at = get(node.next);
    bool dead = false;
    {
      ArenaChange arena_change(Arena::instance());
      dead = thread_is_dead(arena_change, {get(node.taker), get(node.taker_generation)});
    }
    if (!dead) continue;
    // It may have died with its very last step, after the look above; then the item was its own.
    if (is_received(node)) continue;
    if (get(state_.closed) == kDiscarded) {
      retire(offset, [&](Transaction& change) {
        remove_claim(change, offset);
        change.set(state_.unfinished, get(state_.unfinished) - 1);
      });
      free_pending();
    } else {
      give_back(offset);
    }
    TANDEM_KILL_POINT("queue.taken_over");
  }
}

void LockedQueue::take_over_claims_if_due() {
  if (get(state_.claims_first) == 0) return;
  const auto now = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  if (now - get(state_.last_look_ns) < static_cast<std::uint64_t>(std::chrono::nanoseconds(kLongestSleep).count()))
    return;
  state_.last_look_ns.store(now, std::memory_order_relaxed);
  take_over_claims();
}

void LockedQueue::discard_items() {
  while (!no_items()) {
    retire(any_item(), [&](Transaction& change) {
      remove_any(change);
      count_finished(change, 1);
    });
    free_pending();
  }
}

void LockedQueue::make_pending(ArenaChange& change, ThreadSlot& thread, std::uint64_t offset) {
  Node& node = node_at(offset);
  change.set(thread.pending, offset);
  if ((node.form() & kLargeNode) != 0 && get(node.cargo().references) != 0)
    change.set(thread.pending_cargo, arena_offset_of(&node.cargo()));
}

void LockedQueue::free_list(Word& first) {
  while (get(first) != 0) {
    {
      ThreadSlot& thread = this_thread_slot();
      ArenaChange change(Arena::instance());
      make_pending(change, thread, get(first));
      change.set(first, get(node_at(get(first)).next));
      change.commit();
    }
    free_pending();
  }
}

void LockedQueue::take_apart() {
  Arena& arena = Arena::instance();
  while (has_heap() && !no_items()) {
    {
      ThreadSlot& thread = this_thread_slot();
      ArenaChange change(arena);
      make_pending(change, thread, remove_any(change));
      change.commit();
    }
    free_pending();
  }
  free_list(state_.ready_first);
  free_list(state_.claims_first);
  free_list(state_.spare_first);
  if (has_heap()) heap().release_all_places();
  while (get(state_.taken_first) != 0) {
    ArenaChange change(arena);
    change.set(arena.header().scratch, get(state_.taken_first));
    change.set(state_.taken_first, get(arena.at<Taken>(get(state_.taken_first)).next));
    arena.heap().free(change, arena.header().scratch);
    change.commit();
  }
}

void LockedQueue::finish_for_the_dead() {
  Arena& arena = Arena::instance();
  take_over_claims();
  Word* link = &state_.taken_first;
  while (get(*link) != 0) {
    auto& taken = arena.at<Taken>(get(*link));
    ArenaChange arena_change(arena);
    // A claim that refers to the record must be settled first: its process may have died this instant.
    if (is_claimed_for(get(*link)) ||
        !process_is_dead(arena_change, {get(taken.process), get(taken.process_generation)})) {
      link = &taken.next;
      continue;
    }
    // Items that are waiting or being received were not taken, whatever the counts say: a process may mark done what
    // another one took.
    const std::uint64_t untaken = get(state_.ready_count) + items_in_hands();
    const std::uint64_t unfinished = get(state_.unfinished);
    const std::uint64_t most = unfinished > untaken ? unfinished - untaken : 0;
    arena_change.set(state_.unfinished, unfinished - std::min(get(taken.items), most));
    arena_change.set(arena.header().scratch, get(*link));
    arena_change.set(*link, get(taken.next));
    arena.heap().free(arena_change, arena.header().scratch);
    arena_change.commit();
  }
  if (get(state_.unfinished) == 0 && state_.finished.announce()) state_.finished.wake_all();
}

}  // namespace tandem::detail
