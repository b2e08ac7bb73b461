/// The count of a semaphore, and who has how many of its units.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/kill_point.hpp"
#include "ipc/family.hpp"
#include "sync/owner_lock.hpp"
#include "sync/wide_word.hpp"

namespace tandem::detail {

/// What the word of a semaphore holds. Value.
///
///   low half:  bit 0: somebody may sleep   31 bits: units to be had   32 bits: units that the holder has
///   high half: 12 bits: the holder's place   52 bits: the version
class UnitsWord {
 public:
  static constexpr int kPlaceBits = 12;
  static constexpr std::uint32_t kPlaceMask = (1U << kPlaceBits) - 1;

  UnitsWord() = default;
  explicit UnitsWord(Wide bits) noexcept : bits_(bits) {}

  /// Units to be had.
  std::uint32_t units() const noexcept { return static_cast<std::uint32_t>(bits_.low) >> 1; }
  /// Whether somebody may sleep for one.
  bool sleepers() const noexcept { return (bits_.low & 1) != 0; }
  /// Place of the process that changed the count last; 0: none is kept.
  std::uint32_t holder() const noexcept { return static_cast<std::uint32_t>(bits_.high) & kPlaceMask; }
  /// How many units that process has.
  std::uint32_t taken() const noexcept { return static_cast<std::uint32_t>(bits_.low >> 32); }
  /// Grows with each change, so that no value of the word ever comes back.
  std::uint64_t version() const noexcept { return bits_.high >> kPlaceBits; }
  Wide bits() const noexcept { return bits_; }

  /// The next version, with these units and sleepers.
  UnitsWord with(std::uint32_t units, bool sleepers) const noexcept {
    return UnitsWord({(bits_.low & ~std::uint64_t{0xFFFFFFFF}) | std::uint64_t{units} << 1 | (sleepers ? 1U : 0U),
                      bits_.high + (std::uint64_t{1} << kPlaceBits)});
  }
  /// The same with this holder.
  UnitsWord held_by(std::uint32_t place, std::uint32_t taken) const noexcept {
    return UnitsWord(
        {(bits_.low & 0xFFFFFFFF) | std::uint64_t{taken} << 32, (bits_.high & ~std::uint64_t{kPlaceMask}) | place});
  }

 private:
  Wide bits_;
};

/// How many units a process had when another one changed the count after it.
struct UnitsRecord {
  WideWord settled;  // Low half: the version of that change. High half: the units.
  Word slot;         // The process as a Member; 0 if the record is free. Guarded by the arena's lock.
  Word generation;
};
static_assert(sizeof(UnitsRecord) == 32, "layout in shared memory");

/// The body of a semaphore.
///
/// **Taking a unit is one compare-and-swap that also says who has it.** The word holds the count, the process that
/// changed it last, and how many units that process has: so long as one process works on the semaphore nothing else is
/// touched. Before another process changes it, that number is copied into the record of the former (with the version it
/// is true for, so that a late copy never overwrites a newer one), and its own number is read from its record, which
/// nobody changes while the word names another. A process killed anywhere has, or has not, changed the word; nothing
/// else decides what it holds.
///
/// The units of a dead process are given back in its name: one change of the word adds them and sets its number to 0,
/// so that a second one who tries finds nothing. Then its record is freed.
///
/// Modelled in tests/model/units.pml.
struct UnitsState {
  static constexpr std::uint32_t kChunkRecords = 64;
  static constexpr std::uint32_t kChunks = 64;
  static constexpr std::uint32_t kMaxUnits = 0x7FFFFFFF;

  WideWord word;
  LookInterval look;
  std::uint32_t bound;       // Constant. The most units that there may be.
  std::uint32_t comes_back;  // Constant. Whether units are kept by process.
  Word chunks[kChunks];      // Blocks of records; 0 where there is none yet. Guarded by the arena's lock.

  UnitsWord load() const noexcept { return UnitsWord(word.load()); }

  /// The place of this process's record, made if there is none; 0 if none is kept.
  std::uint32_t place_of_this_process(const SharedObject& object) {
    if (comes_back == 0) return 0;
    const std::uint64_t noted = object.local().load(std::memory_order_relaxed);
    // In a forked process what is noted is its parent's.
    if (noted >> UnitsWord::kPlaceBits == Owner::self().serial()) [[likely]]
      return static_cast<std::uint32_t>(noted) & UnitsWord::kPlaceMask;
    return find_place(object);
  }

  /// One try to take `units` in the name of the process at `place`; negative: to give. False if the word is not `now`
  /// any more. In the model: Change.
  bool change(const UnitsWord& now, std::int64_t units, std::uint32_t place, bool sleepers) {
    UnitsWord next = now.with(static_cast<std::uint32_t>(now.units() - units), sleepers);
    if (comes_back == 0) {
      TANDEM_KILL_POINT("semaphore.change");
      // A count alone: that it is the same again is all that matters.
      std::uint64_t low = now.bits().low;
      return word.low_word().compare_exchange_strong(low, next.bits().low);
    }
    if (place != 0) {
      if (now.holder() != place && !hand_over(now)) [[unlikely]]
        return false;
      const std::uint32_t had = now.holder() == place ? now.taken() : settled_units(place);
      // What a process releases beyond what it has was another's: then nobody's death gives it back.
      const std::int64_t has = static_cast<std::int64_t>(had) + units;
      next = next.held_by(place, static_cast<std::uint32_t>(std::clamp<std::int64_t>(has, 0, kMaxUnits)));
    }
    TANDEM_KILL_POINT("semaphore.change");
    return word.compare_exchange(now.bits(), next.bits());
  }
  /// Gives back what dead processes had.
  void take_back_from_the_dead();
  /// Lets up to so many sleepers look again.
  void wake(std::size_t sleepers);

  // Place 0 means none, so the first record of the first chunk is not used.
  UnitsRecord& record(std::uint32_t place) const {
    return (&Arena::instance().at<UnitsRecord>(get(chunks[place / kChunkRecords])))[place % kChunkRecords];
  }

 private:
  std::uint32_t settled_units(std::uint32_t place) const {
    return static_cast<std::uint32_t>(record(place).settled.high());
  }
  std::uint32_t find_place(const SharedObject& object);
  /// Notes this process's place, so that it is not looked for again.
  static std::uint32_t note_place(const SharedObject& object, std::uint32_t place) {
    object.local().store(Owner::self().serial() << UnitsWord::kPlaceBits | place, std::memory_order_relaxed);
    return place;
  }
  bool hand_over(const UnitsWord& now);
  void settle(const UnitsWord& now);
  void give_back(std::uint32_t place);
};
static_assert(sizeof(UnitsState) == 32 + 8 * UnitsState::kChunks, "layout in shared memory");

}  // namespace tandem::detail
