#include "thread/thread_record.hpp"

#include <tandem/error.hpp>

#include <climits>

#include "core/blocking.hpp"
#include "ipc/futex.hpp"
#include "thread/native_thread.hpp"
#include "thread/thread_registry.hpp"

namespace tandem::detail {

ThreadRecord::~ThreadRecord() {
  // Nobody else refers to it, so nobody is about to join. A thread of the process that this one was forked from does
  // not exist here.
  if (state() == ThreadState::Ended && fork_generation_ == ThreadRegistry::instance().fork_generation())
    ::pthread_detach(pthread_);
}

void ThreadRecord::set_state(ThreadState state) noexcept {
  // SYNC(thread-state): so that who sees Ended sees what the body did.
  state_.store(static_cast<std::uint32_t>(state), std::memory_order_seq_cst);
  wake_waiters(state_);
}

void ThreadRecord::set_native_id(pid_t id) noexcept {
  native_id_.store(static_cast<std::uint32_t>(id), std::memory_order_seq_cst);
  wake_waiters(native_id_);
}

bool ThreadRecord::wait_for_change(std::atomic<std::uint32_t>& word, std::uint32_t expected, const Deadline& deadline) {
  // SYNC(thread-waiting): sequentially consistent, here and in who changes the word: either that one sees the waiter or
  // the waiter sees the change.
  waiting_.fetch_add(1, std::memory_order_seq_cst);
  const bool in_time = futex_wait(word, expected, deadline);
  waiting_.fetch_sub(1, std::memory_order_relaxed);
  return in_time;
}

void ThreadRecord::wake_waiters(std::atomic<std::uint32_t>& word) noexcept {
  if (waiting_.load(std::memory_order_seq_cst) != 0) futex_wake(word, INT_MAX);  // SYNC(thread-waiting)
}

// Waits for the system's thread, if nobody else does; whether nothing is left of it.
bool ThreadRecord::reap(pthread_t thread) {
  if (thread == 0 || claimed_.exchange(true, std::memory_order_acquire)) return false;
  if (::pthread_join(thread, nullptr) != 0) {
    // The two of them wait for each other. Not for ever, if the other one waits with a deadline.
    claimed_.store(false, std::memory_order_release);
    return false;
  }
  set_state(ThreadState::Gone);
  return true;
}

bool ThreadRecord::join(const Deadline& deadline) {
  ThreadRegistry& registry = ThreadRegistry::instance();
  if (registry.current_if_known() == this) throw StateError("a thread cannot join itself");
  if (registry.kind(*this) == ThreadKind::Foreign)
    throw StateError("a thread that Tandem did not start cannot be joined");
  BlockingSection blocking;
  for (bool in_time = true;;) {
    const ThreadState seen = state();
    if (seen == ThreadState::Fresh) throw StateError("a thread cannot be joined before it is started");
    if (seen == ThreadState::Gone) return true;
    if (seen == ThreadState::Ended) {
      if (fork_generation_ != registry.fork_generation()) return true;
      if (reap(pthread_)) return true;  // It has run the last of its own code, so this is short.
    } else if (deadline.is_never()) {
      // At once: to be woken by its end, and then wait once more for the system's thread, would take twice as long.
      if (reap(created_.load(std::memory_order_acquire))) return true;  // SYNC(created)
    }
    if (!in_time) return false;
    in_time = wait_for_change(state_, static_cast<std::uint32_t>(seen), deadline);
  }
}

std::optional<pid_t> ThreadRecord::native_id() {
  for (;;) {
    const std::uint32_t id = native_id_.load(std::memory_order_acquire);
    if (id != 0) return static_cast<pid_t>(id);
    if (!alive()) return std::nullopt;
    BlockingSection blocking;
    static_cast<void>(wait_for_change(native_id_, 0, Deadline::never()));
  }
}

std::string ThreadRecord::describe(const char* type) {
  ThreadRegistry& registry = ThreadRegistry::instance();
  const ThreadState seen = state();
  std::string text = "<" + std::string(type) + "(" + registry.name(*this) + ", ";
  text += seen == ThreadState::Fresh ? "initial" : seen == ThreadState::Running ? "started" : "stopped";
  if (registry.daemon(*this)) text += " daemon";
  if (const std::uint64_t id = registry.id(*this); id != 0) text += " " + std::to_string(id);
  return text + ")>";
}

}  // namespace tandem::detail
