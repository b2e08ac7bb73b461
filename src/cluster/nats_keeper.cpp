#include "cluster/nats_keeper.hpp"

#include <algorithm>
#include <utility>

#include "core/log.hpp"

namespace tandem::detail {
namespace {

constexpr std::chrono::milliseconds kPauseAfterError{250};

}  // namespace

void NatsKeeper::start(Step step) {
  thread_ = std::thread([this, step = std::move(step)] { run(step); });
}

void NatsKeeper::lost() {
  const MutexGuard guard(mutex_);
  news_.lost = woken_ = true;
  changed_.notify_all();
}

void NatsKeeper::found_again() {
  const MutexGuard guard(mutex_);
  news_.found_again = woken_ = true;
  changed_.notify_all();
}

void NatsKeeper::wake() {
  const MutexGuard guard(mutex_);
  woken_ = true;
  changed_.notify_all();
}

void NatsKeeper::stop() {
  {
    const MutexGuard guard(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

bool NatsKeeper::stopping() const {
  const MutexGuard guard(mutex_);
  return stopping_;
}

void NatsKeeper::run(const Step& step) {
  auto again_at = std::chrono::steady_clock::now();
  for (;;) {
    News news;
    {
      const MutexGuard guard(mutex_);
      while (!stopping_ && !woken_ && std::chrono::steady_clock::now() < again_at)
        changed_.wait_for(mutex_, again_at - std::chrono::steady_clock::now());
      if (stopping_) return;
      news = std::exchange(news_, News{});
      woken_ = false;
    }
    std::chrono::milliseconds pause = kPauseAfterError;
    try {
      pause = step(news);
    } catch (const std::exception& error) {
      log_line(LogLevel::Error, "the engine goes on in a moment: {}", error.what());
    }
    again_at = std::chrono::steady_clock::now() + pause;
  }
}

}  // namespace tandem::detail
