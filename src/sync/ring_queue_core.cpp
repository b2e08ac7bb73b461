#include <tandem/detail/ring_queue_core.hpp>

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>
#include <ranges>
#include <stdexcept>

#include "core/thread_sanitizer.hpp"
#include "ipc/wait_source.hpp"
#include "sync/queue_closing.hpp"
#include "sync/ring.hpp"
#include "sync/ring_members.hpp"

namespace tandem::detail {
namespace {

const SharedObject& object_of(const SharedObjectPtr& object) {
  if (!object) throw StaleHandle("use of a queue that was moved from");
  return *object;
}

RingState& state_of(const SharedObjectPtr& object) {
  return *ring_state_of(object_of(object));
}

// --- making

constexpr std::uint64_t kFirstChunkBytes = 4096;
constexpr std::uint64_t kEncodedInlineBytes = 72;  // Of items that are not all of one size.
constexpr std::uint64_t kPlainInlineBytes = 504;

void destroy_queue(void* body) {
  RingLock(*ring_state_in(body)).take_apart();
}

// Before main(), so that every process of the family can take queues apart.
[[maybe_unused]] const bool destroyer_is_set = (set_destroyer(ObjectKind::Queue, destroy_queue), true);

struct Shape {
  std::uint64_t capacity, plain_bytes, inline_bytes, slot_bytes, first_slots;

  std::uint64_t chunk_bytes() const { return first_slots * slot_bytes; }
  std::uint64_t body_bytes() const {
    return alignof(RingState) + sizeof(RingState) + RingState::kFirstTable * sizeof(Participant) + chunk_bytes();
  }
};

Shape shape_for(std::size_t capacity, std::size_t plain_bytes) {
  Shape shape{.capacity = capacity,
              .plain_bytes = plain_bytes,
              .inline_bytes = kEncodedInlineBytes,
              .slot_bytes = 0,
              .first_slots = 0};
  if (plain_bytes != 0) shape.inline_bytes = plain_bytes <= kPlainInlineBytes ? plain_bytes : 0;
  shape.slot_bytes = std::max(sizeof(RingSlot), sizeof(Word) + round_up(shape.inline_bytes, sizeof(Word)));
  // Up to a line of the cache, slots shall not be in two.
  if (shape.slot_bytes < 64) shape.slot_bytes = std::bit_ceil(shape.slot_bytes);
  shape.first_slots = std::max<std::uint64_t>(8, std::bit_floor(kFirstChunkBytes / shape.slot_bytes));
  return shape;
}

void initialise(void* body, const void* argument) {
  const auto& shape = *static_cast<const Shape*>(argument);
  std::memset(body, 0, shape.body_bytes());
  auto* state = ring_state_in(body);
  state->capacity = shape.capacity;
  state->plain_bytes = shape.plain_bytes;
  state->inline_bytes = shape.inline_bytes;
  state->slot_bytes = shape.slot_bytes;
  state->first_slots = shape.first_slots;
  state->lock.initialise();
  auto* const table = reinterpret_cast<std::byte*>(state + 1);
  state->tables[0] = arena_offset_of(table);
  state->chunks[0] = arena_offset_of(table + RingState::kFirstTable * sizeof(Participant));
  // Memory of zeros is slots of the number 0, which has come and gone.
  state->head = state->tail = RingPosition(1, 0, 0).word();
}

SharedObjectPtr make_queue(std::size_t capacity, std::size_t plain_bytes) {
  const Shape shape = shape_for(capacity, plain_bytes);
  return make_object(ObjectKind::Queue, shape.body_bytes(), initialise, &shape);
}

// --- waiting

bool is_discarded(const Ring& ring) {
  return get(ring->closed) == kDiscarded;
}

void wake(WaitPoint& point, std::uint64_t count) {
  if (!point.announce()) return;
  count == 1 ? point.wake_one() : point.wake_all();
}

// Behind an act of another kind than put() and get(), which may have made something ready for anybody.
void wake_everybody(RingState& state) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  wake(state.items, 2);
  wake(state.space, 2);
  wake(state.finished, 2);
}

std::uint64_t items_waiting(Ring& ring) {
  if (get(ring->disturbed) == 0) return ring.length();
  const RingLock lock(*ring);
  return lock.counts().not_taken();
}

void settle(RingState& state) {
  bool changed = false;
  {
    RingLock lock(state);
    changed = lock.settle();
  }
  if (changed) wake_everybody(state);
}

/// Sleeps at `point` until `ready()`. False if the deadline passed first. Who has slept calls pass_on() once it has
/// taken what it slept for.
template <class Ready>
bool wait_at(WaitPoint& point, Ring& ring, const Deadline& deadline, bool& slept, Ready ready) {
  if (!deadline.is_now() && spin_briefly(ready)) return true;
  // Who died in the midst of a claim must not be waited for.
  if (settle_dead_claims(*ring, ring.index()) && ready()) return true;
  for (;;) {
    if (deadline.passed()) return false;
    const WaitPoint::Ticket ticket = point.prepare();
    if (ready()) return true;
    TANDEM_KILL_POINT("queue.sleep");
    point.sleep(ticket, deadline);
    sweep_family_if_due();
    TANDEM_KILL_POINT("queue.woken");
    point.resume();
    slept = true;
    if (ring.deaths_unseen()) settle(*ring);
    if (ready()) return true;
  }
}

void discard(const SharedObjectPtr& object);

// --- putting

/// One call that puts. Its claims are this thread's until they are published.
class Putting {
 public:
  explicit Putting(const SharedObjectPtr& object) : object_(object), ring_(seat_at(object_of(object))) {
    if (get(ring_->closed) != kOpen) throw_put_on_closed();
    if (ring_.deaths_unseen()) settle(*ring_);
  }
  Putting(const Putting&) = delete;
  Putting& operator=(const Putting&) = delete;
  ~Putting() {
    ring_.finish_put();
    // The wake-up that this thread may have had was for one who puts something.
    if (slept_) wake(ring_->space, 1);
  }

