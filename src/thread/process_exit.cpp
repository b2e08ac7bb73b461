#include "thread/process_exit.hpp"

#include <tandem/error.hpp>

#include <atomic>
#include <climits>
#include <cstdlib>

#include "core/check.hpp"
#include "thread/exit_hooks.hpp"
#include "thread/fork_handlers.hpp"
#include "thread/native_thread.hpp"
#include "thread/thread_registry.hpp"

namespace tandem::detail {
namespace {

std::atomic<bool> exit_begun{false};
std::atomic<void (*)()> end_waiting_threads{nullptr};
std::atomic<void (*)()> join_children{nullptr};

/// Destroyed by exit() in the main thread before any static object is: so static objects outlive the threads even if
/// they were made, on their first use, after Tandem's own. When another thread calls exit(), atexit() below remains.
struct MainThreadGuard {
  ~MainThreadGuard() { run_process_exit(); }
  bool armed = false;
};
thread_local MainThreadGuard t_main_guard;

void wait_for_threads() noexcept {
  ThreadRegistry& registry = ThreadRegistry::instance();
  while (const ThreadRecordPtr record = registry.next_to_wait_for()) {
    try {
      record->join(Deadline::never());
    } catch (const StateError&) {
      // The system refused to start it after all.
    }
  }
}

}  // namespace

void arm_process_exit() {
  arm_fork_handlers();
  static const int error = std::atexit(run_process_exit);
  TANDEM_CHECK(error == 0, error, 0);
  if (is_main_native_thread()) t_main_guard.armed = true;
}

void restart_process_exit() {
  exit_begun.store(false, std::memory_order_relaxed);
  set_exit_hooks_closed(false);
  t_main_guard.armed = true;
}

void on_process_exit(void (*join)()) noexcept {
  join_children.store(join, std::memory_order_release);
}

void on_process_exit_begun(void (*end_threads)()) noexcept {
  end_waiting_threads.store(end_threads, std::memory_order_release);
}

void run_process_exit() noexcept {
  if (exit_begun.exchange(true)) return;
  ThreadRegistry::instance().leave_main();
  if (auto* const end_threads = end_waiting_threads.load(std::memory_order_acquire)) end_threads();
  wait_for_threads();
  run_exit_hooks(0);
  if (auto* const join = join_children.load(std::memory_order_acquire)) join();
  run_exit_hooks(INT_MIN);
  set_exit_hooks_closed(true);
}

}  // namespace tandem::detail
