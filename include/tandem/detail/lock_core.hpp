/// The untyped inside of Lock and RLock, and the members that they and Condition have in common.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/handle.hpp>
#include <tandem/detail/shared_object.hpp>
#include <tandem/error.hpp>

namespace tandem {

/// What a lock does once a process has died with it. From then on it is abandoned, because what it guards may be half
/// changed, until somebody has mended that and said repaired().
enum class OnOwnerDeath {
  Throw,  ///< acquire() and lock() throw OwnerDied, without the lock; who can mend takes it with recover().
  Tell,   ///< acquire() gives the lock and its result says so; after lock(), owner_died() does.
  Break,  ///< acquire() throws OwnerDied, and so does recover(): nobody ever gets it again.
};

/// How an acquire() ended. Value.
class Acquired {
 public:
  enum class How : unsigned char { TimedOut, Normally, AfterDeath };

  constexpr explicit Acquired(How how) noexcept : how_(how) {}
  /// Whether the caller has the lock.
  constexpr explicit operator bool() const noexcept { return how_ != How::TimedOut; }
  /// Whether it has it and must look at what the lock guards: an owner died with it and nobody has mended that yet.
  [[nodiscard]] constexpr bool owner_died() const noexcept { return how_ == How::AfterDeath; }

 private:
  How how_;
};

namespace detail {

/// Lock and RLock without their names: see there for what their members promise. Handle.
class LockCore {
 public:
  enum class Kind { Plain, Recursive };
  /// What to do about an abandoned lock under OnOwnerDeath::Throw.
  enum class Abandoned { Refuse, Take };

  LockCore(Kind kind, OnOwnerDeath on_owner_death);
  explicit LockCore(SharedObjectPtr object) : object_(std::move(object)) {}

  Acquired acquire(const Deadline& deadline, Abandoned abandoned) const;
  void release() const;
  void unlock() const;
  void repaired() const;

  bool locked() const;
  bool owner_died() const;
  bool owned() const;
  std::size_t recursion_count() const;
  std::string to_string() const;
  Kind kind() const;
  const SharedObjectPtr& object() const { return object_; }

  /// For a Condition's wait: releases the lock however often the calling thread has it, which is returned. Throws
  /// NotOwner if it does not have it.
  std::size_t release_all();
  /// Takes it back as often. Throws OwnerDied under Break; otherwise the lock is the caller's again, abandoned or not.
  Acquired acquire_again(std::size_t times);
  /// Throws OwnerDied, with the lock held, if that is how its users want to hear of it.
  void throw_if_chosen() const;

 private:
  SharedObjectPtr object_;
};

/// What can be done with a lock, under Python's names and under those of the standard library.
class LockMembers {
 public:
  /// Waits until the calling thread has the lock. The result says how it got it.
  Acquired acquire() { return acquire_before(Deadline::never()); }
  /// As acquire(), but gives up after `timeout`: false.
  template <class Rep, class Period>
  [[nodiscard]] Acquired acquire_for(std::chrono::duration<Rep, Period> timeout) {
    return acquire_before(Deadline::after(timeout));
  }
  /// As acquire(), but does not wait: false if another holds it.
  [[nodiscard]] Acquired try_acquire() { return acquire_before(Deadline::now()); }
  /// Lets the next one have it: at once, or for a recursive lock when this was called as often as acquire(). Throws
  /// NotOwner if the caller may not.
  void release() { core_.release(); }

  /// As acquire(), but takes an abandoned lock also under OnOwnerDeath::Throw, so as to mend what it guards.
  Acquired recover() { return core_.acquire(Deadline::never(), LockCore::Abandoned::Take); }
  /// As recover(), but gives up after `timeout`: false.
  template <class Rep, class Period>
  [[nodiscard]] Acquired recover_for(std::chrono::duration<Rep, Period> timeout) {
    return core_.acquire(Deadline::after(timeout), LockCore::Abandoned::Take);
  }
  /// Says that what the lock guards is whole again: the next ones are not told any more that an owner died. Throws
  /// NotOwner unless the calling thread holds the lock.
  void repaired() { core_.repaired(); }

  /// The standard library's names, so that std::unique_lock and std::scoped_lock take it.
  void lock() { static_cast<void>(acquire()); }
  [[nodiscard]] bool try_lock() { return static_cast<bool>(try_acquire()); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) {
    // There a time that has passed is no mistake.
    return static_cast<bool>(timeout > timeout.zero() ? acquire_for(timeout) : try_acquire());
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& time) {
    const auto now = Clock::now();  // Not a difference of the two: that may be too long to be held.
    return static_cast<bool>(time > now ? acquire_for(time - now) : try_acquire());
  }
  /// As release(); but does nothing if the lock is broken for ever, so that a guard can be unwound.
  void unlock() { core_.unlock(); }

  /// Whether somebody holds it, at this instant.
  [[nodiscard]] bool locked() const { return core_.locked(); }
  /// Whether the calling thread holds it.
  [[nodiscard]] bool owned() const { return core_.owned(); }
  /// Whether an owner has died with it and nobody has said repaired() since.
  [[nodiscard]] bool owner_died() const { return core_.owner_died(); }

 protected:
  explicit LockMembers(LockCore core) : core_(std::move(core)) {}
  ~LockMembers() = default;
  LockMembers(const LockMembers&) = default;
  LockMembers(LockMembers&&) noexcept = default;
  LockMembers& operator=(const LockMembers&) = default;
  LockMembers& operator=(LockMembers&&) noexcept = default;

  const LockCore& core() const noexcept { return core_; }
  LockCore& core() noexcept { return core_; }

 private:
  Acquired acquire_before(const Deadline& deadline) { return core_.acquire(deadline, LockCore::Abandoned::Refuse); }

  LockCore core_;
};

}  // namespace detail
}  // namespace tandem
