#include "cluster/nats_queue_maker.hpp"

#include <utility>

#include "cluster/engine.hpp"
#include "core/log.hpp"

namespace tandem::detail {
namespace {

// Not sooner after one another: during an election a server refuses at once.
constexpr std::chrono::milliseconds kPause{250};
// Until it is woken.
constexpr std::chrono::hours kIdle{1};

}  // namespace

NatsQueueMaker::NatsQueueMaker(const NatsLink& link, std::function<void()> ensure, std::function<void()> made)
    : link_(link), ensure_(std::move(ensure)), made_(std::move(made)) {}

void NatsQueueMaker::start() {
  keeper_.start([this](const NatsKeeper::News&) { return make(); });
}

void NatsQueueMaker::miss() {
  ++missed_count_;
  keeper_.wake();
}

// If they are missing. Says when to look again.
std::chrono::milliseconds NatsQueueMaker::make() {
  const std::uint64_t missed = missed_count_;
  if (made_count_ == missed || link_.state() != EngineState::Connected) return kIdle;
  try {
    ensure_();
  } catch (const EngineError& error) {
    log_line(LogLevel::Info, "{}", error.what());
    return kPause;
  }
  made_count_ = missed;
  made_();
  return missed_count_ == missed ? kIdle : kPause;
}

}  // namespace tandem::detail
