// Shared objects: making them, holding them, and taking them apart when nobody holds them.
#include <array>
#include <cstring>
#include <memory>
#include <system_error>
#include <unordered_map>
#include <utility>

#include <tandem/error.hpp>

#include "core/check.hpp"
#include "core/kill_point.hpp"
#include "core/mutex.hpp"
#include "ipc/members.hpp"

namespace tandem::detail {
namespace {

/// This process's holds, by object. At most one hold stands in the arena for each, however many handles there are.
struct Registry {
  struct Entry {
    std::uint64_t generation;
    std::uint64_t hold;
    std::weak_ptr<const SharedObject> object;
  };
  Mutex mutex;  // Before the arena's lock.
  std::unordered_map<std::uint64_t, Entry> entries TANDEM_GUARDED_BY(mutex);
};

Registry& registry() {
  static Registry& instance = *new Registry;  // Handles with static storage are dropped after all destructors of ours.
  return instance;
}

SharedObjectPtr make_reference(Arena& arena, std::uint64_t object, std::uint64_t generation) {
  return std::make_shared<const SharedObject>(ObjectId{object, generation},
                                              arena.base() + object + sizeof(ObjectHeader));
}

void* body_of(Arena& arena, std::uint64_t object) {
  return arena.base() + object + sizeof(ObjectHeader);
}

void make_zombie(ArenaChange& change, std::uint64_t object) {
  Arena& arena = Arena::instance();
  auto& header = arena.at<ObjectHeader>(object);
  change.set(header.next_zombie, get(arena.header().zombies));
  change.set(arena.header().zombies, object);
}

// The zombie that was taken apart may not be the first any more: others may have come.
void unlink_zombie(ArenaChange& change, std::uint64_t object) {
  Arena& arena = Arena::instance();
  Word* link = &arena.header().zombies;
  while (get(*link) != object) link = &arena.at<ObjectHeader>(get(*link)).next_zombie;
  change.set(*link, get(arena.at<ObjectHeader>(object).next_zombie));
}

void destroy_parcel(void* body) {
  ArenaChange change(Arena::instance());
  static_cast<Cargo*>(body)->drop_references(change);
}

// By kind. Every process of the family must know all of them, for any may find another's zombie.
std::array<std::atomic<Destroyer>, kObjectKinds> destroyers{
    nullptr, nullptr, destroy_parcel, nullptr, nullptr, nullptr, nullptr, nullptr,       nullptr,
    nullptr, nullptr, nullptr,        nullptr, nullptr, nullptr, nullptr, destroy_parcel};
static_assert(static_cast<std::size_t>(ObjectKind::Broadcast) == kObjectKinds - 1);

}  // namespace

void set_destroyer(ObjectKind kind, Destroyer destroyer) {
  destroyers.at(static_cast<std::size_t>(kind)).store(destroyer, std::memory_order_relaxed);
}

void lock_registry() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  registry().mutex.lock();
}
void unlock_registry() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  registry().mutex.unlock();
}

void adopt_holds_in_child() TANDEM_NO_THREAD_SAFETY_ANALYSIS {  // The registry is locked since before the fork.
  Arena& arena = Arena::instance();
  std::unordered_map<std::uint64_t, std::uint64_t> hold_of;
  for (std::uint64_t hold = get(this_process_slot().holds); hold != 0; hold = get(arena.at<Hold>(hold).next))
    hold_of[get(arena.at<Hold>(hold).object)] = hold;
  for (auto it = registry().entries.begin(); it != registry().entries.end();) {
    it->second.hold = hold_of.at(it->first);
    if (!it->second.object.expired()) {
      ++it;
      continue;
    }
    // Another thread was about to give the hold back; in this process it never will. Who buries next finds a zombie.
    ArenaChange change(arena);
    release_hold(change, this_process_slot(), it->second.hold);
    change.commit();
    it = registry().entries.erase(it);
  }
}

// --- holds
// ------------------------------------------------------------------------------------------------------------

std::uint64_t add_hold(ArenaChange& change, ProcessSlot& process, std::uint64_t object) {
  Arena& arena = Arena::instance();
  Word& scratch = arena.header().scratch;
  static_cast<void>(arena.heap().allocate(change, sizeof(Hold), scratch, Heap::Use::Record));
  const std::uint64_t offset = get(scratch);
  auto& hold = arena.at<Hold>(offset);
  change.set(hold.object, object);
  change.set(hold.previous, 0);
  change.set(hold.next, get(process.holds));
  if (get(process.holds) != 0) change.set(arena.at<Hold>(get(process.holds)).previous, offset);
  change.set(process.holds, offset);
  change.set(scratch, 0);
  auto& header = arena.at<ObjectHeader>(object);
  change.set(header.holds, get(header.holds) + 1);
  return offset;
}

