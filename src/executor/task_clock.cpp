#include "executor/task_clock.hpp"

#include <functional>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include <tandem/thread.hpp>

#include "core/mutex.hpp"
#include "executor/executor_core.hpp"

namespace tandem::detail {
namespace {

using Time = std::chrono::steady_clock::time_point;

struct Entry {
  Time at;
  StatePtr<FutureState> state;
  unsigned attempt;
  friend bool operator>(const Entry& a, const Entry& b) { return a.at > b.at; }
};

}  // namespace

struct TaskClock::Inside {
  Mutex mutex;
  ConditionVariable changed;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> entries TANDEM_GUARDED_BY(mutex);
  bool stopped TANDEM_GUARDED_BY(mutex) = false;
  std::optional<Thread> thread TANDEM_GUARDED_BY(mutex);

  /// Waits for the next entry whose time is over; empty once stopped.
  std::optional<Entry> next() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock lock(mutex);
    while (!stopped) {
      if (entries.empty()) {
        changed.wait(lock);
      } else if (const Time at = entries.top().at; at <= std::chrono::steady_clock::now()) {
        Entry entry = entries.top();
        entries.pop();
        return entry;
      } else {
        changed.wait_until(lock, at);
      }
    }
    return std::nullopt;
  }
  void run(const std::weak_ptr<ExecutorCore>& weak_core) {
    while (const std::optional<Entry> entry = next()) {
      Task& task = *entry->state->task();
      if (!entry->state->running() || task.attempts() != entry->attempt) continue;
      if (const std::shared_ptr<ExecutorCore> core = weak_core.lock()) core->stop(task, Place::Why::Deadline);
    }
  }
};

TaskClock::TaskClock() : inside_(std::make_shared<Inside>()) {}

void TaskClock::watch(ExecutorCore& core, Task& task, std::chrono::nanoseconds time) {
  MutexGuard guard(inside_->mutex);
  if (inside_->stopped) return;
  inside_->entries.push({std::chrono::steady_clock::now() + time, StatePtr(&task.state()), task.attempts()});
  if (!inside_->thread) {
    inside_->thread.emplace(ThreadOptions{.name = core.name() + "-clock", .daemon = true},
                            [inside = inside_, weak = core.weak_from_this()] { inside->run(weak); });
    inside_->thread->start();
  }
  inside_->changed.notify_one();
}

void TaskClock::stop() noexcept {
  std::optional<Thread> ended;
  {
    MutexGuard guard(inside_->mutex);
    inside_->stopped = true;
    inside_->changed.notify_one();
    ended.swap(inside_->thread);
    inside_->entries = {};
  }
  // A daemon is not waited for by its destructor; but it is to be gone when this returns, unless this is it.
  if (ended && ended->id() != current_thread().id()) ended->join();
}

}  // namespace tandem::detail
