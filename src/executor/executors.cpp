#include "executor/executors.hpp"

#include <pthread.h>

#include <atomic>
#include <unordered_map>
#include <vector>

#include <tandem/error.hpp>

#include "core/check.hpp"
#include "core/mutex.hpp"
#include "executor/executor_core.hpp"
#include "thread/process_exit.hpp"

namespace tandem::detail {
namespace {

/// Never destroyed: futures may be cancelled at any time during the exit.
struct Executors {
  Mutex mutex;
  std::unordered_map<std::uint64_t, std::weak_ptr<ExecutorCore>> all TANDEM_GUARDED_BY(mutex);
  bool exiting TANDEM_GUARDED_BY(mutex) = false;
};
Executors& executors() {
  static auto* const made = new Executors;
  return *made;
}

// The executors of the parent have no threads here, and this process is at its beginning, whatever its parent was at.
void before_fork() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  executors().mutex.lock();
  lock_continuations();
}
void after_fork_in_parent() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  unlock_continuations();
  executors().mutex.unlock();
}
void after_fork_in_child() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  unlock_continuations();
  executors().exiting = false;
  executors().mutex.unlock();
}

void close_all() {
  std::vector<std::shared_ptr<ExecutorCore>> open;
  {
    MutexGuard guard(executors().mutex);
    executors().exiting = true;
    for (const auto& [id, weak] : executors().all)
      if (std::shared_ptr<ExecutorCore> core = weak.lock(); core && core->in_own_process())
        open.push_back(std::move(core));
  }
  for (const std::shared_ptr<ExecutorCore>& core : open) core->close(Backlog::Run);
}

}  // namespace

std::uint64_t next_executor_id() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

void register_executor(const std::shared_ptr<ExecutorCore>& core) {
  arm_process_exit();
  static const int error = [] {
    on_process_exit_begun(close_all);
    return ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  }();
  TANDEM_CHECK(error == 0, error, 0);
  MutexGuard guard(executors().mutex);
  if (executors().exiting) throw StateError("this process is ending: it cannot have another executor");
  executors().all.emplace(core->id(), core);
}

void forget_executor(std::uint64_t id) noexcept {
  MutexGuard guard(executors().mutex);
  executors().all.erase(id);
}

std::shared_ptr<ExecutorCore> find_executor(std::uint64_t id) noexcept {
  MutexGuard guard(executors().mutex);
  const auto found = executors().all.find(id);
  return found == executors().all.end() ? nullptr : found->second.lock();
}

}  // namespace tandem::detail