  Ring& ring() { return ring_; }

  /// Claims a slot, or gives up at the deadline.
  bool claim(std::uint64_t form, const Deadline& deadline, RingPosition& at) {
    return claim(deadline, [&] { return ring_.claim_put(form, at); });
  }
  /// Claims at least one of the wanted slots.
  void claim_several(std::uint64_t form, std::uint64_t wanted, RingPosition& at, std::uint64_t& count) {
    static_cast<void>(claim(Deadline::never(), [&] { return ring_.claim_puts(form, wanted, at, count); }));
  }

  void publish(RingPosition first, std::uint64_t count) {
    ring_.publish(first, count);
    wake(ring_->items, count);
  }
  /// Behind publish(), whose last step is a barrier: the queue may have been closed for good since the claim, and who
  /// did that has looked before the item was there. Then there may be nobody else to drop it.
  void drop_if_late() {
    if (is_discarded(ring_)) [[unlikely]]
      discard(object_);
  }

 private:
  template <class Step>
  bool claim(const Deadline& deadline, Step step) {
    if (try_claim(step)) return true;
    if (!deadline.is_now()) ring_.wait_for_much_space();
    return wait_at(ring_->space, ring_, deadline, slept_, [&] { return try_claim(step); });
  }

  template <class Step>
  bool try_claim(Step step) {
    ring_.begin_put();
    switch (step()) {
      case Ring::Claim::Done:
        return true;
      case Ring::Claim::Closed:
        throw_put_on_closed();
      case Ring::Claim::Full:
        break;
    }
    ring_.finish_put();
    if (get(ring_->closed) == kOpen) return false;
    ring_.put_end();  // Who closed it may have been killed before it did.
    throw_put_on_closed();
  }

