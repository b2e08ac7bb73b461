/// A word of 128 bits in shared memory that is changed by compare-and-swap.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/thread_sanitizer.hpp"

namespace tandem::detail {

/// The two halves of a WideWord. Value.
struct Wide {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Wide&, const Wide&) = default;
};

/// Two words of 64 bits, each of which can be read alone, and which are written together. All zeros is its start.
///
/// Cost: one locked instruction (cmpxchg16b), a little more than that on a word of 64 bits.
class alignas(16) WideWord {
 public:
  /// Reads one half after the other: what a compare-and-swap expects, which fails if the halves do not belong together.
  Wide load() const noexcept {
    const std::uint64_t low = halves_[0].load(std::memory_order_acquire);
    return {low, halves_[1].load(std::memory_order_acquire)};
  }
  /// Reads both halves as they were at one instant.
  Wide load_whole() noexcept { return swap_if({}, {}); }
  std::uint64_t high() const noexcept { return halves_[1].load(std::memory_order_acquire); }
  /// Writes `wanted` if it still is `expected`; whether it did. Sequentially consistent, as the instruction is.
  bool compare_exchange(Wide expected, Wide wanted) noexcept { return swap_if(expected, wanted) == expected; }
  /// The lower half, to sleep on.
  std::atomic<std::uint64_t>& low_word() noexcept { return halves_[0]; }

 private:
  __extension__ using Bits = unsigned __int128;
  static Bits join(Wide value) noexcept { return (Bits{value.high} << 64) | value.low; }
  Wide swap_if(Wide expected, Wide wanted) noexcept {
#ifdef TANDEM_THREAD_SANITIZER
    // For the builtin below the sanitizer takes a lock of this process, which other processes do not see.
    for (const auto& half : halves_) passes_on(&half);
    asm volatile("lock cmpxchg16b %0"
                 : "+m"(halves_), "+a"(expected.low), "+d"(expected.high)
                 : "b"(wanted.low), "c"(wanted.high)
                 : "cc", "memory");
    for (const auto& half : halves_) comes_back(&half);
    return expected;
#else
    // The old builtin: the new ones, and so std::atomic, become calls into libatomic for this width.
    const Bits before = __sync_val_compare_and_swap(reinterpret_cast<Bits*>(halves_), join(expected), join(wanted));
    return {static_cast<std::uint64_t>(before), static_cast<std::uint64_t>(before >> 64)};
#endif
  }

  std::atomic<std::uint64_t> halves_[2];
};
static_assert(sizeof(WideWord) == 16, "layout in shared memory");

}  // namespace tandem::detail
