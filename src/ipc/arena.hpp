/// One memory for all shared objects of a family: a sparse memfd mapping.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ipc/heap.hpp"
#include "ipc/look_interval.hpp"
#include "ipc/shared_lock.hpp"

namespace tandem::detail {

/// The first bytes of the arena. Guarded by `lock`, but for what is constant after construction and `reaper`.
struct ArenaHeader {
  // Constant after construction.
  std::uint64_t magic;
  std::uint64_t reserved_bytes;

  SharedLock lock;
  HeapState heap;
  Word limit_bytes;
  Word next_generation;  // Of objects and of slots: no two in a family share one.
  Word next_serial;      // Of processes.
  Word process_slots;    // Offset of the first slot of each table (family.cpp); slots are reused, never freed.
  Word thread_slots;
  Word zombies;        // Objects that nobody holds, not yet taken apart.
  Word scratch;        // Owner of a block within one transaction.
  LookInterval sweep;  // Without the lock.
  Word deaths;         // How often dead members were found; read without the lock.

  SharedLock reaper;  // Held by who takes zombies apart; before all others.
};

/// The family's arena, as mapped in this process. There is one; it is never unmapped.
///
/// Threads and processes: all members from any.
/// Errors: std::system_error naming the arena and its size.
class Arena {
 public:
  /// The arena; made on first use, unless this process has adopted its family's.
  static Arena& instance();
  /// Whether this process has one already.
  static bool exists() noexcept;
  /// Maps the arena behind a descriptor that the parent passed. Throws std::logic_error if there is one already.
  static void adopt(int memory_fd);
  /// Around fork(): nobody is in the midst of making the arena, for no thread would end that in the child.
  static void hold_making();
  static void release_making();

  int descriptor() const noexcept { return memory_fd_; }
  std::byte* base() const noexcept { return base_; }
  ArenaHeader& header() const noexcept { return *reinterpret_cast<ArenaHeader*>(base_); }
  Heap& heap() noexcept { return heap_; }
  template <class T>
  T& at(std::uint64_t offset) const noexcept {
    return *reinterpret_cast<T*>(base_ + offset);
  }
  /// Whether an object of `bytes` bytes may lie there: for offsets that come from outside.
  bool contains(std::uint64_t offset, std::uint64_t bytes) const noexcept;

  /// Makes `owner` own at least `bytes` bytes of any content, ready to be touched. Locks.
  void allocate(Word& owner, std::uint64_t bytes);
  /// Frees what `owner` owns. Locks.
  void free(Word& owner);

 private:
  Arena(int memory_fd, std::byte* base);

  const int memory_fd_;
  std::byte* const base_;
  Heap heap_;
};

/// Where something of the arena lies in it.
inline std::uint64_t arena_offset_of(const void* address) {
  return static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - Arena::instance().base());
}

/// A transaction under the arena's lock.
class ArenaChange : public Transaction {
 public:
  explicit ArenaChange(Arena& arena) : Transaction(arena.header().lock, arena.base()) {}
};

/// For who passes the arena on, and for who was given it.
int arena_descriptor();
void adopt_arena(int memory_fd);

}  // namespace tandem::detail
