#include <tandem/detail/future_state.hpp>

#include <array>
#include <climits>

#include <tandem/error.hpp>
#include <tandem/future.hpp>

#include "core/blocking.hpp"
#include "core/check.hpp"
#include "core/kill_point.hpp"
#include "core/mutex.hpp"
#include "executor/executor_core.hpp"
#include "ipc/futex.hpp"

namespace tandem::detail {
namespace {

/// The mutexes of the lists of continuations: a few for all states, since a list is seldom used by two at once. Never
/// destroyed, because a state may be settled during the exit of the process.
std::array<Mutex, 16>& list_mutexes() {
  static auto* const all = new std::array<Mutex, 16>;
  return *all;
}
Mutex& list_mutex(const FutureState* state) {
  // The lowest bits are always 0, and the blocks of one size lie at regular distances.
  const auto address = reinterpret_cast<std::uintptr_t>(state);
  return list_mutexes()[((address >> 6) ^ (address >> 12)) % list_mutexes().size()];
}

/// A state whose user continuations the calling thread is running. In them it counts as done.
struct SettlingHere {
  const FutureState* state;
  SettlingHere* outer;
};
thread_local SettlingHere* t_settling = nullptr;

}  // namespace

std::exception_ptr without_exit_request(std::exception_ptr error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const ExitRequest& request) {
    return std::make_exception_ptr(Error("the task called tandem::exit(" + std::to_string(request.code()) + ")"));
  } catch (...) {
    return error;
  }
}
std::exception_ptr error_of_call() noexcept {
  return without_exit_request(std::current_exception());
}

void lock_continuations() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  for (Mutex& mutex : list_mutexes()) mutex.lock();
}
void unlock_continuations() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  for (Mutex& mutex : list_mutexes()) mutex.unlock();
}

FutureState::~FutureState() {
  while (first_ != nullptr) {  // Nobody has brought the result.
    const std::unique_ptr<Continuation> dropped(first_);
    first_ = dropped->next_;
  }
}

bool FutureState::change_phase(std::uint32_t from, std::uint32_t to) noexcept {
  std::uint32_t word = word_.load(std::memory_order_relaxed);
  do {
    if ((word & kPhaseMask) != from) return false;
    // Acquire: who begins a task sees what its submitter did; who runs it again, what was left of the last attempt.
  } while (!word_.compare_exchange_weak(word, (word & ~kPhaseMask) | to, std::memory_order_acq_rel,
                                        std::memory_order_relaxed));
  return true;
}
bool FutureState::claim_from(std::uint32_t from) noexcept {
  return change_phase(from, kSettling);
}
bool FutureState::start() noexcept {
  return change_phase(kPending, kRunning);
}
bool FutureState::unstart() noexcept {
  return change_phase(kRunning, kPending);
}

void FutureState::settle(Outcome outcome) noexcept {
  outcome_ = outcome;
  bool had_continuations = false;
  std::uint32_t word = word_.load(std::memory_order_acquire);
  do {
    // The flag is put down first, so that one that is added from here on shows it again, and runs before the waiters
    // too.
    while ((word & kContinuations) != 0) {
      had_continuations = true;
      word_.fetch_and(~kContinuations, std::memory_order_acq_rel);
      run_continuations(true);
      word = word_.load(std::memory_order_acquire);
    }
    TANDEM_KILL_POINT("future.settle");
  } while (!word_.compare_exchange_strong(word, kDone, std::memory_order_acq_rel, std::memory_order_acquire));
  TANDEM_CHECK((word & kPhaseMask) == kSettling, word, outcome);
  if ((word & kSleepers) != 0) futex_wake(word_, INT_MAX);
  if (had_continuations) run_continuations(false);
}

void FutureState::run_continuations(bool before_waiters) noexcept {
  SettlingHere here{this, t_settling};
  t_settling = &here;
  for (;;) {
    std::unique_ptr<Continuation> next;
    {
      MutexGuard guard(list_mutex(this));
      Continuation** at = &first_;
      while (*at != nullptr && before_waiters && !(*at)->before_waiters()) at = &(*at)->next_;
      if (*at == nullptr) break;
      next.reset(*at);
      *at = next->next_;
    }
    next->run(*this);
  }
  t_settling = here.outer;
}

