#include "executor/cpu_budget.hpp"

#include <algorithm>
#include <climits>
#include <utility>

#include <tandem/cpu.hpp>

#include "core/mutex.hpp"
#include "ipc/futex.hpp"
#include "ipc/owner.hpp"
#include "process/limits.hpp"
#include "sync/aligned.hpp"

namespace tandem::detail {
namespace {

/// Never destroyed: pools may be made at any time.
struct BudgetOfProcess {
  Mutex mutex;
  std::weak_ptr<const SharedObject> shared TANDEM_GUARDED_BY(mutex);
  SharedObjectPtr adopted TANDEM_GUARDED_BY(mutex);
};
BudgetOfProcess& budget_of_process() {
  static auto* const made = new BudgetOfProcess;
  return *made;
}

}  // namespace

CpuBudgetState& CpuBudgetState::of(const SharedObjectPtr& object) noexcept {
  auto* const body = static_cast<std::byte*>(object->data());
  return *reinterpret_cast<CpuBudgetState*>(body + aligned_distance(body, 0, alignof(CpuBudgetState)));
}

SharedObjectPtr cpu_budget_for_pool(std::size_t places) {
  BudgetOfProcess& mine = budget_of_process();
  MutexGuard guard(mine.mutex);
  if (mine.adopted) return mine.adopted;
  SharedObjectPtr budget = mine.shared.lock();
  if (budget == nullptr) mine.shared = budget = make_plain(CpuBudgetState::body_bytes());
  CpuBudgetState& state = CpuBudgetState::of(budget);
  const std::size_t wanted = std::min(std::max(places, cpu_count()), CpuBudgetState::kMostPlaces);
  if (state.places.load() < wanted) state.places.store(static_cast<std::uint32_t>(wanted));
  return budget;
}

void adopt_cpu_budget(SharedObjectPtr budget) {
  MutexGuard guard(budget_of_process().mutex);
  budget_of_process().adopted = std::move(budget);
}

CpuToken::CpuToken(const SharedObjectPtr& budget) : budget_(budget), self_(Owner::self().word()) {
  place_ = self_ >> (Owner::kNumberBits + Owner::kFlagBits);  // So that processes begin at different places.
  acquire();
  install();
}

CpuToken::~CpuToken() {
  blocking_hooks() = nullptr;
  release();
}

void CpuToken::before_wait() {
  if (waits_++ == 0) release();
}

void CpuToken::after_wait() {
  // Still counted as waiting, so that sleeping for a place does not try to give one up.
  if (waits_ == 1) acquire();
  --waits_;
}

bool CpuToken::try_acquire() noexcept {
  const std::size_t count = state().places.load(std::memory_order_relaxed);
  for (std::size_t tried = 0; tried < count; ++tried) {
    const std::size_t place = (place_ + tried) % count;
    std::uint64_t free = 0;
    if (state().all[place].holder.load(std::memory_order_relaxed) == 0 &&
        state().all[place].holder.compare_exchange_strong(free, self_)) {
      place_ = place;
      return has_place_ = true;
    }
  }
  return false;
}

void CpuToken::acquire() {
  // The dead are looked for at once: their places are free.
  while (!try_acquire() && !(free_places_of_dead() && try_acquire())) {
    const std::uint32_t ticket = state().bell.load();
    state().waiting.store(1);
    if (try_acquire()) return;
    const auto begun = std::chrono::steady_clock::now();
    futex_wait(state().bell, ticket, Deadline::never());
    // If a round goes by in which nobody gives up a place, who has one and sleeps in something that is not Tandem's may
    // be waiting for just this worker.
    if (std::chrono::steady_clock::now() - begun > kLongestSleep / 2 && a_holder_sleeps()) {
      state().exceeded.fetch_add(1);
      return;
    }
  }
}

void CpuToken::release() noexcept {
  if (!std::exchange(has_place_, false)) return;
  state().all[place_].holder.store(0);
  if (state().waiting.load() == 0 || state().waiting.exchange(0) == 0) return;
  state().bell.fetch_add(1);
  futex_wake(state().bell, INT_MAX);
}

bool CpuToken::free_places_of_dead() {
  bool found = false;
  const std::size_t count = state().places.load(std::memory_order_relaxed);
  for (std::size_t place = 0; place < count; ++place) {
    std::uint64_t holder = state().all[place].holder.load();
    if (holder == 0 || !Owner(holder).process_is_dead()) continue;
    found = state().all[place].holder.compare_exchange_strong(holder, 0) || found;
  }
  return found;
}

bool CpuToken::a_holder_sleeps() {
  const std::size_t count = state().places.load(std::memory_order_relaxed);
  for (std::size_t place = 0; place < count; ++place) {
    const std::uint64_t holder = state().all[place].holder.load();
    if (holder == 0) continue;
    const Owner::Numbers numbers = Owner(holder).numbers();
    if (numbers.pid != 0 && thread_sleeps(numbers.pid, numbers.tid)) return true;
  }
  return false;
}

}  // namespace tandem::detail
