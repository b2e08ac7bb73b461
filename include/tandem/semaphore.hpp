/// Counting semaphores for threads and processes whose units outlive the death of who held them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <tandem/detail/semaphore_core.hpp>

namespace tandem {

/// A count of units that threads and processes take and give back. Handle: copies refer to one semaphore.
///
///   tandem::Semaphore licences(3);
///   tandem::Process p(simulate, licences);   // void simulate(tandem::Semaphore licences)
///   ...
///   std::scoped_lock licence(licences);      // in simulate(): at most three are here at a time
///
/// Its members are those of detail::SemaphoreMembers: acquire, acquire_for, try_acquire, release, value and so on.
/// Threads and processes: every member may be called at once from any thread of any process of the family, and any may
/// release. Not fair. Not for signal handlers.
/// Killed peers: under UnitsOfTheDead::ComeBack what a process had acquired and not released comes back when those who
/// wait notice its death, within about 100 ms. A unit that another process releases for it counts as not its own:
/// where that is the rule, as in signalling, choose StayOut.
/// Memory ordering: what was done before release() happens before what follows the acquire() of that unit.
/// Errors: OverRelease; std::invalid_argument for a negative value or timeout; std::system_error from the constructor
/// if the arena is full, and from the first use in the 4,096th process at once (EUSERS).
/// Units: up to kMax; timeouts on the steady clock.
/// Cost: uncontended, one compare-and-swap of 16 bytes to acquire and one to release, and two more when the process is
/// another than last time; a system call only to sleep or to wake.
class Semaphore : public detail::SemaphoreMembers {
 public:
  static constexpr std::size_t kMax = 0x7FFFFFFF;

  explicit Semaphore(std::int64_t value = 1, UnitsOfTheDead of_the_dead = UnitsOfTheDead::ComeBack)
      : SemaphoreMembers(detail::SemaphoreCore(detail::SemaphoreCore::Kind::Unbounded, value, of_the_dead)) {}

  /// For people, for example "<Semaphore(value=3)>".
  [[nodiscard]] std::string to_string() const { return core().to_string(); }

  /// Whether both refer to one semaphore.
  friend bool operator==(const Semaphore& a, const Semaphore& b) noexcept {
    return a.core().object() == b.core().object();
  }

 private:
  friend struct detail::HandleAccess;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::Semaphore;
  explicit Semaphore(detail::SharedObjectPtr object) : SemaphoreMembers(detail::SemaphoreCore(std::move(object))) {}
  const detail::SharedObjectPtr& shared_object() const { return core().object(); }
};

/// A Semaphore that never has more units than at first: releasing too often, a mistake in most programs, throws
/// OverRelease. Handle: copies refer to one semaphore.
///
///   tandem::BoundedSemaphore slots(2);
///   slots.acquire();
///   slots.release();
///   slots.release();   // throws OverRelease
///
/// In all else as Semaphore.
class BoundedSemaphore : public detail::SemaphoreMembers {
 public:
  explicit BoundedSemaphore(std::int64_t value = 1, UnitsOfTheDead of_the_dead = UnitsOfTheDead::ComeBack)
      : SemaphoreMembers(detail::SemaphoreCore(detail::SemaphoreCore::Kind::Bounded, value, of_the_dead)) {}

  /// The units at first, and the most that there ever are.
  [[nodiscard]] std::size_t bound() const { return core().bound(); }
  /// For people, for example "<BoundedSemaphore(value=1/2)>".
  [[nodiscard]] std::string to_string() const { return core().to_string(); }

  /// Whether both refer to one semaphore.
  friend bool operator==(const BoundedSemaphore& a, const BoundedSemaphore& b) noexcept {
    return a.core().object() == b.core().object();
  }

 private:
  friend struct detail::HandleAccess;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::BoundedSemaphore;
  explicit BoundedSemaphore(detail::SharedObjectPtr object)
      : SemaphoreMembers(detail::SemaphoreCore(std::move(object))) {}
  const detail::SharedObjectPtr& shared_object() const { return core().object(); }
};

}  // namespace tandem