  const SharedObjectPtr& object_;
  Ring ring_;
  bool slept_ = false;
};

void fill(RingSlot& slot, std::span<const std::byte> bytes) {
  if (bytes.size() == sizeof(std::uint64_t)) {  // The commonest size, without a call.
    std::memcpy(slot.bytes(), bytes.data(), sizeof(std::uint64_t));
  } else if (!bytes.empty()) {
    std::memcpy(slot.bytes(), bytes.data(), bytes.size());
  }
}

bool is_small(const RingState& state, const EncodedItem& item) {
  const auto* const objects = item.objects();
  return item.bytes().size() <= state.inline_bytes && (objects == nullptr || objects->empty());
}

std::uint64_t small_form(const RingState& state, std::size_t size) {
  return SlotWord::small(state.plain_bytes != 0 ? 0 : size);
}

/// Builds the cargo of a large item as this thread's pending block.
void build_cargo(const EncodedItem& item) {
  Arena& arena = Arena::instance();
  ThreadSlot& thread = this_thread_slot();
  const std::size_t references = item.objects() != nullptr ? item.objects()->size() : 0;
  arena.allocate(thread.pending, Cargo::total_bytes(item.bytes().size(), references));
  auto& cargo = arena.at<Cargo>(get(thread.pending));
  cargo.initialise(item.bytes().size(), references);
  std::memcpy(cargo.bytes(), item.bytes().data(), item.bytes().size());
  TANDEM_KILL_POINT("queue.put.built");
  if (references == 0) return;
  {
    ArenaChange change(arena);
    change.set(thread.pending_cargo, get(thread.pending));
    change.commit();
  }
  cargo.add_references(*item.objects());
  TANDEM_KILL_POINT("queue.put.referring");
}

bool put_large(const SharedObjectPtr& object, const EncodedItem& item, const Deadline& deadline) {
  Ring ring(seat_at(object_of(object)));
  // Not even begun when it cannot end well: copying may be the larger part of the work.
  const auto full = [&] { return ring->capacity != 0 && ring.length() >= ring->capacity; };
  if (deadline.is_now() && full() && (!settle_dead_claims(*ring, ring.index()) || full())) return false;
  const PendingGuard guard;
  build_cargo(item);
  Putting putting(object);
  RingPosition at(0);
  if (!putting.claim(SlotWord::kLarge, deadline, at)) return false;
  ThreadSlot& thread = this_thread_slot();
  putting.ring().slot_at(at).cargo.store(get(thread.pending), std::memory_order_relaxed);
  // The block is given away in the instant in which the item is put.
  const Word& puts = putting.ring().me().puts;
  thread.guard_value.store(get(puts), std::memory_order_relaxed);
  thread.guard.store(arena_offset_of(&puts), std::memory_order_release);
  passes_on(Arena::instance().base());
  putting.publish(at, 1);
  thread.pending_cargo.store(0, std::memory_order_release);
  thread.pending.store(0, std::memory_order_release);
  thread.guard.store(0, std::memory_order_release);
  putting.drop_if_late();
  return true;
}

// --- getting

/// One call that takes. Its claims go back if the thread dies before it keeps them.
class Getting {
 public:
  explicit Getting(const SharedObjectPtr& object) : Getting(object_of(object), seat_at(object_of(object))) {}
  explicit Getting(RingSeat& seat) : ring_(seat) {
    if (ring_.deaths_unseen()) settle(*ring_);
  }
  Getting(const Getting&) = delete;
  Getting& operator=(const Getting&) = delete;
  ~Getting() {
    if (!lends_) ring_.finish_get();
    if (slept_) pass_on();
  }

  Ring& ring() { return ring_; }

  enum class Found { Item, Nothing, End };
  /// Claims the first item, or gives up at the deadline.
  Found claim(const Deadline& deadline, RingSlot*& slot) {
    Found found = Found::Nothing;
    const auto ready = [&] {
      found = try_claim(slot);
      return found != Found::Nothing;
    };
    if (ready()) return found;
    if (!deadline.is_now()) ring_.wait_for_much_to_take();
    static_cast<void>(wait_at(ring_->items, ring_, deadline, slept_, ready));
    return found;
  }
  /// Claims those behind it that are there, up to the size of `slots`; returns how many.
  std::size_t claim_more(std::span<RingSlot*> slots) {
    std::size_t count = 0;
    while (count < slots.size() && try_claim(slots[count], slots.subspan(count), count) == Found::Item) {
    }
    return count;
  }

