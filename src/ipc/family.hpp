/// Who shares the arena, what each of them holds, and giving back what the dead held.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <utility>
#include <vector>

#include <tandem/detail/shared_object.hpp>

#include "ipc/arena.hpp"

namespace tandem::detail {

/// Names a process or a thread of the family for ever: its slot and the slot's generation at that time.
struct Member {
  std::uint64_t slot = 0;
  std::uint64_t generation = 0;
  friend bool operator==(const Member&, const Member&) = default;
};

/// The calling process. Its slot exists from the arena's first use in it.
Member this_process();
/// The calling thread; gets a slot on its first call, given back when the thread ends.
Member this_thread();

/// Whether this thread can execute no further instruction, so that what it left half done may be taken over.
bool thread_is_dead(ArenaChange& change, const Member& thread);
/// Whether this process is gone with all of its threads.
bool process_is_dead(ArenaChange& change, const Member& process);

/// Makes this process a member, before anybody else in it can use the arena. Its forked children become members by
/// themselves.
void join_family(Arena& arena);

/// As fork(). The child is a member with the parent's holds from its first instruction on, and what it holds is
/// given back however early it dies. (A plain fork() makes a member too, but if its child dies within the call, its
/// holds are kept until the parent ends: nobody tells us the child's pid.)
pid_t fork_member();

/// Gives back what dead members held. Costs microseconds when nobody died.
void sweep_family();
/// The same, but not if anybody of the family has done it within the last 100 ms: for those who wait.
void sweep_family_if_due();

/// What stands in front of every shared object's body. Guarded by the arena's lock.
struct ObjectHeader {
  Word kind;  // An ObjectKind; 0 while the object is being made.
  Word generation;
  Word holds;  // Processes and messages that keep it alive.
  Word next_zombie;
  Word body_bytes;
  Word unused;  // Keeps the body aligned to 16.
};
static_assert(sizeof(ObjectHeader) == 48, "layout in shared memory");

/// Makes an object and takes this process's hold on it. `initialise` makes the zeroed body ready. If it throws or the
/// process is killed, nothing is left.
SharedObjectPtr make_object(ObjectKind kind, std::uint64_t body_bytes,
                            void (*initialise)(void* body, const void* argument), const void* argument);

/// Bytes that travel, with the objects that they refer to. The holds of a cargo are given back by drop_references().
///
/// Layout: this, `reference_capacity` object offsets, the bytes.
struct Cargo {
  Word references;  // How many of the offsets are holds. Guarded by the arena's lock.
  std::uint64_t reference_capacity;
  std::uint64_t size_bytes;
  std::uint64_t unused;

  static std::uint64_t total_bytes(std::uint64_t size_bytes, std::size_t reference_capacity) {
    return sizeof(Cargo) + reference_capacity * sizeof(Word) + size_bytes;
  }
  Word* offsets() noexcept { return reinterpret_cast<Word*>(this + 1); }
  std::byte* bytes() noexcept { return reinterpret_cast<std::byte*>(offsets() + reference_capacity); }
  const std::byte* bytes() const noexcept { return const_cast<Cargo*>(this)->bytes(); }

  /// Sets up an empty cargo in raw memory.
  void initialise(std::uint64_t size, std::size_t capacity) noexcept;
  /// Makes the cargo hold these objects, which the caller holds. Killed in between, it holds some of them.
  void add_references(const std::vector<SharedObjectPtr>& objects);
  /// Gives the holds back, committing one after the other. May be called again after a kill in between.
  void drop_references(ArenaChange& change);
};
static_assert(sizeof(Cargo) == 32, "layout in shared memory");

/// The objects that a parcel of this process's keeps alive, each once.
std::vector<std::pair<ObjectId, ObjectKind>> parcel_references(const SharedObject& parcel);

/// Takes an object's body apart when nobody holds it any more; called again if the caller is killed in between. Not all
/// kinds need one.
using Destroyer = void (*)(void* body);
void set_destroyer(ObjectKind kind, Destroyer destroyer);

}  // namespace tandem::detail
