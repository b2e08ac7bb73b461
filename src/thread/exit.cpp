#include <tandem/exit.hpp>

#include <cstdlib>
#include <map>
#include <stdexcept>
#include <utility>

#include "core/mutex.hpp"
#include "thread/excepthook.hpp"
#include "thread/exit_hooks.hpp"
#include "thread/fork_handlers.hpp"
#include "thread/native_thread.hpp"
#include "thread/process_exit.hpp"

namespace tandem {
namespace detail {
namespace {

/// The order in which hooks run: higher priorities first, among equals the latest first.
struct HookOrder {
  int priority;
  std::uint64_t number;
  friend bool operator<(const HookOrder& a, const HookOrder& b) {
    return a.priority != b.priority ? a.priority > b.priority : a.number > b.number;
  }
};

/// Never destroyed: other static objects may register hooks in their destructors, and are told that it is too late.
struct ExitHooks {
  Mutex mutex;
  std::map<HookOrder, std::function<void()>> hooks TANDEM_GUARDED_BY(mutex);
  std::uint64_t last_number TANDEM_GUARDED_BY(mutex) = 0;
  bool closed TANDEM_GUARDED_BY(mutex) = false;
};

ExitHooks& exit_hooks() {
  static auto* const made = new ExitHooks;
  return *made;
}

thread_local unsigned t_exit_scopes = 0;

}  // namespace

Mutex& exit_hooks_mutex() {
  return exit_hooks().mutex;
}

void run_exit_hooks(int lowest_priority) noexcept {
  ExitHooks& all = exit_hooks();
  for (;;) {
    std::function<void()> hook;
    {
      MutexGuard guard(all.mutex);
      if (all.hooks.empty() || all.hooks.begin()->first.priority < lowest_priority) return;
      hook = std::move(all.hooks.begin()->second);
      all.hooks.erase(all.hooks.begin());
    }
    ExitScope scope;
    try {
      hook();
    } catch (const ExitRequest&) {
    } catch (...) {
      print_uncaught("exit hook", std::current_exception());
    }
  }
}

void set_exit_hooks_closed(bool closed) noexcept {
  ExitHooks& all = exit_hooks();
  MutexGuard guard(all.mutex);
  all.closed = closed;
}

void clear_exit_hooks() {
  ExitHooks& all = exit_hooks();
  std::map<HookOrder, std::function<void()>> dropped;  // Destroyed outside the lock.
  MutexGuard guard(all.mutex);
  dropped.swap(all.hooks);
}

ExitScope::ExitScope() noexcept {
  ++t_exit_scopes;
}
ExitScope::~ExitScope() {
  --t_exit_scopes;
}

}  // namespace detail

void exit(int code) {
  if (detail::t_exit_scopes == 0 && detail::is_main_native_thread()) std::exit(code);
  throw ExitRequest(code);
}

ExitHookId at_exit(std::function<void()> hook, int priority) {
  if (!hook) throw std::invalid_argument("an exit hook must not be empty");
  detail::arm_process_exit();
  detail::ExitHooks& all = detail::exit_hooks();
  detail::MutexGuard guard(all.mutex);
  if (all.closed) throw StateError("this process is ending: its exit hooks have run");
  const std::uint64_t number = ++all.last_number;
  all.hooks.emplace(detail::HookOrder{priority, number}, std::move(hook));
  return ExitHookId(number);
}

bool cancel(ExitHookId id) {
  detail::ExitHooks& all = detail::exit_hooks();
  std::function<void()> dropped;  // Destroyed outside the lock.
  detail::MutexGuard guard(all.mutex);
  for (auto at = all.hooks.begin(); at != all.hooks.end(); ++at) {
    if (at->first.number != id.number_) continue;
    dropped = std::move(at->second);
    all.hooks.erase(at);
    return true;
  }
  return false;
}

void interrupt_main(int signum) {
  detail::signal_main_thread(signum);
}

}  // namespace tandem
