/// One value that threads and processes share, with its lock.
#pragma once

#include <concepts>
#include <memory>
#include <tuple>
#include <utility>

#include <tandem/any_lock.hpp>
#include <tandem/detail/value_copies.hpp>
#include <tandem/detail/value_steps.hpp>
#include <tandem/shareable.hpp>

namespace tandem {

/// One value shared by threads and by processes, with a lock. Handle: copies refer to one value.
///
///   tandem::Value<int> hits;               // 0, and a new RLock
///   tandem::Process p(serve, hits);        // void serve(tandem::Value<int> hits) { hits += 1; }
///   ...
///   int so_far = hits;                     // a copy
///
/// It has all members of its lock too, see Lock: `std::scoped_lock guard(hits)` keeps the others out for several steps.
/// Every member below takes the lock, unless the calling thread has it already, also if it is a Lock. To make `a` refer
/// to what `b` refers to, write `a = b`; to copy the value, `a = b.get()`.
/// Threads and processes: every member may be called at once from any thread of any process of the family. `hits += 1`
/// is one step, `hits.set(hits.get() + 1)` is two. Not for signal handlers.
/// Killed peers: a process killed at any instruction leaves the old value or the new one, however large; the others go
/// on within about 100 ms. With its own lock they hear nothing of it, for nothing is broken. A lock that it is
/// given does as chosen when that was made: see OnOwnerDeath, whose default is that the next one gets OwnerDied.
/// Memory ordering: that of the lock.
/// Errors: OwnerDied from a lock that it was given; StaleHandle if it was moved from; std::system_error from the
/// constructor if the arena is full.
/// Cost: that of the lock and one copy; memory for two.
template <Shareable T>
class Value : public detail::Synchronized {
 public:
  using value_type = T;

  /// Makes a value with an RLock of its own.
  Value()
    requires std::default_initializable<T>
      : Value(T()) {}
  explicit Value(const T& initial) : Value(initial, RLock(OnOwnerDeath::Tell), detail::ValueCopies::LockIs::Own) {}
  /// Makes a value with this lock, which others may use too.
  Value(const T& initial, const AnyLock& lock) : Value(initial, lock, detail::ValueCopies::LockIs::Given) {}

  /// Copies the value out: what happens to it later does not change the copy.
  [[nodiscard]] T get() const {
    const detail::ValueGuard guard(core(), copies_);
    return current();
  }
  operator T() const { return get(); }
  void set(const T& value) {
    const detail::ValueGuard guard(core(), copies_);
    copies_.write(std::addressof(value));
  }
  T operator=(const T& value) {
    set(value);
    return value;
  }
  /// Sets it and returns what it was.
  T exchange(const T& value) {
    const detail::ValueGuard guard(core(), copies_);
    const T before = current();
    copies_.write(std::addressof(value));
    return before;
  }

  /// Calls `change` with the value while it holds the lock, sets what it returns, or, if that is nothing, what it has
  /// made of its argument, and returns that. If `change` throws, the value stays as it was. What `change` itself does
  /// to this value by other members is lost.
  template <std::invocable<T&> Change>
  T update(Change change) {
    const detail::ValueGuard guard(core(), copies_);
    const T next = detail::changed<T>(current(), change);
    copies_.write(std::addressof(next));
    return next;
  }

  // Each is one update() and returns the new value, but for the second form of ++ and --, which return the old one.
  T operator+=(T by)
    requires detail::UseUpdateSinceItIsNoNumber<T>
  {
    return update([by](T value) { return detail::sum_of(value, by); });
  }
  T operator-=(T by)
    requires detail::UseUpdateSinceItIsNoNumber<T>
  {
    return update([by](T value) { return detail::difference_of(value, by); });
  }
  T operator++()
    requires detail::UseUpdateSinceItIsNoNumber<T>
  {
    return *this += T(1);
  }
  T operator++(int)
    requires detail::UseUpdateSinceItIsNoNumber<T>
  {
    return detail::difference_of(*this += T(1), T(1));
  }
  T operator--()
    requires detail::UseUpdateSinceItIsNoNumber<T>
  {
    return *this -= T(1);
  }
  T operator--(int)
    requires detail::UseUpdateSinceItIsNoNumber<T>
  {
    return detail::sum_of(*this -= T(1), T(1));
  }
  T operator&=(T mask)
    requires detail::UseUpdateSinceItIsNoInteger<T>
  {
    return update([mask](T value) { return static_cast<T>(value & mask); });
  }
  T operator|=(T mask)
    requires detail::UseUpdateSinceItIsNoInteger<T>
  {
    return update([mask](T value) { return static_cast<T>(value | mask); });
  }
  T operator^=(T mask)
    requires detail::UseUpdateSinceItIsNoInteger<T>
  {
    return update([mask](T value) { return static_cast<T>(value ^ mask); });
  }

 private:
  friend struct detail::HandleAccess;
  using Parts = std::tuple<AnyLock, detail::ValueCopies>;
  Parts parts() const { return {get_lock(), copies_}; }
  explicit Value(Parts parts) : Synchronized(std::get<0>(parts)), copies_(std::get<1>(std::move(parts))) {}
  Value(const T& initial, const AnyLock& lock, detail::ValueCopies::LockIs lock_is)
      : Synchronized(lock), copies_(std::addressof(initial), sizeof(T), alignof(T), lock_is) {}
  const T& current() const { return *static_cast<const T*>(copies_.current()); }

  detail::ValueCopies copies_;
};

}  // namespace tandem
