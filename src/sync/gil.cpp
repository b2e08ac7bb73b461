#include <pthread.h>
#include <tandem/gil.hpp>

#include <set>
#include <system_error>

#include "core/check.hpp"
#include "ipc/futex.hpp"
#include "sync/gil_core.hpp"

namespace tandem {
namespace detail {
namespace {

/// What the calling thread has to do with Gils. Without a destructor, so that it can be used during the thread's end.
struct GilOfThread {
  GilCore* core = nullptr;  // The Gil that it runs under.
  unsigned released = 0;    // How many scopes around the present one have released it.
};
thread_local GilOfThread t_gil;

const void* this_thread() noexcept {
  return &t_gil;
}

/// Every Gil of the process, for fork(): in the child no other thread is left that could unlock one.
class AllGils {
 public:
  static AllGils& instance() {
    static AllGils* const all = new AllGils;
    return *all;
  }
  void add(GilCore* core) {
    MutexGuard guard(mutex_);
    cores_.insert(core);
  }
  void remove(GilCore* core) {
    MutexGuard guard(mutex_);
    cores_.erase(core);
  }

 private:
  AllGils() {
    const int error = ::pthread_atfork([] { instance().before_fork(); }, [] { instance().after_fork_in_parent(); },
                                       [] { instance().after_fork_in_child(); });
    TANDEM_CHECK(error == 0, error, 0);
  }
  void before_fork() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
    mutex_.lock();
    for (GilCore* core : cores_) core->before_fork();
  }
  void after_fork_in_parent() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
    for (GilCore* core : cores_) core->after_fork_in_parent();
    mutex_.unlock();
  }
  void after_fork_in_child() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
    for (GilCore* core : cores_) core->after_fork_in_child();
    mutex_.unlock();
  }

  Mutex mutex_;
  std::set<GilCore*> cores_ TANDEM_GUARDED_BY(mutex_);
};

