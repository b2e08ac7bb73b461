/// A lock that its owner may acquire again.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include <tandem/detail/lock_core.hpp>

namespace tandem {

class Condition;

/// A recursive lock shared by threads and by processes. Handle: copies refer to one lock.
///
///   tandem::RLock lock;
///   std::scoped_lock outer(lock);
///   std::scoped_lock inner(lock);   // the same thread: no deadlock
///
/// As Lock, but owned by the thread that acquired it: only that may release it, as often as it acquired it.
/// Killed peers: as with Lock; also a thread that ends with it leaves it abandoned. Its next owner has it once, however
/// often the dead one had.
/// Errors: as with Lock; NotOwner also for release() by a thread that does not own it.
class RLock : public detail::LockMembers {
 public:
  explicit RLock(OnOwnerDeath on_owner_death = OnOwnerDeath::Throw)
      : LockMembers(detail::LockCore(detail::LockCore::Kind::Recursive, on_owner_death)) {}

  /// How often the calling thread has it; 0 if it does not own it.
  [[nodiscard]] std::size_t recursion_count() const { return core().recursion_count(); }
  /// For people, for example "<RLock(held 2 times by process 4711, thread 4712)>".
  [[nodiscard]] std::string to_string() const { return core().to_string(); }

  /// Whether both refer to one lock.
  friend bool operator==(const RLock& a, const RLock& b) noexcept { return a.core().object() == b.core().object(); }

 private:
  friend struct detail::HandleAccess;
  friend class Condition;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::RLock;
  explicit RLock(detail::SharedObjectPtr object) : LockMembers(detail::LockCore(std::move(object))) {}
  const detail::SharedObjectPtr& shared_object() const { return core().object(); }
};

}  // namespace tandem