void FutureState::add(std::unique_ptr<Continuation> continuation) noexcept {
  Continuation* const added = continuation.get();
  if (phase() != kDone) {
    MutexGuard guard(list_mutex(this));
    Continuation** end = &first_;
    while (*end != nullptr) end = &(*end)->next_;
    *end = continuation.release();
    // SYNC(continuations): settle() puts kDone only where this flag is not, or this sees kDone here. One of the two
    // takes the continuation out of the list, under the mutex, and runs it.
    if ((word_.fetch_or(kContinuations, std::memory_order_acq_rel) & kPhaseMask) != kDone) return;
  }
  if (continuation == nullptr) continuation = remove(added);
  if (continuation != nullptr) continuation->run(*this);
}

std::unique_ptr<Continuation> FutureState::remove(Continuation* continuation) noexcept {
  MutexGuard guard(list_mutex(this));
  for (Continuation** at = &first_; *at != nullptr; at = &(*at)->next_) {
    if (*at != continuation) continue;
    *at = continuation->next_;
    return std::unique_ptr<Continuation>(continuation);
  }
  return nullptr;
}

bool FutureState::settling_here() const noexcept {
  for (const SettlingHere* at = t_settling; at != nullptr; at = at->outer)
    if (at->state == this) return true;
  return false;
}

bool FutureState::done() const noexcept {
  const std::uint32_t now = phase();
  return now == kDone || (now == kSettling && settling_here());
}

bool FutureState::wait(const Deadline& deadline) {
  if (done()) return true;
  if (deadline.is_never()) run_here();
  if (deadline.is_now()) return done();
  const auto there = [this] { return phase() == kDone; };
  BlockingSection blocking;
  if (spin_briefly(there)) return true;
  check_process();
  std::uint32_t word = word_.load(std::memory_order_acquire);
  for (;;) {
    if ((word & kPhaseMask) == kDone) return true;
    if ((word & kSleepers) == 0 && !word_.compare_exchange_weak(word, word | kSleepers, std::memory_order_acquire))
      continue;
    if (!futex_wait(word_, word | kSleepers, deadline)) return there();
    word = word_.load(std::memory_order_acquire);
  }
}

StatePtr<FutureState> FutureState::root() noexcept {
  StatePtr<FutureState> root(this);
  while (StatePtr<FutureState> source = root->source()) root = std::move(source);
  return root;
}
bool FutureState::run_here() noexcept {
  if (!in_worker()) return false;
  const StatePtr<FutureState> from = root();
  return from->task_ != nullptr && run_task_here(*from->task_);
}
void FutureState::check_process() {
  const StatePtr<FutureState> from = root();
  if (from->task_ != nullptr) check_task_process(*from->task_);
}
StatePtr<FutureState> FutureState::source() noexcept {
  return {};
}

std::exception_ptr FutureState::failure() const {
  switch (outcome_) {
    case Outcome::Error:
      return error_;
    case Outcome::Cancelled:
      return std::make_exception_ptr(TaskCancelled("the task was cancelled"));
    default:
      return nullptr;
  }
}

void FutureState::wait_for_value() {
  if (!done()) wait(Deadline::never());
  if (outcome_ == Outcome::Value) [[likely]]
    return;
  std::rethrow_exception(failure());
}

bool FutureState::cancel() noexcept {
  if (claim_pending()) {
    if (task_ != nullptr) withdraw_task(*task_);
    settle(Outcome::Cancelled);
    return true;
  }
  return phase() != kPending && phase() != kRunning && (phase() == kDone || settling_here()) &&
         outcome_ == Outcome::Cancelled;
}

bool FutureState::stop() noexcept {
  // Again if it has gone back to pending meanwhile, for another attempt or another worker, or has come from there.
  while (!cancel()) {
    TANDEM_KILL_POINT("future.stop");
    const std::uint32_t now = phase();
    if (now == kPending) continue;
    if (now != kRunning || task_ == nullptr || !stop_task(*task_)) return done() && outcome_ == Outcome::Cancelled;
  }
  return true;
}

}  // namespace tandem::detail
