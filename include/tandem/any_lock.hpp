/// One of the locks, where it does not matter which.
#pragma once

#include <string>
#include <tuple>
#include <utility>
#include <variant>

#include <tandem/detail/lock_core.hpp>
#include <tandem/lock.hpp>
#include <tandem/rlock.hpp>

namespace tandem {
namespace detail {
class Synchronized;
}

/// A Lock or an RLock, whichever it was made of. Handle: copies refer to one lock.
///
///   tandem::Value<int> hits, misses(0, hits.get_lock());   // two values under one lock
///
/// All members, promises and errors are those of the lock. StaleHandle if it is made of a lock that was moved from.
class AnyLock : public detail::LockMembers {
 public:
  AnyLock(const Lock& lock) : AnyLock(detail::LockCore(detail::HandleAccess::object(lock))) {}
  AnyLock(const RLock& lock) : AnyLock(detail::LockCore(detail::HandleAccess::object(lock))) {}

  /// For people: what the lock says of itself.
  [[nodiscard]] std::string to_string() const { return core().to_string(); }

  /// Whether both refer to one lock.
  friend bool operator==(const AnyLock& a, const AnyLock& b) noexcept { return a.core().object() == b.core().object(); }

 private:
  friend struct detail::HandleAccess;
  friend class detail::Synchronized;
  using Parts = std::tuple<std::variant<Lock, RLock>>;
  Parts parts() const {
    if (core().kind() == detail::LockCore::Kind::Plain)
      return {detail::HandleAccess::make<Lock>(detail::SharedObjectPtr(core().object()))};
    return {detail::HandleAccess::make<RLock>(detail::SharedObjectPtr(core().object()))};
  }
  explicit AnyLock(const Parts& parts)
      : AnyLock(std::visit([](const auto& lock) { return AnyLock(lock); }, std::get<0>(parts))) {}
  explicit AnyLock(detail::LockCore lock) : LockMembers(std::move(lock)) {
    static_cast<void>(core().kind());  // Throws if there is none.
  }
};

namespace detail {

/// Data with a lock: what Value and Array have in common, and the members of the lock itself.
class Synchronized : public LockMembers {
 public:
  /// The lock, to share it with other data.
  [[nodiscard]] AnyLock get_lock() const { return AnyLock(core()); }

 protected:
  explicit Synchronized(const AnyLock& lock) : LockMembers(lock.core()) {}
  ~Synchronized() = default;
  Synchronized(const Synchronized&) = default;
  Synchronized(Synchronized&&) noexcept = default;
  Synchronized& operator=(const Synchronized&) = default;
  Synchronized& operator=(Synchronized&&) noexcept = default;
};

}  // namespace detail
}  // namespace tandem
