/// What a public template must see of the arena: a counted reference to one object in it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace tandem::detail {

/// Names an object of the family's arena in any of its processes. The generation makes a stale name an error: no two
/// objects of a family ever share one.
struct ObjectId {
  std::uint64_t offset = 0;
  std::uint64_t generation = 0;
  friend bool operator==(const ObjectId&, const ObjectId&) = default;
};

enum class ObjectKind : std::uint32_t {
  Plain = 1,
  Parcel,
  Queue,
  LifoQueue,
  PriorityQueue,
  Lock,
  RLock,
  Semaphore,
  BoundedSemaphore,
  Event,
  Condition,
  Barrier,
  Value,
  Array,
  Pipe,
  Broadcast,
};
inline constexpr std::size_t kObjectKinds = 17;  ///< One more than the last.

/// This process's hold on one shared object: at most one exists for each object and process, and all handles share it.
///
/// Threads and processes: const, so safe from any thread.
/// Killed peers: a process's holds are given back when its death is noticed.
class SharedObject {
 public:
  SharedObject(ObjectId id, void* data) : id_(id), data_(data) {}
  ~SharedObject();  // Gives the hold back; the last one in the family destroys the object.
  SharedObject(const SharedObject&) = delete;
  SharedObject& operator=(const SharedObject&) = delete;

  ObjectId id() const noexcept { return id_; }
  /// The object's memory, as mapped in this process.
  void* data() const noexcept { return data_; }
  /// A word for the kind's own use in this process, 0 at first. In a forked process it is a copy of the parent's.
  std::atomic<std::uint64_t>& local() const noexcept { return local_; }

 private:
  const ObjectId id_;
  void* const data_;
  mutable std::atomic<std::uint64_t> local_{0};
};

using SharedObjectPtr = std::shared_ptr<const SharedObject>;

/// Takes a hold on an existing object. Throws StaleHandle if it is gone or of another kind.
SharedObjectPtr attach(ObjectId id, ObjectKind kind);

/// Makes an object of `bytes` zeroed bytes (Plain): for small shared records. Throws std::system_error (arena full).
SharedObjectPtr make_plain(std::size_t bytes);

/// Makes a Parcel: bytes on their way to another process, with the objects that handles among them refer to. The
/// objects live at least as long as the parcel does, whoever is killed.
/// `kind`: Parcel, or Broadcast for one that many read.
SharedObjectPtr make_parcel(const void* bytes, std::size_t size_bytes, const std::vector<SharedObjectPtr>& objects,
                            ObjectKind kind = ObjectKind::Parcel);
/// The bytes of a parcel, in place: valid while the hold is.
std::pair<const std::byte*, std::size_t> parcel_bytes(const SharedObject& parcel);

}  // namespace tandem::detail
