/// Who holds something in shared memory, in one word that a compare-and-swap writes together with the claim.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "ipc/arena.hpp"

namespace tandem::detail {

/// The calling thread's Owner, or 0 until it is asked for; renewed in a forked child.
extern constinit thread_local std::uint64_t this_owner_cache;

/// A thread of a process of the family, as the bits of one word: the process's serial, which is never used again (34
/// bits), the thread's number in that process (28 bits; not the kernel's, which the next thread may get), and two bits
/// that are left to the user of the word. Value.
///
/// That a claim and the claimer's name are one store is what lets others tell, after a kill at any instruction, whether
/// the dead one had it. The lower half of the word holds the thread and the flags, and can be slept on.
class Owner {
 public:
  static constexpr int kFlagBits = 2;
  static constexpr int kNumberBits = 28;
  static constexpr std::uint64_t kFlags = (std::uint64_t{1} << kFlagBits) - 1;
  /// Larger than any owner.
  static constexpr std::uint64_t kNobody = ~std::uint64_t{0} & ~kFlags;

  enum class Life { Alive, ThreadEnded, Dead };

  /// The owner that a word names, whatever its flags.
  explicit Owner(std::uint64_t word) noexcept : word_(word & ~kFlags) {}
  /// The calling thread.
  static Owner self() {
    const std::uint64_t cached = this_owner_cache;
    return Owner(cached != 0 ? cached : find_out());
  }

  /// Without flags; 0 if the word named nobody.
  std::uint64_t word() const noexcept { return word_; }
  std::uint64_t serial() const noexcept { return word_ >> (kNumberBits + kFlagBits); }
  /// What the kernel says of it. Takes the arena's lock and makes system calls.
  Life life() const;
  /// Only whether its process is gone with all of its threads.
  bool process_is_dead() const;

  /// The kernel's numbers for it, for people; 0 for what is gone.
  struct Numbers {
    pid_t pid = 0;
    pid_t tid = 0;
  };
  Numbers numbers() const;

  friend bool operator==(Owner, Owner) = default;

 private:
  static std::uint64_t find_out();

  std::uint64_t word_;
};

}  // namespace tandem::detail
