/// How many workers of a family's process pools run at once, pools inside of workers included.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <tandem/detail/shared_object.hpp>

#include "core/blocking.hpp"

namespace tandem::detail {

/// In the arena: one place for each worker that may run, with who runs there.
///
/// Killed peers: a place names its holder as an Owner, and whoever waits for one frees those of the dead. A waiter that
/// is killed leaves at most one wake-up that nobody needs.
struct CpuBudgetState {
  static constexpr std::size_t kMostPlaces = 1024;
  struct alignas(64) Place {
    std::atomic<std::uint64_t> holder;  // An Owner's word; 0: free.
  };
  alignas(64) std::atomic<std::uint32_t> places;  // How many of them are used; only grows.
  // SYNC(cpu-budget): who waits sets `waiting` and then looks for a free place; who frees one does it and then looks at
  // `waiting`. All of it is sequentially consistent, so one of the two sees the other.
  std::atomic<std::uint32_t> waiting;
  std::atomic<std::uint32_t> bell;
  std::atomic<std::uint32_t> exceeded;  // How often somebody ran without a place; see a_holder_sleeps(). For tests.
  std::array<Place, kMostPlaces> all;

  // An object's body is aligned to less: so it is larger, and this lies somewhere in it, in each process at the same
  // place.
  static std::size_t body_bytes() noexcept { return sizeof(CpuBudgetState) + alignof(CpuBudgetState); }
  static CpuBudgetState& of(const SharedObjectPtr& object) noexcept;
};
static_assert(sizeof(CpuBudgetState) == 64 * (CpuBudgetState::kMostPlaces + 1), "layout in shared memory");

/// The budget that this process's pools share: in a worker its pool's, else one for all pools of this process. Kept as
/// long as any of them. Has at least `places` places, unless it came from outside.
SharedObjectPtr cpu_budget_for_pool(std::size_t places);
/// In a worker: pools made here use this one.
void adopt_cpu_budget(SharedObjectPtr budget);

/// The right of the calling thread to run, given up while it waits in Tandem. Owner; for one thread.
class CpuToken final : public BlockingHooks {
 public:
  /// Waits for a place.
  explicit CpuToken(const SharedObjectPtr& budget);
  ~CpuToken();
  CpuToken(const CpuToken&) = delete;
  CpuToken& operator=(const CpuToken&) = delete;

  /// Has the waits of the calling thread give it up; to be said again when something else may have set its own hooks.
  void install() noexcept { blocking_hooks() = this; }
  void before_wait() override;
  void after_wait() override;

 private:
  CpuBudgetState& state() const noexcept { return CpuBudgetState::of(budget_); }
  void acquire();
  void release() noexcept;
  bool try_acquire() noexcept;
  /// Whether there were any.
  bool free_places_of_dead();
  /// Whether fewer run than may, because one that has a place sleeps.
  bool a_holder_sleeps();

  const SharedObjectPtr budget_;
  const std::uint64_t self_;
  std::size_t place_ = 0;  // The one that it has, or had last.
  bool has_place_ = false;
  unsigned waits_ = 0;  // How many it is in, one inside the other.
};

}  // namespace tandem::detail