void unhold(ArenaChange& change, std::uint64_t object) {
  auto& header = Arena::instance().at<ObjectHeader>(object);
  TANDEM_CHECK(get(header.holds) > 0 && get(header.kind) != 0, object, get(header.kind));
  change.set(header.holds, get(header.holds) - 1);
  if (get(header.holds) == 0) make_zombie(change, object);
}

void release_hold(ArenaChange& change, ProcessSlot& process, std::uint64_t offset) {
  Arena& arena = Arena::instance();
  auto& hold = arena.at<Hold>(offset);
  const std::uint64_t object = get(hold.object);
  const std::uint64_t next = get(hold.next);
  const std::uint64_t previous = get(hold.previous);
  if (next != 0) change.set(arena.at<Hold>(next).previous, previous);
  change.set(previous != 0 ? arena.at<Hold>(previous).next : process.holds, next);
  change.set(arena.header().scratch, offset);
  arena.heap().free(change, arena.header().scratch);
  unhold(change, object);
}

void bury_zombies() {
  Arena& arena = Arena::instance();
  // A hint, since it is read without the lock: whoever makes a zombie comes here behind that.
  if (get(arena.header().zombies) == 0) return;
  Word& pending = this_thread_slot().pending;
  // A large item on its way into a queue stands there while put() waits: then others bury, or put() at its end.
  if (get(pending) != 0) return;
  // One at a time takes zombies apart. Whoever was killed at it has left the zombie in the list, taken apart in part.
  Transaction reaper(arena.header().reaper, arena.base());
  for (;;) {
    std::uint64_t object = 0;
    Destroyer destroy = nullptr;
    {
      // With the lock: without, it might be an object that somebody died over before its holds were given back for
      // good.
      ArenaChange change(arena);
      object = get(arena.header().zombies);
      if (object == 0) return;
      destroy = destroyers.at(get(arena.at<ObjectHeader>(object).kind)).load(std::memory_order_relaxed);
    }
    if (destroy != nullptr) destroy(body_of(arena, object));
    TANDEM_KILL_POINT("object.taken_apart");
    {
      ArenaChange change(arena);
      unlink_zombie(change, object);
      auto& header = arena.at<ObjectHeader>(object);
      change.set(header.kind, 0);
      change.set(header.generation, 0);
      // The block goes to the thread before it goes to the heap, because freeing a large one takes several steps.
      change.set(pending, object);
      change.commit();
    }
    arena.free(pending);
  }
}

void free_pending() {
  // A thread without a slot has nothing pending, and need not get one for that.
  if (!this_thread_has_slot()) return;
  Arena& arena = Arena::instance();
  ThreadSlot& slot = this_thread_slot();
  if (get(slot.pending_cargo) != 0) {
    ArenaChange change(arena);
    arena.at<Cargo>(get(slot.pending_cargo)).drop_references(change);
    change.set(slot.pending_cargo, 0);
    change.commit();
  }
  if (get(slot.pending) != 0) arena.free(slot.pending);
}

// --- objects
// ----------------------------------------------------------------------------------------------------------

SharedObjectPtr make_object(ObjectKind kind, std::uint64_t body_bytes,
                            void (*initialise)(void* body, const void* argument), const void* argument) {
  Arena& arena = Arena::instance();
  Word& pending = this_thread_slot().pending;
  struct FreeUnlessMade {
    ~FreeUnlessMade() { free_pending(); }
  } free_unless_made;
  SharedObjectPtr reference;  // Dropped, if something throws, when no lock is held any more.
  // Another object of this thread cannot be under way: making one calls nothing of the user's.
  arena.allocate(pending, sizeof(ObjectHeader) + body_bytes);
  const std::uint64_t object = get(pending);
  auto& header = arena.at<ObjectHeader>(object);
  std::memset(static_cast<void*>(&header), 0, sizeof header);
  initialise(body_of(arena, object), argument);
  header.body_bytes = body_bytes;
  TANDEM_KILL_POINT("object.initialised");
  Registry& holds = registry();
  const MutexGuard guard(holds.mutex);
  ArenaChange change(arena);
  const std::uint64_t generation = get(arena.header().next_generation);
  change.set(arena.header().next_generation, generation + 1);
  change.set(header.kind, static_cast<std::uint64_t>(kind));
  change.set(header.generation, generation);
  const std::uint64_t hold = add_hold(change, this_process_slot(), object);
  change.set(pending, 0);
  reference = make_reference(arena, object, generation);
  holds.entries[object] = {generation, hold, reference};
  change.commit();
  return reference;
}

