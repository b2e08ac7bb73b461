/// A lock for threads and processes that outlives the death of who held it.
#pragma once

#include <string>
#include <utility>

#include <tandem/detail/lock_core.hpp>

namespace tandem {

class Condition;

/// A mutual exclusion lock shared by threads and by processes. Handle: copies refer to one lock.
///
///   tandem::Lock lock;
///   tandem::Process p(append, lock, path);   // void append(tandem::Lock lock, std::string path)
///   ...
///   std::scoped_lock guard(lock);            // in append(): any guard of the standard library
///
/// Its members are those of detail::LockMembers: acquire, acquire_for, try_acquire, release, locked and so on.
/// Threads and processes: every member may be called at once from any thread of any process of the family. As in
/// Python any thread may release it, also one that did not acquire it. Not fair: a thread that comes at the right
/// moment passes those that wait. Not for signal handlers.
/// Killed peers: a process that dies with the lock leaves it abandoned, which those who want it notice within about 100
/// ms. What then happens is chosen at construction, see OnOwnerDeath. A thread that ends with it leaves it locked.
/// Memory ordering: what was done before release() happens before what follows the next acquire().
/// Errors: NotOwner for release() while nobody holds it; OwnerDied; std::invalid_argument for a negative timeout;
/// std::system_error from the constructor if the arena is full.
/// Units: timeouts on the steady clock.
/// Cost: uncontended, one compare-and-swap to acquire and one to release; a system call only to sleep or to wake.
class Lock : public detail::LockMembers {
 public:
  explicit Lock(OnOwnerDeath on_owner_death = OnOwnerDeath::Throw)
      : LockMembers(detail::LockCore(detail::LockCore::Kind::Plain, on_owner_death)) {}

  /// For people, for example "<Lock(held by process 4711, thread 4712)>": what to look at in a hang.
  [[nodiscard]] std::string to_string() const { return core().to_string(); }

  /// Whether both refer to one lock.
  friend bool operator==(const Lock& a, const Lock& b) noexcept { return a.core().object() == b.core().object(); }

 private:
  friend struct detail::HandleAccess;
  friend class Condition;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::Lock;
  explicit Lock(detail::SharedObjectPtr object) : LockMembers(detail::LockCore(std::move(object))) {}
  const detail::SharedObjectPtr& shared_object() const { return core().object(); }
};

}  // namespace tandem
