#include <tandem/detail/locked_queue_core.hpp>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "core/kill_point.hpp"
#include "ipc/wait_source.hpp"
#include "sync/locked_queue.hpp"

namespace tandem::detail {
namespace {

QueueState& state_of(const SharedObjectPtr& object) {
  if (!object) throw StaleHandle("use of a queue that was moved from");
  return *static_cast<QueueState*>(object->data());
}

bool is_small(std::size_t size_bytes, const std::vector<SharedObjectPtr>* objects) {
  return size_bytes <= kSmallBytes && (objects == nullptr || objects->empty());
}

bool wait_for_space(LockedQueue& queue, const Deadline& deadline) {
  return queue.wait(queue->space, deadline, [&] {
    if (get(queue->closed) != kOpen) throw_put_on_closed();
    return !queue.full();
  });
}

/// Unlocks and wakes: a taker for what may have been put and, if this thread was itself woken, the next that waits for
/// space.
void leave_put(LockedQueue& queue) {
  const bool item = queue->items.announce();
  const bool more = queue.slept() && !queue.full() && queue->space.announce();
  queue.unlock();
  if (item) queue->items.wake_one();
  if (more) queue->space.wake_one();
}

/// Puts, and leaves also if that fails: the wake-up that this thread may have had was for one who puts something.
template <class Put>
void leave_put_after(LockedQueue& queue, Put put) {
  try {
    put();
  } catch (...) {
    leave_put(queue);
    throw;
  }
  leave_put(queue);
}

void put_small(LockedQueue& queue, std::span<const std::byte> bytes, bool plain) {
  queue.ensure_spare();
  queue.ensure_place();
  const std::uint64_t offset = get(queue->spare_first);
  Node& node = node_at(offset);
  // Nobody looks into a spare node, so its content needs no log.
  node.describe(plain ? kPlainItem : NodeForm{}, bytes.size(), queue.next_number());
  std::memcpy(node.small_bytes(), bytes.data(), bytes.size());
  const std::uint64_t place = queue.find_place(offset);
  queue.take_spare(queue.change());
  queue.put(queue.change(), offset, place);
  queue.change().commit();
  TANDEM_KILL_POINT("queue.put.committed");
}

/// Builds a large node as this thread's pending block, outside any lock.
void build_large(std::span<const std::byte> bytes, const std::vector<SharedObjectPtr>* objects, bool plain) {
  Arena& arena = Arena::instance();
  ThreadSlot& thread = this_thread_slot();
  const std::size_t references = objects != nullptr ? objects->size() : 0;
  arena.allocate(thread.pending, sizeof(Node) + Cargo::total_bytes(bytes.size(), references));
  auto* node = new (arena.base() + get(thread.pending)) Node{};
  node->describe(kLargeNode | (plain ? kPlainItem : NodeForm{}), 0, 0);
  node->cargo().initialise(bytes.size(), references);
  std::memcpy(node->cargo().bytes(), bytes.data(), bytes.size());
  TANDEM_KILL_POINT("queue.put.filled");
  if (references != 0) {
    ArenaChange change(arena);
    change.set(thread.pending_cargo, arena_offset_of(&node->cargo()));
    change.commit();
  }
  if (references != 0) node->cargo().add_references(*objects);
  TANDEM_KILL_POINT("queue.put.referring");
}

bool put_large(QueueState& state, CountWins count_wins, const EncodedItem& item, const Deadline& deadline) {
  {
    // Not even begun when it cannot end well: copying may be the larger part of the work.
    LockedQueue queue(state, count_wins);
    if (get(queue->closed) != kOpen) throw_put_on_closed();
    if (queue.full() && deadline.passed()) return false;
  }
  static_cast<void>(this_thread_slot());
  const PendingGuard guard;
  build_large(item.bytes(), item.objects(), item.is_plain());
  LockedQueue queue(state, count_wins);
  if (!wait_for_space(queue, deadline)) return false;
  leave_put_after(queue, [&] {
    queue.put_pending();
    TANDEM_KILL_POINT("queue.put.committed");
  });
  return true;
}

enum class Found { Item, Nothing, End };

Found wait_for_item(LockedQueue& queue, const Deadline& deadline) {
  bool end = false;
  const bool ready = queue.wait(queue->items, deadline, [&] {
    const std::uint64_t closed = get(queue->closed);
    queue.take_over_claims_if_due();
    if (closed == kDiscarded) queue.discard_items();  // Who closed it may have been killed before it had.
    if (queue.no_items()) queue.take_over_claims();
    if (!queue.no_items()) return true;
    end = closed == kDiscarded || (closed == kDraining && queue.drained());
    return end;
  });
  if (!ready) return Found::Nothing;
  return end ? Found::End : Found::Item;
}

bool is_freed_later(const QueueState& state, Node& node) {
  // Who waits for the end of a closed queue is told by who frees at once.
  if (get(state.closed) != kOpen) return false;
  if ((node.form() & kLargeNode) == 0) return true;
  return get(node.cargo().references) == 0 && node.cargo().size_bytes <= kFreedLaterBytes;
}

void free_at_once(QueueState& state, std::uint64_t offset) {
  {
    LockedQueue queue(state, nullptr);  // Nothing is compared here.
    queue.retire(offset, [&](Transaction& change) { queue.remove_claim(change, offset); });
    TANDEM_KILL_POINT("queue.get.committed");
    const bool ended = get(queue->closed) != kOpen && queue.drained() && queue->items.announce();
    queue.unlock();
    if (ended) queue->items.wake_all();
  }
  free_pending();
  bury_zombies();
}

constexpr std::uint64_t kClaimsCleared = 8;  // More than there are takers at once on most machines; a look is cheap.

/// Items that this thread has claimed: they stay in the queue, in its name, and go back if it dies. A get() ends by
/// making them its own, with one store each, so that next to nothing lies between that and its return.
class ItemsInHand {
 public:
  /// `places` is where to note claims: as many as will be claimed at the most.
  ItemsInHand(LockedQueue& queue, std::span<std::uint64_t> places)
      : state_(*queue), count_wins_(queue.count_wins()), places_(places) {}
  ItemsInHand(const ItemsInHand&) = delete;
  ItemsInHand& operator=(const ItemsInHand&) = delete;

