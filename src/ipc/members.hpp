/// The tables of processes and threads in the arena: layout and liveness. Used by family.cpp and objects.cpp alone.
#pragma once

#include <pthread.h>

#include <cstdint>

#include "ipc/arena.hpp"
#include "ipc/family.hpp"

namespace tandem::detail {

/// Common to both kinds of slot. Slots form a list, are reused and never freed.
struct Slot {
  pthread_mutex_t liveness;  // Robust; its thread holds it for life, so the kernel marks it when the thread is gone.
  Word next;                 // Offset of the next slot of the table; 0 at its end.
  Word generation;           // Changes with each user.
  Word state;                // A SlotState.
};

enum SlotState : std::uint64_t {
  kSlotFree = 0,
  kSlotLive = 1,
  kSlotForking = 2,  // Made by a process about to fork, for the child to take over.
};

struct ThreadSlot : Slot {
  Word pending;        // A block that is this thread's alone: on its way into an object or a queue, or out of one.
  Word pending_cargo;  // Offset of the cargo in that block whose holds must be given back first; 0 if there is none.
  Word guard;          // Offset of a word that says whether the block is still the thread's: while that word is
  Word guard_value;    // this. 0: it is. So one store of the thread's can give the block away.
  Word owner;          // The thread as an Owner,
  Word tid;            // and its number in the kernel.
};

struct ProcessSlot : Slot {
  Word pid;
  Word known_at;           // When it had this pid for certain: who has it and began later is another; 0 if unknown.
  Word serial;             // Of this user of the slot: see Owner. Never used again.
  Word holds;              // Offset of the first Hold.
  Word forker;             // The slot that made this one while it was Forking, and
  Word forker_generation;  // its generation.
};
static_assert(sizeof(ThreadSlot) == 112 && sizeof(ProcessSlot) == 112, "layout in shared memory");

/// That a process keeps an object alive: one block for each object that the process has handles to.
struct Hold {
  Word next;
  Word previous;
  Word object;  // Offset of the object's header.
};

ProcessSlot& this_process_slot();
ThreadSlot& this_thread_slot();
bool this_thread_has_slot() noexcept;

/// Gives one hold of a process back; the object becomes a zombie with its last one.
void release_hold(ArenaChange& change, ProcessSlot& process, std::uint64_t hold);
/// Links a new hold of `process` on the object into its list; returns its offset.
std::uint64_t add_hold(ArenaChange& change, ProcessSlot& process, std::uint64_t object);
/// Takes one hold off the object's count.
void unhold(ArenaChange& change, std::uint64_t object);
/// Takes objects apart that nobody holds. Without any lock.
void bury_zombies();
/// Frees the calling thread's pending block, with what its cargo holds. Not under the arena's lock.
void free_pending();
/// Frees the calling thread's pending block at the end of a scope, unless it has become part of something. Owner.
class PendingGuard {
 public:
  PendingGuard() = default;
  PendingGuard(const PendingGuard&) = delete;
  PendingGuard& operator=(const PendingGuard&) = delete;
  ~PendingGuard() {
    free_pending();
    bury_zombies();
  }
};

/// What objects.cpp does at fork: the registry of this process's holds must not change meanwhile.
void lock_registry();
void unlock_registry();
/// In the child: its holds are copies, found in its own slot.
void adopt_holds_in_child();

}  // namespace tandem::detail