  /// Hands claimed items to `receive`; returns how many it took. If it throws, the item is gone; but if others were
  /// received before it, they are kept, and the item and those behind it go back.
  std::size_t receive(std::span<RingSlot*> slots, Receiver receive) {
    std::size_t received = 0;
    try {
      for (; received < slots.size(); ++received) receive(view_of(*slots[received]));
    } catch (const std::exception&) {
      keep_some(slots, std::max<std::size_t>(received, 1));
      if (received == 0) throw;
      return received;
    } catch (...) {  // Also the cancellation of this thread, which must go on.
      keep_some(slots, std::max<std::size_t>(received, 1));
      throw;
    }
    TANDEM_KILL_POINT("queue.get.received");
    keep(slots);
    return received;
  }

  /// Leaves the claimed item in the participant's name.
  ItemView lend(RingSlot& slot) {
    lends_ = true;
    return view_of(slot);
  }
  /// From here on the items are this thread's own.
  void keep(std::span<RingSlot*> slots) {
    ring_.commit_gets(slots.size());
    TANDEM_KILL_POINT("queue.get.committed");
    bool large = false;
    for (RingSlot* slot : std::views::reverse(slots)) {
      large |= SlotWord(get(slot->word)).is_large();
      ring_.empty(*slot);
    }
    ring_.finish_get();
    if (large) bury_zombies();
    // Who waits for the end of a closed queue waits for this one, too.
    if (get(ring_->closed) != kOpen) wake_everybody(*ring_);
  }
  /// Lets a claimed item be taken by others.
  void give_back(RingSlot* slot) { keep_some({&slot, 1}, 0); }

  /// Takes and drops what waits, in a queue that was closed for that. Who closed it may have been killed before it had.
  void discard() {
    RingSlot* slot = nullptr;
    while (claim_item(slot) == Ring::Front::Item) keep({&slot, 1});
  }

 private:
  Getting(const SharedObject& object, RingSeat& seat)
      : nested_(get(seat.participant->get_mark) != 0 ? std::optional(other_seat_at(object)) : std::nullopt),
        ring_(nested_ ? *nested_ : seat) {
    if (ring_.deaths_unseen()) settle(*ring_);
  }

  Ring::Front claim_item(RingSlot*& slot) {
    ring_.begin_get();
    if (get(ring_->returned) != 0) {
      RingLock lock(*ring_);
      slot = lock.take_returned(ring_.index());
      if (slot != nullptr) return Ring::Front::Item;
    }
    RingPosition at(0);
    const Ring::Front front = ring_.claim_get(at);
    if (front == Ring::Front::Item) {
      slot = &ring_.slot_at(at);
      ring_.pass_front(at, 1);  // Also the barrier between that and the look at who waits for space.
      if (ring_->capacity != 0) wake(ring_->space, 1);
    }
    return front;
  }

  Found try_claim(RingSlot*& slot) {
    if (is_discarded(ring_)) discard();
    for (;;) {
      const Ring::Front front = claim_item(slot);
      if (front == Ring::Front::Item) return Found::Item;
      ring_.finish_get();
      if (get(ring_->closed) == kOpen) return Found::Nothing;
      if (front == Ring::Front::End || is_discarded(ring_)) return is_drained() ? Found::End : Found::Nothing;
      ring_.put_end();  // Who closed it may have been killed before it did.
      // An item that is just being put comes before the end, though nobody has counted it.
      if (front == Ring::Front::Filling) return Found::Nothing;
    }
  }

  // A run of claims behind one another, with one step of the front for all.
  Found try_claim(RingSlot*& first, std::span<RingSlot*> slots, std::size_t& count) {
    if (get(ring_->returned) != 0) {
      RingLock lock(*ring_);
      first = lock.take_returned(ring_.index());
      if (first != nullptr) {
        ++count;
        return Found::Item;
      }
    }
    RingPosition begin(0);
    std::uint64_t run = 0;
    if (ring_.claim_gets(slots.size(), begin, run) != Ring::Front::Item) return Found::Nothing;
    for (std::uint64_t i = 0; i < run; ++i) slots[i] = &ring_.slot_at(begin.after(i));
    ring_.pass_front(begin, run);
    if (ring_->capacity != 0) wake(ring_->space, run);
    count += run;
    return Found::Item;
  }

