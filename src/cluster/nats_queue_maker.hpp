/// Makes the queues of a pool again when somebody has missed them.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>

#include "cluster/nats_keeper.hpp"
#include "cluster/nats_link.hpp"

namespace tandem::detail {

/// A thread of its own: a server that does not answer is waited for, and nothing else is to wait with it, as leases
/// that have to be renewed. Owner.
///
/// It is made before the connection whose callbacks may miss queues, and used once that is there; the thread runs from
/// start() to stop().
///
/// Threads: miss() and missing() may be called from any thread.
class NatsQueueMaker {
 public:
  /// `ensure` makes what is missing, or throws EngineError: then it is tried again after a moment. `made` is called
  /// when it has returned.
  NatsQueueMaker(const NatsLink& link, std::function<void()> ensure, std::function<void()> made);

  void start();
  /// Waits until the functions have returned.
  void stop() { keeper_.stop(); }
  void miss();
  /// Whether they were missed and have not been made since.
  bool missing() const { return made_count_ != missed_count_; }

 private:
  std::chrono::milliseconds make();

  const NatsLink& link_;
  const std::function<void()> ensure_;
  const std::function<void()> made_;
  // How often they were missed, and up to which of these times they have been made since.
  std::atomic<std::uint64_t> missed_count_{0};
  std::atomic<std::uint64_t> made_count_{0};
  NatsKeeper keeper_;
};

}  // namespace tandem::detail
