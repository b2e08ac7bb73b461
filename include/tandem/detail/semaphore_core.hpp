/// The untyped inside of Semaphore and BoundedSemaphore, and the members that they have in common.
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

/// What becomes of the units that a process had acquired and not released when it died.
enum class UnitsOfTheDead {
  ComeBack,  ///< Others may have them: for counting what is in use. A unit belongs to the process that acquired it.
  StayOut,   ///< They are gone: for signalling, where one acquires what another has released and nobody owns a unit.
};

namespace detail {

/// Semaphore and BoundedSemaphore without their names: see there for what their members promise. Handle.
class SemaphoreCore {
 public:
  enum class Kind { Unbounded, Bounded };

  SemaphoreCore(Kind kind, std::int64_t value, UnitsOfTheDead of_the_dead);
  explicit SemaphoreCore(SharedObjectPtr object) : object_(std::move(object)) {}

  bool acquire(const Deadline& deadline);
  void release(std::size_t units);
  std::size_t value() const;
  std::size_t bound() const;
  std::string to_string() const;
  const SharedObjectPtr& object() const { return object_; }

 private:
  SharedObjectPtr object_;
};

/// What can be done with a semaphore, under Python's names and under those of the standard library.
class SemaphoreMembers {
 public:
  /// Waits until there is a unit and takes it.
  void acquire() { static_cast<void>(core_.acquire(Deadline::never())); }
  /// As acquire(), but gives up after `timeout`: false.
  template <class Rep, class Period>
  [[nodiscard]] bool acquire_for(std::chrono::duration<Rep, Period> timeout) {
    return core_.acquire(Deadline::after(timeout));
  }
  /// As acquire(), but does not wait: false if there is none.
  [[nodiscard]] bool try_acquire() { return core_.acquire(Deadline::now()); }
  /// Adds units, and lets as many waiting threads go on. Throws OverRelease if there would be too many, and then adds
  /// none; std::invalid_argument for 0.
  void release(std::size_t units = 1) { core_.release(units); }

  /// The standard library's names, so that std::unique_lock takes it: holding it is holding one unit.
  template <class Rep, class Period>
  [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout) {
    return timeout > timeout.zero() ? acquire_for(timeout) : try_acquire();
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& time) {
    const auto now = Clock::now();
    return time > now ? acquire_for(time - now) : try_acquire();
  }
  void lock() { acquire(); }
  [[nodiscard]] bool try_lock() { return try_acquire(); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) {
    return try_acquire_for(timeout);
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& time) {
    return try_acquire_until(time);
  }
  void unlock() { release(); }

  /// How many units there are, at this instant.
  [[nodiscard]] std::size_t value() const { return core_.value(); }

 protected:
  explicit SemaphoreMembers(SemaphoreCore core) : core_(std::move(core)) {}
  ~SemaphoreMembers() = default;
  SemaphoreMembers(const SemaphoreMembers&) = default;
  SemaphoreMembers(SemaphoreMembers&&) noexcept = default;
  SemaphoreMembers& operator=(const SemaphoreMembers&) = default;
  SemaphoreMembers& operator=(SemaphoreMembers&&) noexcept = default;

  const SemaphoreCore& core() const noexcept { return core_; }

 private:
  SemaphoreCore core_;
};

}  // namespace detail
}  // namespace tandem