[[noreturn]] void refuse(std::errc error, const char* what) {
  throw std::system_error(std::make_error_code(error), what);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------
// What a thread does with its Gil

GilCore::GilCore() : interval_(std::chrono::nanoseconds(Gil::kDefaultSwitchInterval).count()) {
  AllGils::instance().add(this);
}

GilCore::~GilCore() {
  AllGils::instance().remove(this);
  MutexGuard guard(mutex_);
  TANDEM_CHECK(holder_ == nullptr && first_ == nullptr, reinterpret_cast<std::uintptr_t>(holder_), turn_);
}

void GilCore::lock() {
  if (t_gil.core == this) refuse(std::errc::resource_deadlock_would_occur, "this thread already runs under this Gil");
  if (t_gil.core != nullptr) refuse(std::errc::resource_deadlock_would_occur, "this thread runs under another Gil");
  take();
  t_gil = {this, 0};
  blocking_hooks() = this;
}

bool GilCore::try_lock() {
  if (t_gil.core == this) return false;
  if (t_gil.core != nullptr) refuse(std::errc::resource_deadlock_would_occur, "this thread runs under another Gil");
  {
    MutexGuard guard(mutex_);
    if (holder_ != nullptr) return false;
    begin_turn(this_thread());
  }
  t_gil = {this, 0};
  blocking_hooks() = this;
  return true;
}

void GilCore::unlock() {
  if (!held_here()) refuse(std::errc::operation_not_permitted, "this thread does not hold this Gil");
  t_gil = {};
  blocking_hooks() = nullptr;
  drop();
}

bool GilCore::held_here() const noexcept {
  return t_gil.core == this && t_gil.released == 0;
}
bool GilCore::runs_here() const noexcept {
  return t_gil.core == this;
}

// A wait within a wait finds the Gil released and leaves it so.
void GilCore::before_wait() {
  if (t_gil.released++ == 0) drop();
}

void GilCore::after_wait() {
  // Still counted as released while it waits, so that sleeping for the Gil does not try to release it.
  if (t_gil.released == 1) take();
  --t_gil.released;
}

void release_gil_of_this_thread() noexcept {
  if (t_gil.core != nullptr && t_gil.released == 0) t_gil.core->unlock();
}

// ---------------------------------------------------------------------------------------------------------------------
// Taking turns

void GilCore::take() {
  Waiter self{.thread = this_thread()};
  {
    MutexGuard guard(mutex_);
    if (holder_ == nullptr) return begin_turn(self.thread);
    append(self);
  }
  wait_for_turn(self);
}

void GilCore::drop() {
  MutexGuard guard(mutex_);
  TANDEM_CHECK(holder_ == this_thread(), reinterpret_cast<std::uintptr_t>(holder_), turn_);
  if (first_ != nullptr && asked_.load(std::memory_order_relaxed)) return hand_to_first();
  holder_ = nullptr;
  if (first_ != nullptr) wake(*first_);
}

void GilCore::give_way() {
  if (!held_here()) return;
  Waiter self{.thread = this_thread()};
  {
    MutexGuard guard(mutex_);
    if (first_ == nullptr || !asked_.load(std::memory_order_relaxed)) return;
    append(self);
    hand_to_first();
  }
  ++t_gil.released;
  wait_for_turn(self);
  --t_gil.released;
}

void GilCore::wait_for_turn(Waiter& self) {
  for (;;) {
    Deadline deadline = Deadline::never();
    {
      MutexGuard guard(mutex_);
      if (holder_ == self.thread) return have_first_keep_time();  // Handed over; not in the list any more.
      if (holder_ == nullptr) {
        remove(self);
        begin_turn(self.thread);
        return have_first_keep_time();
      }
      if (first_ == &self && !asked_.load(std::memory_order_relaxed)) {
        if (self.timing_turn != turn_) {
          self.timing_turn = turn_;
          self.ask_at = Deadline::after(interval());
        }
        if (self.ask_at.passed()) {
          asked_.store(true, std::memory_order_relaxed);
        } else {
          deadline = self.ask_at;
        }
      }
      self.wake.store(0, std::memory_order_relaxed);
    }
    // SYNC(gil-wake): cleared above and set by wake(), both under the mutex, so that what changes after the look at
    // the state above ends this sleep or prevents it.
    static_cast<void>(futex_wait(self.wake, 0, deadline));
  }
}

void GilCore::begin_turn(const void* thread) {
  holder_ = thread;
  ++turn_;
  asked_.store(false, std::memory_order_relaxed);
}

void GilCore::append(Waiter& waiter) {
  (last_ == nullptr ? first_ : last_->next) = &waiter;
  last_ = &waiter;
}

void GilCore::remove(Waiter& waiter) {
  Waiter* before = nullptr;
  for (Waiter* at = first_; at != &waiter; at = at->next) before = at;
  (before == nullptr ? first_ : before->next) = waiter.next;
  if (last_ == &waiter) last_ = before;
}

void GilCore::hand_to_first() {
  Waiter& next = *first_;
  remove(next);
  begin_turn(next.thread);
  wake(next);
}

void GilCore::have_first_keep_time() {
  if (first_ != nullptr && first_->timing_turn != turn_) wake(*first_);
}

void GilCore::wake(Waiter& waiter) {
  waiter.wake.store(1, std::memory_order_relaxed);
  futex_wake(waiter.wake, 1);
}

void GilCore::after_fork_in_child() {
  first_ = last_ = nullptr;
  if (holder_ != this_thread()) holder_ = nullptr;
  asked_.store(false, std::memory_order_relaxed);
  mutex_.unlock();
}

// ---------------------------------------------------------------------------------------------------------------------
// The handle

GilRelease::GilRelease(GilCore& core) : core_(core.runs_here() ? &core : nullptr) {
  if (core_ != nullptr) core_->before_wait();
}

GilRelease::~GilRelease() {
  if (core_ != nullptr) core_->after_wait();
}

}  // namespace detail

Gil::Gil() : core_(std::make_shared<detail::GilCore>()) {}
void Gil::lock() {
  core_->lock();
}
bool Gil::try_lock() {
  return core_->try_lock();
}
void Gil::unlock() {
  core_->unlock();
}
void Gil::checkpoint() {
  if (core_->held_here()) core_->checkpoint();
}
bool Gil::held() const noexcept {
  return core_->held_here();
}
std::chrono::nanoseconds Gil::switch_interval() const noexcept {
  return core_->interval();
}
void Gil::set_interval(std::chrono::nanoseconds interval) noexcept {
  core_->set_interval(interval);
}

void checkpoint() {
  if (detail::t_gil.core != nullptr) detail::t_gil.core->checkpoint();
}

}  // namespace tandem
