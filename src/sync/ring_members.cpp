#include "sync/ring_members.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <system_error>

#include "ipc/owner.hpp"

namespace tandem::detail {
namespace {

constexpr std::uint64_t table_size(std::uint64_t table) {
  return RingState::kFirstTable << (table == 0 ? 0 : table - 1);
}
constexpr std::uint64_t kThreadBits = Owner::kNumberBits + Owner::kFlagBits;

/// What all ended threads of a process have left in common is kept under the process's name alone.
constexpr std::uint64_t process_part(std::uint64_t owner) {
  return owner >> kThreadBits << kThreadBits;
}
bool is_account(const Participant& participant) {
  return get(participant.owner) != 0 && get(participant.owner) == process_part(get(participant.owner));
}

// Its slot is given up only when the block that it had under way is settled (sweep_family()).
bool thread_is_over(const Participant& participant) {
  const auto& slot = Arena::instance().at<ThreadSlot>(get(participant.thread_slot));
  const auto is_over = [&] {
    return get(slot.generation) != get(participant.thread_generation) || get(slot.state) != kSlotLive;
  };
  if (!is_over()) return false;
  // Who sweeps may be in the midst of saying so and be killed: then it is undone, and whether the block was given away
  // is asked again, of counts that must still be there. Under the lock, what is seen is for good.
  const ArenaChange change(Arena::instance());
  return is_over();
}

std::uint64_t deaths_for_good() {
  const ArenaChange change(Arena::instance());
  return get(Arena::instance().header().deaths);
}

// A mark is 1 more than the count was when it was set.
bool is_committed(const Word& count, const Word& mark) {
  return get(count) + 1 != get(mark);
}

template <class Visit>
void visit_participants(const RingState& state, Visit visit) {
  std::uint64_t index = 0;
  for (std::uint64_t table = 0; table < RingState::kTables; ++table) {
    const std::uint64_t end = index + table_size(table);
    if (get(state.tables[table]) == 0) return;
    for (; index < end; ++index)
      if (Participant& participant = participant_at(state, index); get(participant.owner) != 0)
        visit(participant, index);
  }
}

void set_all_zero(Transaction& change, Participant& participant) {
  for (Word* word : {&participant.owner, &participant.thread_slot, &participant.thread_generation, &participant.puts,
                     &participant.put_mark, &participant.gets, &participant.get_mark, &participant.dones})
    change.set(*word, 0);
}

}  // namespace

Participant& participant_at(const RingState& state, std::uint64_t index) {
  const std::uint64_t doubled = index / RingState::kFirstTable;
  const auto table = static_cast<std::uint64_t>(std::bit_width(doubled));
  const std::uint64_t first = table == 0 ? 0 : table_size(table);
  const std::uint64_t begin = round_up(state.tables[table].load(std::memory_order_acquire), alignof(Participant));
  return Arena::instance().at<Participant>(begin + (index - first) * sizeof(Participant));
}

// --- seats

constinit thread_local std::array<RingSeat, kSeats> seats{};

namespace {

RingSeat new_seat(const SharedObject& queue, std::uint64_t except) {
  RingSeat seat;
  seat.queue = queue.id();
  seat.owner = Owner::self().word();
  seat.state = ring_state_of(queue);
  seat.base = Arena::instance().base();
  seat.head = get(seat.state->head);
  const Member thread = this_thread();
  RingLock lock(*seat.state);
  seat.index = lock.join(seat.owner, thread, except);
  seat.participant = &participant_at(*seat.state, seat.index);
  return seat;
}

}  // namespace

RingSeat& take_ring_seat(RingSeat& seat, const SharedObject& queue) {
  seat = RingSeat{};
  return seat = new_seat(queue, kNoParticipant);
}

RingSeat other_seat_at(const SharedObject& queue) {
  return new_seat(queue, seat_at(queue).index);
}

// --- the lock

void RingLock::add_block(Word& owner, std::uint64_t bytes) {
  Arena& arena = Arena::instance();
  settle_growing();  // Who began one may have died.
  arena.allocate(state_.growing, bytes);
  std::memset(arena.base() + get(state_.growing), 0, bytes);
  TANDEM_KILL_POINT("queue.ring.allocated");
  // Not a transaction: others go on in the block as soon as they see it, so that must never be undone.
  // SYNC(ring-block): release here, acquire in Ring::chunk_at() and participant_at(): who finds the block finds it
  // zeroed.
  owner.store(get(state_.growing), std::memory_order_release);
  TANDEM_KILL_POINT("queue.ring.given");
  state_.growing.store(0, std::memory_order_release);
}

void RingLock::settle_growing() {
  const std::uint64_t block = get(state_.growing);
  if (block == 0) return;
  const auto is_block = [block](const Word& owner) { return get(owner) == block; };
  if (std::ranges::any_of(state_.chunks, is_block) || std::ranges::any_of(state_.tables, is_block))
    state_.growing.store(0, std::memory_order_release);
  else
    Arena::instance().free(state_.growing);
}

template <class Visit>
void RingLock::for_each_participant(Visit visit) const {
  visit_participants(state_, visit);
}

template <class Visit>
void RingLock::for_each_slot(Visit visit) const {
  const std::byte* base = Arena::instance().base();
  for (std::uint64_t chunk = 0; chunk < RingState::kChunks && get(state_.chunks[chunk]) != 0; ++chunk) {
    const std::byte* slot = base + get(state_.chunks[chunk]);
    for (std::uint64_t place = 0; place < Ring::slots_of(state_, chunk); ++place, slot += state_.slot_bytes)
      visit(*reinterpret_cast<RingSlot*>(const_cast<std::byte*>(slot)));
  }
}

std::uint64_t RingLock::join(std::uint64_t owner, const Member& thread, std::uint64_t except) {
  constexpr std::uint64_t kNone = kNoParticipant;
  std::uint64_t own = kNone;
  for_each_participant([&](Participant& participant, std::uint64_t index) {
    // One with a mark is in use by the call that this one is inside of.
    if (index != except && get(participant.owner) == owner && get(participant.get_mark) == 0 &&
        get(participant.put_mark) == 0)
      own = index;
  });
  if (own != kNone) return own;
  const auto find_free = [&] {
    std::uint64_t index = 0;
    for (std::uint64_t table = 0; table < RingState::kTables && get(state_.tables[table]) != 0; ++table)
      for (const std::uint64_t end = index + table_size(table); index < end; ++index)
        if (get(participant_at(state_, index).owner) == 0) return index;
    return kNone;
  };
  std::uint64_t index = find_free();
  if (index == kNone) {
    static_cast<void>(settle());  // Otherwise the threads of a long life would pile up.
    index = find_free();
  }
  if (index == kNone) {
    std::uint64_t table = 0;
    while (table < RingState::kTables && get(state_.tables[table]) != 0) ++table;
    if (table == RingState::kTables)
      throw std::system_error(EUSERS, std::generic_category(), "more than 4096 threads use a queue");
    // Room to align it to lines of the cache.
    add_block(state_.tables[table], table_size(table) * sizeof(Participant) + alignof(Participant));
    index = find_free();
  }
  Participant& participant = participant_at(state_, index);
  change_.set(participant.thread_slot, thread.slot);
  change_.set(participant.thread_generation, thread.generation);
  change_.set(participant.owner, owner);
  change_.commit();
  TANDEM_KILL_POINT("queue.joined");
  return index;
}

RingLock::Counts estimate_counts(const RingState& state) {
  RingLock::Counts counts{0, get(state.gets), get(state.dones)};
  // What is subtracted is read first, so that what is left is rather too much.
  visit_participants(state, [&](const Participant& participant, std::uint64_t) {
    counts.gets += participant.gets.load(std::memory_order_acquire);
    counts.dones += participant.dones.load(std::memory_order_acquire);
  });
  counts.puts = get(state.puts);
  visit_participants(state, [&](const Participant& participant, std::uint64_t) {
    counts.puts += participant.puts.load(std::memory_order_acquire);
  });
  return counts;
}

RingLock::Counts RingLock::counts() const {
  return estimate_counts(state_);
}

// --- the dead

bool RingLock::settle_slots(Participant& participant, std::uint64_t index) {
  bool changed = false;
  const bool put = is_committed(participant.puts, participant.put_mark);
  const bool got = is_committed(participant.gets, participant.get_mark);
  const auto disturb = [&](Word& what) { what.store(1, std::memory_order_relaxed); };
  const auto end_filling = [&](RingSlot& slot, std::uint64_t sequence) {
    if (!put) disturb(state_.disturbed);
    const SlotWord word = slot.load();
    slot.set(put ? word.in_phase(SlotPhase::Full) : SlotWord(SlotPhase::Hole, sequence));
  };
  const auto end_taking = [&](RingSlot& slot) {
    const SlotWord word = slot.load();
    if (got) {
      if (word.is_large()) free_cargo(slot);
      slot.set(word.in_phase(SlotPhase::Empty));
    } else {
      disturb(state_.disturbed);
      disturb(state_.returned);
      slot.set(word.in_phase(SlotPhase::Returned));
    }
  };
  for_each_slot([&](RingSlot& first) {
    const SlotWord word = first.load();
    if (!word.is_claimed_by(index)) return;
    changed = true;
    // The first one last: until then it says that all are claimed.
    for (std::uint64_t i = word.run(); i-- > 0;) {
      RingSlot& slot = *reinterpret_cast<RingSlot*>(reinterpret_cast<std::byte*>(&first) + i * state_.slot_bytes);
      const std::uint64_t sequence = sequence_of(word.word() + i * kOneSequence);
      const SlotWord its = slot.load();
      if (word.phase() == SlotPhase::Filling) {
        // Behind the count, one that is an item already may have been taken, and its place be another's.
        if (!put || its == SlotWord(SlotPhase::Filling, sequence, index, its.form()) || i == 0)
          end_filling(slot, sequence);
      } else if (i == 0 || its == SlotWord(SlotPhase::Full, sequence, 0, its.form())) {
        // One that is emptied already may be another's.
        end_taking(slot);
      }
      TANDEM_KILL_POINT("queue.settled");
    }
  });
  return changed;
}

// Its counts become part of the account that is kept for its process until that is gone.
void RingLock::keep_for_process(Participant& participant) {
  Participant* account = nullptr;
  const std::uint64_t process = process_part(get(participant.owner));
  for_each_participant([&](Participant& other, std::uint64_t) {
    if (get(other.owner) == process) account = &other;
  });
  change_.set(state_.puts, get(state_.puts) + get(participant.puts));
  if (account != nullptr) {
    change_.set(account->gets, get(account->gets) + get(participant.gets));
    change_.set(account->dones, get(account->dones) + get(participant.dones));
    set_all_zero(change_, participant);
  } else {
    for (Word* word : {&participant.thread_slot, &participant.thread_generation, &participant.puts,
                       &participant.put_mark, &participant.get_mark})
      change_.set(*word, 0);
    change_.set(participant.owner, process);
  }
  change_.commit();
}

// What a process had taken and not marked done counts as done once it is gone. But items that wait or are being
// received were not taken, whatever it counted: a process may mark done what another one took.
void RingLock::close_account(Participant& account) {
  const Counts all = counts();
  const std::uint64_t gets = get(account.gets), dones = get(account.dones);
  const std::uint64_t owed = gets > dones ? gets - dones : 0;
  const std::uint64_t most = all.unfinished() > all.not_taken() ? all.unfinished() - all.not_taken() : 0;
  change_.set(state_.gets, get(state_.gets) + gets);
  change_.set(state_.dones, get(state_.dones) + dones + std::min(owed, most));
  set_all_zero(change_, account);
  change_.commit();
  TANDEM_KILL_POINT("queue.account.closed");
}

bool RingLock::settle() {
  const std::uint64_t deaths = deaths_for_good();
  bool changed = false;
  for_each_participant([&](Participant& participant, std::uint64_t index) {
    if (is_account(participant) || !thread_is_over(participant)) return;
    if (get(participant.put_mark) != 0 || get(participant.get_mark) != 0) changed |= settle_slots(participant, index);
    keep_for_process(participant);
  });
  for_each_participant([&](Participant& account, std::uint64_t) {
    if (!is_account(account) || !Owner(get(account.owner)).process_is_dead()) return;
    bool all_over = true;  // A thread whose end has not been swept yet may still have counted.
    for_each_participant([&](Participant& other, std::uint64_t) {
      all_over &= &other == &account || process_part(get(other.owner)) != get(account.owner);
    });
    if (all_over) close_account(account);
  });
  state_.seen_deaths.store(deaths, std::memory_order_relaxed);
  return changed;
}

RingSlot* RingLock::take_returned(std::uint64_t index) {
  RingSlot* oldest = nullptr;
  for_each_slot([&](RingSlot& slot) {
    const SlotWord word = slot.load();
    if (word.phase() != SlotPhase::Returned) return;
    // One with the other: both ends of the queue may lag.
    if (oldest == nullptr || is_earlier(word.sequence(), oldest->load().sequence())) oldest = &slot;
  });
  if (oldest == nullptr) {
    state_.returned.store(0, std::memory_order_relaxed);
    return nullptr;
  }
  oldest->set(oldest->load().in_phase(SlotPhase::Taking, index));
  TANDEM_KILL_POINT("queue.get.claimed");
  return oldest;
}

bool settle_if_dead(RingState& state, std::uint64_t index) {
  {
    Participant& participant = participant_at(state, index);
    const std::uint64_t slot = get(participant.thread_slot), generation = get(participant.thread_generation);
    if (slot == 0) return false;
    ArenaChange change(Arena::instance());
    if (!thread_is_dead(change, {slot, generation})) return false;
  }
  sweep_family();
  RingLock lock(state);
  static_cast<void>(lock.settle());
  return true;
}

bool settle_dead_claims(RingState& state, std::uint64_t but_for) {
  bool settled = false;
  visit_participants(state, [&](const Participant& participant, std::uint64_t index) {
    if (index == but_for) return;
    if (get(participant.get_mark) != 0 || get(participant.put_mark) != 0) settled |= settle_if_dead(state, index);
  });
  return settled;
}

// --- memory

void free_cargo(RingSlot& slot) {
  Arena& arena = Arena::instance();
  if (get(slot.cargo) == 0) return;  // Done by one who died before the slot was emptied.
  auto& cargo = arena.at<Cargo>(get(slot.cargo));
  if (get(cargo.references) != 0) {
    ArenaChange change(arena);
    cargo.drop_references(change);
  }
  TANDEM_KILL_POINT("queue.cargo.dropped");
  arena.free(slot.cargo);
  TANDEM_KILL_POINT("queue.cargo.freed");
}

void RingLock::take_apart() {
  Arena& arena = Arena::instance();
  static_cast<void>(settle());
  settle_growing();
  for_each_slot([](RingSlot& slot) {
    const SlotWord word = slot.load();
    const bool has_item = word.phase() == SlotPhase::Full || word.phase() == SlotPhase::Returned;
    if (has_item && word.is_large()) free_cargo(slot);
    if (has_item) slot.set(word.in_phase(SlotPhase::Empty));
  });
  // The first of each is in the object itself.
  for (std::uint64_t chunk = RingState::kChunks; chunk-- > 1;)
    if (get(state_.chunks[chunk]) != 0) arena.free(state_.chunks[chunk]);
  for (std::uint64_t table = RingState::kTables; table-- > 1;)
    if (get(state_.tables[table]) != 0) arena.free(state_.tables[table]);
}

}  // namespace tandem::detail
