/// Who holds something in shared memory, in one word that a compare-and-swap writes together with the claim.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "ipc/arena.hpp"

namespace tandem::detail {

/// The calling thread's Owner, or 0 until it is asked for; renewed in a forked child.
extern constinit thread_local std::uint64_t this_owner_cache;

/// A thread of a process of the family, as the bits of one word: the process's serial, which is never used again (40
/// bits), the thread's number in the kernel (22 bits, its largest), and two bits that are left to the user of the word.
/// Value.
///
/// That a claim and the claimer's name are one store is what lets others tell, after a kill at any instruction, whether
/// the dead one had it. The lower half of the word holds the thread and the flags, and can be slept on.
class Owner {
 public:
  static constexpr int kFlagBits = 2;
  static constexpr int kTidBits = 22;
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
  std::uint64_t serial() const noexcept { return word_ >> (kTidBits + kFlagBits); }
  pid_t tid() const noexcept { return static_cast<pid_t>((word_ >> kFlagBits) & ((std::uint64_t{1} << kTidBits) - 1)); }
  /// The process's pid; 0 if it is gone and swept away.
  pid_t pid() const;
  /// What the kernel says of it. Takes the arena's lock and makes system calls.
  Life life() const;

  friend bool operator==(Owner, Owner) = default;

 private:
  static std::uint64_t find_out();

  std::uint64_t word_;
};

/// Whether the process with this serial is gone with all of its threads.
bool process_is_dead(ArenaChange& change, std::uint64_t serial);

}  // namespace tandem::detail