  /// Claims items of a queue that has one, and unlocks it.
  void claim(LockedQueue& queue) {
    const Member me = this_thread();
    Taken& taken = queue.taken_by_this_process();
    // The newest claims come first in the list: what the takers of just now have received, beside what others have in
    // hand. Without this, a queue that never runs empty would keep all it gave out until the next look for the dead.
    queue.clear_received(kClaimsCleared + places_.size());
    try {
      while (count_ < places_.size() && !queue.no_items()) {
        const std::uint64_t place_of_last = queue.find_place_of_last();
        const std::uint64_t node = queue.remove_first(queue.change(), place_of_last);
        queue.add_claim(queue.change(), node, me, taken);
        queue.change().commit();
        places_[count_++] = node;
        TANDEM_KILL_POINT("queue.get.claimed");
      }
    } catch (...) {  // The code that compares has thrown: nothing was taken.
      give_back_from(queue, 0);
      throw;
    }
    const bool space = queue->space.announce();
    const bool more = queue.slept() && !queue.no_items() && queue->items.announce();
    queue.unlock();
    if (space && count_ == 1) state_.space.wake_one();
    if (space && count_ > 1) state_.space.wake_all();
    if (more) state_.items.wake_one();
  }

  /// Hands the claimed items to `receive`; returns how many it took. If it throws, the item is gone; but if others were
  /// received before it, they are kept, and the item and those behind it go back.
  std::size_t receive(Receiver receive) {
    std::size_t received = 0;
    try {
      for (; received < count_; ++received) receive(node_at(places_[received]).view());
    } catch (const std::exception&) {
      return_from(std::max<std::size_t>(received, 1));
      keep();
      if (received == 0) throw;
      return received;
    } catch (...) {  // Also the cancellation of this thread, which must go on.
      return_from(std::max<std::size_t>(received, 1));
      keep();
      throw;
    }
    TANDEM_KILL_POINT("queue.get.received");
    keep();
    return received;
  }

 private:
  void return_from(std::size_t first) {
    if (first >= count_) return;
    LockedQueue queue(state_, count_wins_);
    give_back_from(queue, first);
  }

  void give_back_from(LockedQueue& queue, std::size_t first) {
    while (count_ > first) queue.give_back(places_[--count_]);
    const bool wake = queue->items.announce();
    queue.unlock();
    if (wake) queue->items.wake_all();
  }

