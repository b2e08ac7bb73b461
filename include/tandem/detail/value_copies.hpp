/// The untyped inside of Value.
#pragma once

#include <cstddef>
#include <utility>

#include <tandem/detail/handle.hpp>
#include <tandem/detail/lock_core.hpp>
#include <tandem/detail/shared_object.hpp>

namespace tandem::detail {

/// The memory of a Value: two copies, of which one counts. Handle.
///
/// Threads and processes: read and written under the Value's lock.
/// Killed peers: a new value is written into the copy that does not count, which one store then makes the one that
/// does. A process killed anywhere leaves the old value or the new one.
class ValueCopies {
 public:
  /// Whose lock guards it: its own, which no other data has unless somebody asked for it, or one that it was given.
  enum class LockIs { Own, Given };

  ValueCopies(const void* initial, std::size_t bytes, std::size_t alignment, LockIs lock_is);

  const void* current() const;
  void write(const void* bytes) const;
  LockIs lock_is() const;

 private:
  friend struct HandleAccess;
  static constexpr ObjectKind kObjectKind = ObjectKind::Value;
  explicit ValueCopies(SharedObjectPtr object) : object_(std::move(object)) {}
  const SharedObjectPtr& shared_object() const { return object_; }

  SharedObjectPtr object_;
};

/// Holds the lock of a Value for one access, unless the calling thread has it already. Owner, for one scope.
class ValueGuard {
 public:
  /// Throws OwnerDied if a process died with a lock that was given, and that is what it does then.
  ValueGuard(const LockCore& lock, const ValueCopies& copies);
  ~ValueGuard();
  ValueGuard(const ValueGuard&) = delete;
  ValueGuard& operator=(const ValueGuard&) = delete;

 private:
  const LockCore& lock_;
  const bool was_held_;
};

}  // namespace tandem::detail