  bool is_drained() {
    if (is_discarded(ring_)) return true;
    RingLock lock(*ring_);
    return lock.counts().not_taken() == 0;
  }

  ItemView view_of(RingSlot& slot) const {
    const SlotWord word(get(slot.word));
    if (!word.is_large()) return {{slot.bytes(), ring_->plain_bytes != 0 ? ring_->plain_bytes : word.size()}};
    comes_back(Arena::instance().base());
    const auto& cargo = Arena::instance().at<Cargo>(get(slot.cargo));
    return {{cargo.bytes(), cargo.size_bytes}};
  }

  void keep_some(std::span<RingSlot*> slots, std::size_t count) {
    if (count < slots.size()) {
      RingLock lock(*ring_);
      ring_->disturbed.store(1, std::memory_order_relaxed);
      ring_->returned.store(1, std::memory_order_relaxed);
      for (RingSlot* slot : std::views::reverse(slots.subspan(count)))
        slot->set(slot->load().in_phase(SlotPhase::Returned));
    }
    keep(slots.first(count));
    if (count < slots.size()) wake_everybody(*ring_);
  }

  // Who puts one item wakes one sleeper: this one may leave something for the next.
  void pass_on() {
    const Ring::Front front = ring_.look();
    if (front == Ring::Front::Item || front == Ring::Front::End) wake(ring_->items, 1);
  }

  std::optional<RingSeat> nested_;  // By code that decodes an item of this queue.
  Ring ring_;
  bool slept_ = false;
  bool lends_ = false;
};

void discard(const SharedObjectPtr& object) {
  Getting(object).discard();
}

}  // namespace

// --- members

RingQueueCore::RingQueueCore(std::size_t capacity, std::size_t plain_bytes)
    : object_(make_queue(capacity, plain_bytes)) {}

bool RingQueueCore::put(const EncodedItem& item, const Deadline& deadline) {
  {
    Putting putting(object_);
    if (const RingState& state = *putting.ring(); is_small(state, item)) {
      RingPosition at(0);
      if (!putting.claim(small_form(state, item.bytes().size()), deadline, at)) return false;
      fill(putting.ring().slot_at(at), item.bytes());
      putting.publish(at, 1);
      putting.drop_if_late();
      return true;
    }
  }
  return put_large(object_, item, deadline);
}

bool RingQueueCore::get(const Deadline& deadline, AtEnd at_end, Receiver receive) {
  Getting getting(object_);
  RingSlot* slot = nullptr;
  switch (getting.claim(deadline, slot)) {
    case Getting::Found::Nothing:
      return false;
    case Getting::Found::End:
      if (at_end == AtEnd::Throw) throw_get_on_closed();
      return false;
    case Getting::Found::Item:
      break;
  }
  getting.receive({&slot, 1}, receive);
  return true;
}

std::size_t RingQueueCore::get_many(std::size_t max_items, const Deadline& deadline, Receiver receive) {
  if (max_items == 0) return 0;
  Getting getting(object_);
  RingSlot* first = nullptr;
  switch (getting.claim(deadline, first)) {
    case Getting::Found::Nothing:
      return 0;
    case Getting::Found::End:
      throw_get_on_closed();
    case Getting::Found::Item:
      break;
  }
  std::vector<RingSlot*> slots;
  try {
    slots.assign(std::min<std::uint64_t>(max_items, 1 + items_waiting(getting.ring())), first);
  } catch (const std::bad_alloc&) {
    getting.give_back(first);
    throw;
  }
  const std::size_t more = getting.claim_more(std::span(slots).subspan(1));
  return getting.receive(std::span(slots).first(1 + more), receive);
}

