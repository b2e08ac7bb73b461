#include "sync/units.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "core/kill_point.hpp"
#include "core/system.hpp"
#include "ipc/futex.hpp"
#include "ipc/members.hpp"

namespace tandem::detail {

std::uint32_t UnitsState::find_place(const SharedObject& object) {
  const Member self = this_process();
  Arena& arena = Arena::instance();
  take_back_from_the_dead();  // Otherwise the records of short-lived processes would pile up.
  ArenaChange change(arena);
  std::uint32_t free = 0;
  for (std::uint32_t chunk = 0; chunk < kChunks; ++chunk) {
    if (get(chunks[chunk]) == 0) {
      if (free != 0) break;
      static_cast<void>(
          arena.heap().allocate(change, kChunkRecords * sizeof(UnitsRecord), chunks[chunk], Heap::Use::Record));
      // Nobody sees them before the commit, which makes the chunk a part of the semaphore.
      std::memset(static_cast<void*>(&arena.at<UnitsRecord>(get(chunks[chunk]))), 0,
                  kChunkRecords * sizeof(UnitsRecord));
    }
    for (std::uint32_t i = chunk == 0 ? 1 : 0; i < kChunkRecords; ++i) {
      const std::uint32_t place = chunk * kChunkRecords + i;
      const Member its{get(record(place).slot), get(record(place).generation)};
      // Another thread was faster, or this process has used the semaphore before.
      if (its == self) return note_place(object, place);
      if (its.slot == 0 && free == 0) free = place;
    }
  }
  if (free == 0) throw_system_error(EUSERS, "cannot use the semaphore in more processes at once");
  change.set(record(free).slot, self.slot);
  change.set(record(free).generation, self.generation);
  change.commit();
  return note_place(object, free);
}

// Before the word names another process, the one it names now must have its number in its record. In the model: Settle,
// and RescueSettle for give_back().
bool UnitsState::hand_over(const UnitsWord& now) {
  // Halves that do not belong together must not be noted.
  if (word.load_whole() != now.bits()) return false;
  if (now.holder() != 0) settle(now);
  return true;
}

void UnitsState::settle(const UnitsWord& now) {
  WideWord& settled = record(now.holder()).settled;
  for (;;) {
    const Wide before = settled.load();
    if (before.low >= now.version() || settled.compare_exchange(before, {now.version(), now.taken()})) break;
  }
  TANDEM_KILL_POINT("semaphore.settled");
}

// In the model: Rescue, RescueNext, FreeRecord.
void UnitsState::take_back_from_the_dead() {
  if (comes_back == 0) return;
  ArenaChange change(Arena::instance());
  for (std::uint32_t chunk = 0; chunk < kChunks && get(chunks[chunk]) != 0; ++chunk) {
    for (std::uint32_t i = chunk == 0 ? 1 : 0; i < kChunkRecords; ++i) {
      UnitsRecord& theirs = record(chunk * kChunkRecords + i);
      if (get(theirs.slot) == 0 || !process_is_dead(change, Member{get(theirs.slot), get(theirs.generation)})) continue;
      give_back(chunk * kChunkRecords + i);
      TANDEM_KILL_POINT("semaphore.given_back");
      change.set(theirs.slot, 0);
      change.commit();
    }
  }
}

// With the arena's lock, so that a record is not freed and taken anew meanwhile. In the model: RescueLoad, GiveBack,
// RescueWake.
void UnitsState::give_back(std::uint32_t place) {
  for (;;) {
    const UnitsWord now = load();
    const std::uint32_t taken = now.holder() == place ? now.taken() : settled_units(place);
    if (now.holder() != place && !hand_over(now)) continue;
    if (taken == 0 && word.load_whole() == now.bits()) return;
    const std::uint64_t units = std::min<std::uint64_t>(std::uint64_t{now.units()} + taken, bound);
    const UnitsWord next = now.with(static_cast<std::uint32_t>(units), false).held_by(place, 0);
    if (!word.compare_exchange(now.bits(), next.bits())) continue;
    if (now.sleepers()) wake(taken);
    return;
  }
}

void UnitsState::wake(std::size_t sleepers) {
  futex_wake(word.low_word(), static_cast<int>(std::min<std::size_t>(sleepers, INT_MAX)));
}

namespace {

void destroy_units(void* body) {
  auto& state = *static_cast<UnitsState*>(body);
  for (Word& chunk : state.chunks)
    if (get(chunk) != 0) Arena::instance().free(chunk);
}

// Before main(), so that every process of the family can take semaphores apart.
[[maybe_unused]] const bool destroyer_is_set = (set_destroyer(ObjectKind::Semaphore, destroy_units),
                                                set_destroyer(ObjectKind::BoundedSemaphore, destroy_units), true);

}  // namespace
}  // namespace tandem::detail
