/// A condition variable for threads and processes.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <tuple>
#include <utility>
#include <variant>

#include <tandem/detail/lock_core.hpp>
#include <tandem/lock.hpp>
#include <tandem/rlock.hpp>

namespace tandem {
namespace detail {

/// Who waits for a Condition: the part of it that is not its lock. Handle.
class Waiters {
 public:
  Waiters();

  /// Waits with the lock released; whether it was notified before the deadline.
  bool wait(LockCore& lock, const Deadline& deadline);
  std::size_t notify(const LockCore& lock, std::size_t count);
  std::size_t count() const;
  const SharedObjectPtr& object() const { return object_; }

 private:
  friend struct HandleAccess;
  static constexpr ObjectKind kObjectKind = ObjectKind::Condition;
  explicit Waiters(SharedObjectPtr object) : object_(std::move(object)) {}
  const SharedObjectPtr& shared_object() const { return object_; }

  SharedObjectPtr object_;
};

}  // namespace detail

/// A condition variable with its lock, shared by threads and by processes. Handle: copies refer to one condition.
///
///   tandem::Condition changed;
///   std::unique_lock guard(changed);                            // its lock: an RLock unless it is given one
///   changed.wait([&] { return queue_length.value() > 0; });     // releases it while it waits
///   ...
///   { std::scoped_lock guard(changed); queue_length += 1; changed.notify(); }
///
/// It has all members of its lock, see Lock. Those who wait are notified in the order in which they came, and nobody
/// wakes up who was not; who is notified then waits for the lock, which is not fair.
/// Threads and processes: every member may be called at once from any thread of any process of the family. Not for
/// signal handlers.
/// Killed peers: a killed waiter costs nobody a wake-up: what it was told before it died is passed on within about 100
/// ms. Notify never waits for a waiter. A process that dies with the lock leaves it abandoned, as with Lock; a wait()
/// that gets it back so throws OwnerDied under OnOwnerDeath::Throw, with the lock held, as guards expect.
/// Memory ordering: that of the lock.
/// Errors: NotOwner for wait and notify without the lock; OwnerDied; std::invalid_argument for a negative timeout;
/// std::system_error if the arena is full.
/// Units: timeouts on the steady clock.
/// Cost: a robust lock of its own around a few words, to enter, to leave and to notify.
class Condition : public detail::LockMembers {
 public:
  /// Makes a condition with a new RLock.
  Condition() : Condition(RLock()) {}
  /// Makes a condition with this lock, which others may use too.
  explicit Condition(const Lock& lock) : LockMembers(lock.core()) {}
  explicit Condition(const RLock& lock) : LockMembers(lock.core()) {}

  /// Releases the lock, waits until it is notified, and takes the lock back, however often the caller had it.
  void wait() { static_cast<void>(waiters_.wait(core(), detail::Deadline::never())); }
  /// As wait(), but gives up after `timeout`: false. The lock is taken back all the same, which may take longer.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout) {
    return waiters_.wait(core(), detail::Deadline::after(timeout));
  }
  /// Waits until `ready()`, which is called with the lock held, is true.
  template <class Ready>
  void wait(Ready ready) {
    while (!ready()) wait();
  }
  /// As that, but gives up after `timeout`; what ready() says then.
  template <class Rep, class Period, class Ready>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout, Ready ready) {
    const auto deadline = detail::Deadline::after(timeout);
    while (!ready())
      if (!waiters_.wait(core(), deadline)) return ready();
    return true;
  }

  /// Lets the `count` threads go on that have waited longest, or all if there are fewer. Returns how many they are.
  std::size_t notify(std::size_t count = 1) { return waiters_.notify(core(), count); }
  std::size_t notify_all() { return notify(static_cast<std::size_t>(-1)); }

  /// How many wait and have not been notified, at this instant.
  [[nodiscard]] std::size_t waiting() const { return waiters_.count(); }
  /// For people, for example "<Condition(<RLock(free)>, 2 waiting)>".
  [[nodiscard]] std::string to_string() const;

  /// Whether both refer to one condition.
  friend bool operator==(const Condition& a, const Condition& b) noexcept {
    return a.waiters_.object() == b.waiters_.object();
  }

 private:
  friend struct detail::HandleAccess;
  using Parts = std::tuple<std::variant<Lock, RLock>, detail::Waiters>;
  Parts parts() const;
  explicit Condition(Parts parts);

  detail::Waiters waiters_;
};

}  // namespace tandem