LentItem RingQueueCore::lend(const Deadline& deadline, AtEnd at_end) {
  RingSeat seat = other_seat_at(object_of(object_));
  Getting getting(seat);
  RingSlot* slot = nullptr;
  LentItem item;
  switch (getting.claim(deadline, slot)) {
    case Getting::Found::Nothing:
      return item;
    case Getting::Found::End:
      if (at_end == AtEnd::Throw) throw_get_on_closed();
      return item;
    case Getting::Found::Item:
      break;
  }
  item.object_ = object_;
  item.slot_ = slot;
  item.participant_ = seat.index;
  item.owner_ = seat.owner;
  item.view_ = getting.lend(*slot);
  return item;
}

void LentItem::drop() {
  if (slot_ == nullptr) return;
  auto* const slot = static_cast<RingSlot*>(std::exchange(slot_, nullptr));
  view_ = {};
  RingSeat seat;
  seat.state = ring_state_of(*object_);
  seat.base = Arena::instance().base();
  seat.participant = &participant_at(*seat.state, participant_);
  seat.index = participant_;
  if (Owner(owner_).serial() == Owner::self().serial() && get(seat.participant->owner) == owner_) {
    Getting getting(seat);
    RingSlot* slots[] = {slot};
    getting.keep(slots);
  }
  object_.reset();
}

void RingQueueCore::task_done() {
  const RingSeat& seat = seat_at(object_of(object_));
  RingState& state = *seat.state;
  Participant& me = *seat.participant;
  const auto too_often = [] {
    throw std::logic_error("task_done() called more often than items were put into the queue");
  };
  // SYNC(dones): one who counts what it took does so before it looks whether others count too, and one who counts what
  // another took says so before it looks at the counts: so of two for the last item, one sees the other.
  const bool is_own = detail::get(me.gets) > detail::get(me.dones) && detail::get(state.dones_of_others) == 0;
  TANDEM_KILL_POINT("queue.done.begun");
  if (is_own) me.dones.fetch_add(1);  // Also the barrier before the look at who waits.
  TANDEM_KILL_POINT("queue.done.counted");
  if (!is_own || state.dones_of_others.load() != 0) {
    const RingLock lock(state);
    if (is_own) {
      if (lock.counts().overdrawn()) {
        me.dones.fetch_sub(1);
        too_often();
      }
    } else {
      state.dones_of_others.exchange(1);
      const RingLock::Counts counts = lock.counts();
      if (counts.unfinished() == 0 || counts.overdrawn()) too_often();
      me.dones.fetch_add(1);
    }
  }
  TANDEM_KILL_POINT("queue.done");
  if (estimate_counts(state).unfinished() == 0) wake(state.finished, 2);
}

bool RingQueueCore::join(const Deadline& deadline) {
  RingState& state = state_of(object_);
  const auto ready = [&] {
    if (detail::get(state.closed) == kDiscarded) return true;
    const RingLock lock(state);
    return lock.counts().unfinished() == 0;
  };
  if (ready()) return true;
  // Not spun for: work is what is waited for.
  for (;;) {
    sweep_family();
    settle(state);
    if (ready()) return true;
    if (deadline.passed()) return false;
    const WaitPoint::Ticket ticket = state.finished.prepare();
    if (ready()) return true;
    TANDEM_KILL_POINT("queue.sleep");
    state.finished.sleep(ticket, deadline);
    TANDEM_KILL_POINT("queue.woken");
    state.finished.resume();
    if (ready()) return true;
  }
}

void RingQueueCore::close(bool discard) {
  Ring ring(seat_at(object_of(object_)));
  const std::uint64_t wanted = discard ? kDiscarded : kDraining;
  for (std::uint64_t now = detail::get(ring->closed);
       now < wanted && !ring->closed.compare_exchange_weak(now, wanted, std::memory_order_acq_rel);) {
  }
  TANDEM_KILL_POINT("queue.closed");
  ring.put_end();
  TANDEM_KILL_POINT("queue.ended");
  if (discard) {
    static_cast<void>(settle_dead_claims(*ring, ring.index()));
    detail::discard(object_);
  }
  wake_everybody(*ring);
  bury_zombies();
}

// --- looking