  void keep() {
    for (std::uint64_t& node : places_.first(count_)) {
      if (is_freed_later(state_, node_at(node))) continue;
      free_at_once(state_, node);
      node = 0;
    }
    for (const std::uint64_t node : places_.first(count_))
      if (node != 0) node_at(node).received.store(1, std::memory_order_release);  // SYNC(received)
  }

  QueueState& state_;
  const CountWins count_wins_;
  const std::span<std::uint64_t> places_;
  std::size_t count_ = 0;
};

void destroy_queue(void* body) {
  // The lock is taken because one who was killed may have left a change half made.
  LockedQueue(*static_cast<QueueState*>(body), nullptr).take_apart();
}

// Before main(), so that every process of the family can take queues apart.
[[maybe_unused]] const bool destroyers_are_set = (set_destroyer(ObjectKind::LifoQueue, destroy_queue),
                                                  set_destroyer(ObjectKind::PriorityQueue, destroy_queue), true);

QueueOrder order_of(ObjectKind kind) {
  return kind == ObjectKind::PriorityQueue ? kSmallestFirst : kNewestFirst;
}

SharedObjectPtr make_queue(ObjectKind kind, std::size_t capacity) {
  struct Wanted {
    std::size_t body_bytes;
    std::size_t capacity;
    QueueOrder order;
  };
  const QueueOrder order = order_of(kind);
  const Wanted wanted{order == kSmallestFirst ? sizeof(PriorityState) : sizeof(QueueState), capacity, order};
  return make_object(
      kind, wanted.body_bytes,
      [](void* body, const void* argument) {
        const auto& w = *static_cast<const Wanted*>(argument);
        std::memset(body, 0, w.body_bytes);
        auto* state = static_cast<QueueState*>(body);
        state->lock.initialise();
        state->capacity = w.capacity;
        state->order = w.order;
      },
      &wanted);
}

}  // namespace

LockedQueueCore::LockedQueueCore(ObjectKind kind, std::size_t capacity, CountWins count_wins)
    : object_(make_queue(kind, capacity)), count_wins_(count_wins) {}

bool LockedQueueCore::put(const EncodedItem& item, const Deadline& deadline) {
  QueueState& state = state_of(object_);
  if (!is_small(item.bytes().size(), item.objects())) return put_large(state, count_wins_, item, deadline);
  LockedQueue queue(state, count_wins_);
  if (!wait_for_space(queue, deadline)) return false;
  leave_put_after(queue, [&] { put_small(queue, item.bytes(), item.is_plain()); });
  return true;
}

bool LockedQueueCore::get(const Deadline& deadline, AtEnd at_end, Receiver receive) {
  LockedQueue queue(state_of(object_), count_wins_);
  switch (wait_for_item(queue, deadline)) {
    case Found::Nothing:
      return false;
    case Found::End:
      if (at_end == AtEnd::Throw) throw_get_on_closed();
      return false;
    case Found::Item:
      break;
  }
  std::uint64_t place = 0;
  ItemsInHand items(queue, {&place, 1});
  items.claim(queue);
  items.receive(receive);
  return true;
}

std::size_t LockedQueueCore::get_many(std::size_t max_items, const Deadline& deadline, Receiver receive) {
  if (max_items == 0) return 0;
  LockedQueue queue(state_of(object_), count_wins_);
  switch (wait_for_item(queue, deadline)) {
    case Found::Nothing:
      return 0;
    case Found::End:
      throw_get_on_closed();
    case Found::Item:
      break;
  }
  std::vector<std::uint64_t> places(std::min<std::uint64_t>(max_items, detail::get(queue->ready_count)));
  ItemsInHand items(queue, places);
  items.claim(queue);
  return items.receive(receive);
}

void LockedQueueCore::task_done() {
  LockedQueue queue(state_of(object_), count_wins_);
  const std::uint64_t unfinished = detail::get(queue->unfinished);
  if (unfinished == 0) throw std::logic_error("task_done() called more often than items were put into the queue");
  Taken& taken = queue.taken_by_this_process();
  queue.count_finished(queue.change(), 1);
  if (detail::get(taken.items) != 0) queue.change().set(taken.items, detail::get(taken.items) - 1);
  queue.change().commit();
  const bool wake = unfinished == 1 && queue->finished.announce();
  queue.unlock();
  if (wake) queue->finished.wake_all();
}

bool LockedQueueCore::join(const Deadline& deadline) {
  LockedQueue queue(state_of(object_), count_wins_);
  return queue.wait(queue->finished, deadline, [&] {
    if (detail::get(queue->unfinished) == 0 || detail::get(queue->closed) == kDiscarded) return true;
    queue.finish_for_the_dead();
    return detail::get(queue->unfinished) == 0;
  });
}

void LockedQueueCore::close(bool discard) {
  QueueState& state = state_of(object_);
  {
    LockedQueue queue(state, count_wins_);
    const std::uint64_t wanted = discard ? kDiscarded : kDraining;
    if (detail::get(state.closed) < wanted) {
      queue.change().set(state.closed, wanted);
      queue.change().commit();
    }
    TANDEM_KILL_POINT("queue.closed");
    if (discard) queue.discard_items();
    static_cast<void>(state.items.announce());
    static_cast<void>(state.space.announce());
    static_cast<void>(state.finished.announce());
  }
  state.items.wake_all();
  state.space.wake_all();
  state.finished.wake_all();
  bury_zombies();
}

namespace {

class QueueWaitSource final : public WaitSource {
 public:
  QueueWaitSource(LockedQueueCore queue, CountWins count_wins) : queue_(std::move(queue)), count_wins_(count_wins) {}

