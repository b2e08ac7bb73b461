#include "sync/wait_list.hpp"

#include <new>

#include "ipc/futex.hpp"

namespace tandem::detail {

void WaitListState::destroy() {
  // The lock is taken because one who was killed may have left a change half made.
  LockedWaitList list(*this);
  Arena& arena = Arena::instance();
  for (Word* head : {&first, &spare_first}) {
    while (get(*head) != 0) {
      ArenaChange change(arena);
      change.set(arena.header().scratch, get(*head));
      change.set(*head, get(LockedWaitList::at(get(*head)).next));
      arena.heap().free(change, arena.header().scratch);
      change.commit();
    }
  }
}

namespace {

void wake(WaitNode& node) {
  // SYNC(wait-list): made quiet under the lock by who finds nothing to hear, and changed by who has told it something;
  // so a sleep begins before this, and is ended by it, or does not begin.
  if (node.wake.exchange(WaitNode::kHear, std::memory_order_acq_rel) == WaitNode::kAsleep) futex_wake(node.wake, 1);
}

}  // namespace

// In the model: Unlock, Store, Wake.
void LockedWaitList::unlock() {
  change_.reset();
  TANDEM_KILL_POINT("wait_list.wake");
  for (const std::uint64_t node : told_) wake(at(node));
  told_.clear();
}

void LockedWaitList::ensure_spare() {
  if (get(state_.spare_first) != 0) return;
  Arena& arena = Arena::instance();
  ArenaChange arena_change(arena);
  Word& scratch = arena.header().scratch;
  static_cast<void>(arena.heap().allocate(arena_change, sizeof(WaitNode), scratch));
  new (arena.base() + get(scratch)) WaitNode{};
  arena_change.set(state_.spare_first, get(scratch));
  arena_change.set(scratch, 0);
  arena_change.commit();
}

std::uint64_t LockedWaitList::enter() {
  const std::uint64_t node = get(state_.spare_first);
  change_->set(state_.spare_first, get(at(node).next));
  change_->set(at(node).next, 0);
  change_->set(at(node).previous, get(state_.last));
  change_->set(at(node).owner, Owner::self().word());
  change_->set(at(node).outcome, 0);
  change_->set(state_.entered, get(state_.entered) + 1);
  change_->set(at(node).entered, get(state_.entered));
  change_->set(get(state_.last) != 0 ? at(get(state_.last)).next : state_.first, node);
  change_->set(state_.last, node);
  change_->set(state_.waiting, get(state_.waiting) + 1);
  return node;
}

void LockedWaitList::remove(std::uint64_t node) {
  const std::uint64_t next = get(at(node).next);
  const std::uint64_t previous = get(at(node).previous);
  change_->set(next != 0 ? at(next).previous : state_.last, previous);
  change_->set(previous != 0 ? at(previous).next : state_.first, next);
  if (outcome(node) == 0) change_->set(state_.waiting, get(state_.waiting) - 1);
  change_->set(at(node).next, get(state_.spare_first));
  change_->set(state_.spare_first, node);
}

void LockedWaitList::tell(std::uint64_t node, std::uint64_t outcome) noexcept {
  change_->set(at(node).outcome, outcome);
  change_->set(state_.waiting, get(state_.waiting) - 1);
  try {
    told_.push_back(node);
  } catch (const std::bad_alloc&) {
    wake(at(node));  // It then waits for the lock. Whoever is in the midst of a wait is not to hear of this.
  }
}

// In the model: Announce, Enqueue, Sleep.
void LockedWaitList::sleep(WaitNode& node, const Deadline& deadline) {
  TANDEM_KILL_POINT("wait_list.sleep");
  if (!spin_briefly([&] { return node.wake.load(std::memory_order_acquire) == WaitNode::kHear; })) {
    std::uint32_t quiet = WaitNode::kQuiet;
    if (node.wake.compare_exchange_strong(quiet, WaitNode::kAsleep, std::memory_order_acq_rel))
      static_cast<void>(futex_wait(node.wake, WaitNode::kAsleep, deadline));
  }
  sweep_family_if_due();
  TANDEM_KILL_POINT("wait_list.woken");
}

}  // namespace tandem::detail