std::size_t RingQueueCore::size() const {
  Ring ring(seat_at(object_of(object_)));
  if (ring.deaths_unseen()) settle(*ring);
  if (is_discarded(ring)) discard(object_);  // Who closed it, or put the last, may have been killed before it had.
  return items_waiting(ring);
}

bool RingQueueCore::closed() const {
  return detail::get(state_of(object_).closed) != kOpen;
}

std::size_t RingQueueCore::capacity() const {
  return state_of(object_).capacity;
}

namespace {

class RingWaitSource final : public WaitSource {
 public:
  explicit RingWaitSource(SharedObjectPtr object) : object_(std::move(object)) {}

  bool ready() override {
    Ring ring(seat_at(object_of(object_)));
    if (ring.deaths_unseen()) settle(*ring);
    if (is_ready(ring)) return true;
    return settle_dead_claims(*ring, ring.index()) && is_ready(ring);
  }
  std::optional<FutexWait> prepare() override {
    RingState& state = state_of(object_);
    const WaitPoint::Ticket ticket = state.items.prepare();
    if (ready()) return std::nullopt;
    return FutexWait{&state.items.word(), ticket};
  }
  // Who puts one item wakes one sleeper. This one takes nothing, so the wake-up goes to the next, who may.
  void resume() override {
    RingState& state = state_of(object_);
    state.items.resume();
    if (ready()) wake(state.items, 1);
  }

 private:
  static bool is_ready(Ring& ring) {
    if (get(ring->returned) != 0 || is_discarded(ring)) return true;
    const Ring::Front front = ring.look();
    if (front == Ring::Front::Item) return true;
    if (get(ring->closed) == kOpen || front == Ring::Front::Filling) return false;
    const RingLock lock(*ring);
    return lock.counts().not_taken() == 0;
  }

  const SharedObjectPtr object_;
};

}  // namespace

std::shared_ptr<WaitSource> RingQueueCore::wait_source() const {
  static_cast<void>(state_of(object_));
  return std::make_shared<RingWaitSource>(object_);
}

// --- batches

void RingQueueCore::Batch::put(const EncodedItem& item) {
  // Enough to make the cost of claiming and waking small beside the copying; not so much that others wait long.
  constexpr std::size_t kFlushItems = 128;
  if (!is_small(state_of(queue_.object_), item)) {
    finish();
    queue_.put(item, Deadline::never());
    return;
  }
  items_.add(item);
  if (items_.size() == kFlushItems) finish();
}

namespace {

/// Puts `count` small items, which lie behind one another from `bytes` on; `size_of(i)` is the size of one.
template <class SizeOf>
void put_several(Putting& putting, const std::byte* bytes, std::uint64_t count, SizeOf size_of) {
  Ring& ring = putting.ring();
  for (std::uint64_t done = 0; done < count;) {
    RingPosition first(0);
    std::uint64_t run = 0;
    putting.claim_several(small_form(*ring, size_of(done)), count - done, first, run);
    for (std::uint64_t i = 0; i < run; ++i) {
      const std::size_t size = size_of(done + i);
      const RingPosition at = first.after(i);
      fill(ring.slot_at(at), {bytes, size});
      if (i > 0) ring.set_behind(at, small_form(*ring, size));
      bytes += size;
    }
    putting.publish(first, run);
    putting.drop_if_late();
    done += run;
  }
}

}  // namespace

void RingQueueCore::Batch::finish() {
  if (items_.empty()) return;
  Putting putting(queue_.object_);
  put_several(putting, items_.bytes(), items_.size(), [&](std::uint64_t i) { return items_.items()[i].size_bytes; });
  items_.clear();
}

void RingQueueCore::put_plain(std::span<const std::byte> items) {
  if (items.empty()) return;
  const RingState& state = state_of(object_);
  const std::size_t size = state.plain_bytes;
  if (size > state.inline_bytes) {
    for (; !items.empty(); items = items.subspan(size))
      put_large(object_, EncodedItem(items.first(size)), Deadline::never());
    return;
  }
  Putting putting(object_);
  put_several(putting, items.data(), items.size() / size, [size](std::uint64_t) { return size; });
}

}  // namespace tandem::detail