SharedObjectPtr attach(ObjectId id, ObjectKind kind) {
  Arena& arena = Arena::instance();
  SharedObjectPtr reference;  // Dropped, if something throws, when no lock is held any more.
  Registry& holds = registry();
  const MutexGuard guard(holds.mutex);
  if (const auto it = holds.entries.find(id.offset); it != holds.entries.end()) {
    if (it->second.generation != id.generation ||
        get(arena.at<ObjectHeader>(id.offset).kind) != static_cast<std::uint64_t>(kind))
      throw StaleHandle("the handle's object is gone: its place holds another");
    reference = it->second.object.lock();
    if (reference != nullptr) return reference;
    // The last handle is being dropped by another thread, which will find that its hold has a new user.
    reference = make_reference(arena, id.offset, id.generation);
    it->second.object = reference;
    return reference;
  }
  ArenaChange change(arena);
  const ObjectHeader* header =
      arena.contains(id.offset, sizeof(ObjectHeader)) ? &arena.at<ObjectHeader>(id.offset) : nullptr;
  if (header == nullptr || get(header->generation) != id.generation ||
      get(header->kind) != static_cast<std::uint64_t>(kind) || get(header->holds) == 0)
    throw StaleHandle("the handle's object is gone: every handle to it was dropped, or its process was killed");
  const std::uint64_t hold = add_hold(change, this_process_slot(), id.offset);
  reference = make_reference(arena, id.offset, id.generation);
  holds.entries[id.offset] = {id.generation, hold, reference};
  change.commit();
  return reference;
}

SharedObject::~SharedObject() {
  Arena& arena = Arena::instance();
  {
    Registry& holds = registry();
    const MutexGuard guard(holds.mutex);
    const auto it = holds.entries.find(id_.offset);
    // Taken by a new reference meanwhile, or by another object's after that: then the hold is not ours to give back.
    if (it == holds.entries.end() || it->second.generation != id_.generation || !it->second.object.expired()) return;
    ArenaChange change(arena);
    release_hold(change, this_process_slot(), it->second.hold);
    change.commit();
    holds.entries.erase(it);
  }
  try {
    bury_zombies();
  } catch (const std::system_error&) {
    // No memory for this thread's slot, which burying needs: the next who gives something back does it.
  }
}

SharedObjectPtr make_plain(std::size_t bytes) {
  return make_object(
      ObjectKind::Plain, bytes,
      [](void* body, const void* size) { std::memset(body, 0, *static_cast<const std::size_t*>(size)); }, &bytes);
}

// --- cargo
// ------------------------------------------------------------------------------------------------------------

void Cargo::initialise(std::uint64_t size, std::size_t capacity) noexcept {
  references.store(0, std::memory_order_relaxed);
  reference_capacity = capacity;
  size_bytes = size;
  unused = 0;
}

void Cargo::add_references(const std::vector<SharedObjectPtr>& objects) {
  TANDEM_CHECK(objects.size() <= reference_capacity, objects.size(), reference_capacity);
  if (objects.empty()) return;
  ArenaChange change(Arena::instance());
  for (const SharedObjectPtr& object : objects) {
    auto& header = Arena::instance().at<ObjectHeader>(object->id().offset);
    const std::uint64_t n = get(references);
    change.set(header.holds, get(header.holds) + 1);
    change.set(offsets()[n], object->id().offset);
    change.set(references, n + 1);
    change.commit();
  }
}

void Cargo::drop_references(ArenaChange& change) {
  while (get(references) != 0) {
    const std::uint64_t n = get(references) - 1;
    change.set(references, n);
    unhold(change, get(offsets()[n]));
    change.commit();
  }
}

SharedObjectPtr make_parcel(const void* bytes, std::size_t size_bytes, const std::vector<SharedObjectPtr>& objects,
                            ObjectKind kind) {
  struct Argument {
    const void* bytes;
    std::size_t size;
    std::size_t references;
  };
  const Argument argument{bytes, size_bytes, objects.size()};
  SharedObjectPtr parcel = make_object(
      kind, Cargo::total_bytes(size_bytes, objects.size()),
      [](void* body, const void* raw) {
        const auto& a = *static_cast<const Argument*>(raw);
        auto* cargo = static_cast<Cargo*>(body);
        cargo->initialise(a.size, a.references);
        if (a.size != 0) std::memcpy(cargo->bytes(), a.bytes, a.size);
      },
      &argument);
  static_cast<Cargo*>(parcel->data())->add_references(objects);
  return parcel;
}

std::vector<std::pair<ObjectId, ObjectKind>> parcel_references(const SharedObject& parcel) {
  auto& cargo = *static_cast<Cargo*>(parcel.data());
  std::vector<std::pair<ObjectId, ObjectKind>> all;
  // They are held, so that their headers do not change.
  for (std::uint64_t at = 0; at < get(cargo.references); ++at) {
    const std::uint64_t offset = get(cargo.offsets()[at]);
    const auto& header = Arena::instance().at<ObjectHeader>(offset);
    all.push_back({{offset, get(header.generation)}, static_cast<ObjectKind>(get(header.kind))});
  }
  return all;
}

std::pair<const std::byte*, std::size_t> parcel_bytes(const SharedObject& parcel) {
  const auto& cargo = *static_cast<const Cargo*>(parcel.data());
  return {cargo.bytes(), cargo.size_bytes};
}

}  // namespace tandem::detail
