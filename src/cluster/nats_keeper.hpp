/// The one thread of an engine object: what has to be done again, or at its time.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "core/mutex.hpp"

namespace tandem::detail {

/// Calls a function in a thread of its own when something has happened, or when the time is over that it named last.
/// Owner.
///
/// It is made before the connection whose callbacks report to it, and so outlives them; the thread runs from start() to
/// stop().
class NatsKeeper {
 public:
  /// What has happened since it was called last.
  struct News {
    bool lost = false;
    bool found_again = false;
  };
  /// Returns after what time it is to be called again at the latest. If it throws std::exception, as for want of
  /// memory, it is called again after a moment.
  using Step = std::function<std::chrono::milliseconds(const News&)>;

  NatsKeeper() = default;
  ~NatsKeeper() { stop(); }
  NatsKeeper(const NatsKeeper&) = delete;
  NatsKeeper& operator=(const NatsKeeper&) = delete;

  void start(Step step);
  void lost() TANDEM_EXCLUDES(mutex_);
  void found_again() TANDEM_EXCLUDES(mutex_);
  void wake() TANDEM_EXCLUDES(mutex_);
  /// Waits until the function has returned.
  void stop() TANDEM_EXCLUDES(mutex_);
  bool stopping() const TANDEM_EXCLUDES(mutex_);

 private:
  void run(const Step& step) TANDEM_EXCLUDES(mutex_);

  mutable Mutex mutex_;
  ConditionVariable changed_;
  News news_ TANDEM_GUARDED_BY(mutex_);
  bool woken_ TANDEM_GUARDED_BY(mutex_) = false;
  bool stopping_ TANDEM_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tandem::detail
