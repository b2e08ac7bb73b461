/// A lock in shared memory under which changes are all or nothing, also for a process killed in their midst.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/mutex.hpp"

namespace tandem::detail {

/// Every changeable word of shared memory that a Transaction guards. Atomic so that looking without the lock (sizes,
/// for example) is defined; the lock gives the ordering.
using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 8, "shared between processes");

inline std::uint64_t get(const Word& word) noexcept {
  return word.load(std::memory_order_relaxed);
}

/// The lock and its undo log, as laid out in shared memory. A process killed while it holds the lock leaves the log
/// with the old values of all words that it changed since its last commit; who locks next puts them back.
struct SharedLock {
  // The longest transaction is a free() in the allocator with neighbours on both sides, inside a queue's: about 40.
  static constexpr std::size_t kMaxChanges = 124;

  struct Change {
    std::uint64_t offset;  // Of the word, from the start of the arena.
    std::uint64_t old_value;
  };

  pthread_mutex_t mutex;  // Robust and process-shared.
  Word change_count;      // How many of `changes` are valid: those of the transaction under way.
  Change changes[kMaxChanges];

  /// Makes an unlocked lock of raw memory.
  void initialise();
};
static_assert(sizeof(SharedLock) == 48 + 124 * 16 && alignof(SharedLock) == 8, "layout in shared memory");

/// Holds a SharedLock and changes words under it. Owner, for one scope.
///
///   Transaction change(lock, base);
///   change.set(header.count, 7);
///   change.commit();                 // until here a kill, an exception or a return changes nothing
///
/// Threads and processes: one thread of one process at a time is between construction and destruction.
/// Killed peers: what a dead owner had not committed was undone before the constructor returns; recovered() says so.
/// Cost: uncontended, two atomic operations for the lock and three plain stores for each word set.
class TANDEM_SCOPED_CAPABILITY Transaction {
 public:
  /// Waits for the lock. `base` is where the arena is mapped in this process.
  Transaction(SharedLock& lock, std::byte* base);
  /// Undoes what is not committed, then unlocks.
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  /// Whether the last owner died holding the lock.
  bool recovered() const noexcept { return recovered_; }

  /// Changes a word; undone unless committed.
  void set(Word& word, std::uint64_t value);
  /// Makes the changes so far final. The transaction may go on with further ones.
  void commit() noexcept;
  /// Undoes the changes since the last commit.
  void undo() noexcept;

 private:
  SharedLock& lock_;
  std::byte* const base_;
  bool recovered_ = false;
};

/// Runs before the log of a lock that outer locks may share words with is played back: see
/// docs/internals/architecture.md. The arena sets it; it locks and so recovers the arena's own lock.
extern void (*recover_inner_lock)(SharedLock& recovering, std::byte* base);

}  // namespace tandem::detail
