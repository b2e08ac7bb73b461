#include "executor/task_clock.hpp"

#include <compare>
#include <map>
#include <optional>
#include <utility>

#include <tandem/thread.hpp>

#include "core/mutex.hpp"
#include "executor/executor_core.hpp"

namespace tandem::detail {
namespace {

using Time = std::chrono::steady_clock::time_point;

/// When which attempt of a task has had its time. By pointers, so that a task finds its own.
struct Watched {
  Time at;
  Task* task;
  unsigned attempt;
  friend auto operator<=>(const Watched&, const Watched&) = default;
};

}  // namespace

struct TaskClock::Inside {
  Mutex mutex;
  ConditionVariable changed;
  std::map<Watched, StatePtr<FutureState>> watched TANDEM_GUARDED_BY(mutex);
  bool stopped TANDEM_GUARDED_BY(mutex) = false;
  std::optional<Thread> thread TANDEM_GUARDED_BY(mutex);

  /// Waits for the next attempt whose time is over, and takes it out; empty once stopped.
  std::pair<Watched, StatePtr<FutureState>> next() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock lock(mutex);
    while (!stopped) {
      if (watched.empty()) {
        changed.wait(lock);
      } else if (const Time at = watched.begin()->first.at; at <= std::chrono::steady_clock::now()) {
        auto node = watched.extract(watched.begin());
        return {node.key(), std::move(node.mapped())};
      } else {
        changed.wait_until(lock, at);
      }
    }
    return {};
  }
  void run(const std::weak_ptr<ExecutorCore>& weak_core) {
    for (auto over = next(); over.second; over = next()) {
      const auto& [watched_task, state] = over;
      // It is settled by its place, unless it has just ended: then it is forgotten, or has begun another attempt.
      if (!state->running() || watched_task.task->attempts() != watched_task.attempt) continue;
      if (const std::shared_ptr<ExecutorCore> core = weak_core.lock())
        core->stop(*watched_task.task, Place::Why::Deadline);
    }
  }
};

TaskClock::TaskClock() : inside_(std::make_shared<Inside>()) {}

void TaskClock::start(ExecutorCore& core) {
  MutexGuard guard(inside_->mutex);
  if (inside_->stopped || inside_->thread) return;
  inside_->thread.emplace(ThreadOptions{.name = core.name() + "-clock", .daemon = true},
                          [inside = inside_, weak = core.weak_from_this()] { inside->run(weak); });
  try {
    inside_->thread->start();
  } catch (...) {
    inside_->thread.reset();
    throw;
  }
}

void TaskClock::watch(Task& task, std::chrono::nanoseconds time) {
  const Time now = std::chrono::steady_clock::now();
  if (time >= Time::max() - now) return;  // For ever.
  MutexGuard guard(inside_->mutex);
  if (inside_->stopped) return;
  task.deadline_at_ = now + time;
  inside_->watched.emplace(Watched{task.deadline_at_, &task, task.attempts()}, StatePtr<FutureState>(&task.state()));
  if (inside_->watched.begin()->first.task == &task) inside_->changed.notify_one();
}

void TaskClock::forget(Task& task) noexcept {
  StatePtr<FutureState> dropped;  // Outside the mutex, though the caller has another.
  MutexGuard guard(inside_->mutex);
  const auto found = inside_->watched.find(Watched{task.deadline_at_, &task, task.attempts()});
  if (found == inside_->watched.end()) return;
  dropped = std::move(found->second);
  inside_->watched.erase(found);
}

void TaskClock::stop() noexcept {
  std::optional<Thread> ended;
  std::map<Watched, StatePtr<FutureState>> dropped;  // Outside the mutex: results may do anything when they go.
  {
    MutexGuard guard(inside_->mutex);
    inside_->stopped = true;
    inside_->changed.notify_one();
    ended.swap(inside_->thread);
    dropped.swap(inside_->watched);
  }
  // A daemon is not waited for by its destructor; but it is to be gone when this returns, unless this is it.
  if (ended && ended->id() != current_thread().id()) ended->join();
}

}  // namespace tandem::detail