  bool ready() override {
    LockedQueue queue(state_of(queue_.object()), count_wins_);
    return wait_for_item(queue, Deadline::now()) != Found::Nothing;
  }
  std::optional<FutexWait> prepare() override {
    LockedQueue queue(state_of(queue_.object()), count_wins_);
    if (wait_for_item(queue, Deadline::now()) != Found::Nothing) return std::nullopt;
    const WaitPoint::Ticket ticket = queue->items.prepare();
    return FutexWait{&queue->items.word(), ticket};
  }
  // Who puts one item wakes one sleeper. This one takes nothing, so the wake-up goes to the next, who may.
  void resume() override {
    LockedQueue queue(state_of(queue_.object()), count_wins_);
    queue->items.resume();
    const bool more = !queue.no_items() && queue->items.announce();
    queue.unlock();
    if (more) queue->items.wake_one();
  }

 private:
  const LockedQueueCore queue_;
  const CountWins count_wins_;
};

}  // namespace

std::shared_ptr<WaitSource> LockedQueueCore::wait_source() const {
  static_cast<void>(state_of(object_));
  return std::make_shared<QueueWaitSource>(*this, count_wins_);
}

// With the lock, though it is one word: what a killed process had not committed must not be seen.
std::size_t LockedQueueCore::size() const {
  return detail::get(LockedQueue(state_of(object_), count_wins_)->ready_count);
}

bool LockedQueueCore::closed() const {
  return detail::get(LockedQueue(state_of(object_), count_wins_)->closed) != kOpen;
}

std::size_t LockedQueueCore::capacity() const {
  return state_of(object_).capacity;
}

void LockedQueueCore::Batch::put(const EncodedItem& item) {
  // Enough to make the lock's cost small beside the copying; not so much that others wait long.
  constexpr std::size_t kFlushItems = 128;
  if (!is_small(item.bytes().size(), item.objects())) {
    finish();
    queue_.put(item, Deadline::never());
    return;
  }
  items_.add(item);
  if (items_.size() == kFlushItems) finish();
}

void LockedQueueCore::Batch::finish() {
  if (items_.empty()) return;
  LockedQueue queue(state_of(queue_.object_), queue_.count_wins_);
  const auto leave = [&] {
    const bool wake = queue->items.announce();
    queue.unlock();
    if (wake) queue->items.wake_all();
  };
  const std::byte* at = items_.bytes();
  for (const auto& [size, plain] : items_.items()) {
    if (queue.full() && queue->items.announce()) queue->items.wake_all();  // Or nobody would make space.
    static_cast<void>(wait_for_space(queue, Deadline::never()));
    try {
      put_small(queue, {at, size}, plain);
    } catch (...) {
      leave();
      throw;
    }
    at += size;
  }
  items_.clear();
  leave();
}

}  // namespace tandem::detail
