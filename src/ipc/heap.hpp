/// The allocator inside the arena.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ipc/shared_lock.hpp"

namespace tandem::detail {

/// The allocator's words, as laid out in the arena's header; guarded by the arena's lock. A process killed while it
/// changes them leaves an undo log (SharedLock).
struct HeapState {
  static constexpr std::size_t kSecondLevels = 16;
  static constexpr std::size_t kFirstLevels = 36;  // Up to blocks of 2^43 bytes.

  Word begin;         // Offset of the first block.
  Word end;           // Offset just behind the last block; grows.
  Word last;          // Offset of the last block; 0 while there is none.
  Word in_use_bytes;  // In counted blocks that are allocated, headers included.
  Word first_level;   // Bit f: some list of first level f is not empty.
  Word second_level[kFirstLevels];
  Word free_lists[kFirstLevels][kSecondLevels];
};

/// What the allocator knows of a block, directly in front of the caller's bytes.
struct BlockHeader {
  Word size_and_flags;  // Whole bytes of the block, a multiple of 16; the flags of heap.cpp in the low bits.
  Word previous;        // Offset of the block that ends where this one begins; 0 for the first.
};
static_assert(sizeof(BlockHeader) == 16, "keeps what follows aligned to 16");

/// Two-level segregated fit: constant time, good fit, neighbours joined at once.
///
/// Threads and processes: every member needs the arena's lock, which the Transaction argument stands for.
/// Killed peers: all changes go through the transaction; nothing is final before the caller commits. A block always
/// has an owner: allocate() writes its offset into a word of the caller's in the same transaction, free() clears it.
/// Errors: std::system_error if the arena's limit or the machine's memory is reached; then nothing has changed.
/// Cost: about 15 words changed per call; new memory costs the kernel about 1 ms per MiB, once.
/// Source: M. Masmano, I. Ripoll, A. Crespo, J. Real: TLSF, a new dynamic memory allocator for real-time systems
/// (2004).
class Heap {
 public:
  /// What a block is for.
  enum class Use {
    Content,  ///< Objects and items: counted as in use, and refused when the limit is reached.
    Record,   ///< Small, and needed to take things out or give them back: counted, but the limit does not stop it.
    Table,    ///< As Record, but not counted: the tables of processes and threads, which only grow.
  };

  Heap(std::byte* base, HeapState& state, int memory_fd, const Word& limit_bytes, std::uint64_t reserved_bytes)
      : base_(base), state_(state), memory_fd_(memory_fd), limit_bytes_(limit_bytes), reserved_bytes_(reserved_bytes) {}

  /// Makes `owner` the offset of at least `bytes` bytes, aligned to 16, with any content. True if their pages may
  /// be missing: then back() must be called, without the lock, before they are touched. Never so for less than 32 KiB.
  [[nodiscard]] bool allocate(Transaction& change, std::uint64_t bytes, Word& owner, Use use = Use::Content);
  /// Frees the block that `owner` names and sets `owner` to 0.
  void free(Transaction& change, Word& owner);

  /// Bytes that fit into the block at this offset.
  std::uint64_t capacity(std::uint64_t offset) const;
  /// Whether the block is so large, and so much free memory kept warm, that its pages should go back to the kernel.
  bool worth_releasing(std::uint64_t offset) const;
  /// Notes that pages of an allocated block may be missing from now on, or that none is.
  void mark(Transaction& change, std::uint64_t offset, bool cold);

  /// Gets pages for all of an allocated block. Without the lock: it may take long.
  void back(std::uint64_t offset) const;
  /// Gives the pages inside a block marked cold back to the kernel. Without the lock.
  void release_pages(std::uint64_t offset) const;

 private:
  BlockHeader& header(std::uint64_t block) const;
  std::uint64_t size(std::uint64_t block) const;
  bool has(std::uint64_t block, std::uint64_t flag) const;
  Word& next_free(std::uint64_t block) const;
  Word& previous_free(std::uint64_t block) const;

  void insert(Transaction& change, std::uint64_t block, std::uint64_t size, std::uint64_t flags);
  void remove(Transaction& change, std::uint64_t block);
  std::uint64_t find(std::uint64_t size) const;
  std::uint64_t grow(Transaction& change, std::uint64_t size, Use use);
  void warm_front(Transaction& change, std::uint64_t block, Use use);
  void split(Transaction& change, std::uint64_t block, std::uint64_t wanted);
  void link_following(Transaction& change, std::uint64_t block, std::uint64_t size);
  std::uint64_t resident_bytes() const;
  std::uint64_t missing_bytes(std::uint64_t offset, std::uint64_t bytes) const;
  void check_room(std::uint64_t offset, std::uint64_t bytes) const;
  void get_pages(std::uint64_t offset, std::uint64_t bytes, Use use) const;

  std::byte* const base_;
  HeapState& state_;
  const int memory_fd_;
  const Word& limit_bytes_;
  const std::uint64_t reserved_bytes_;
};

}  // namespace tandem::detail
