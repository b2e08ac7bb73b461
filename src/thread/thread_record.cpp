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
  // SYNC(thread-state): release here and acquire in state(), so that who sees Ended sees what the body did.
  state_.store(static_cast<std::uint32_t>(state), std::memory_order_release);
  futex_wake(state_, INT_MAX);
}

bool ThreadRecord::join(const Deadline& deadline) {
  ThreadRegistry& registry = ThreadRegistry::instance();
  if (registry.current_if_known() == this) throw StateError("a thread cannot join itself");
  if (registry.kind(*this) == ThreadKind::Foreign)
    throw StateError("a thread that Tandem did not start cannot be joined");
  BlockingSection blocking;
  for (bool in_time = true;;) {
    ThreadState seen = state();
    if (seen == ThreadState::Fresh) throw StateError("a thread cannot be joined before it is started");
    if (seen == ThreadState::Gone) return true;
    if (seen != ThreadState::Running && fork_generation_ != registry.fork_generation()) return true;
    if (seen == ThreadState::Ended) {
      auto expected = static_cast<std::uint32_t>(ThreadState::Ended);
      if (state_.compare_exchange_strong(expected, static_cast<std::uint32_t>(ThreadState::Reaping))) {
        // The thread has run the last of its own code, so this is short.
        ::pthread_join(pthread_, nullptr);
        set_state(ThreadState::Gone);
        return true;
      }
      seen = static_cast<ThreadState>(expected);
      if (seen == ThreadState::Gone) return true;
    }
    if (!in_time) return false;
    in_time = futex_wait(state_, static_cast<std::uint32_t>(seen), deadline);
  }
}

std::optional<pid_t> ThreadRecord::native_id() {
  for (;;) {
    const std::uint32_t id = native_id_.load(std::memory_order_acquire);
    if (id != 0) return static_cast<pid_t>(id);
    if (!alive()) return std::nullopt;
    BlockingSection blocking;
    static_cast<void>(futex_wait(native_id_, 0, Deadline::never()));
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
