/// A connection to a NATS server, and what the C client needs to be used without surprises.
#pragma once

#include <nats/nats.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/engine.hpp"
#include "core/mutex.hpp"

namespace tandem::detail {

struct NatsDeleter {
  void operator()(natsOptions* options) const noexcept { natsOptions_Destroy(options); }
  void operator()(natsMsg* message) const noexcept { natsMsg_Destroy(message); }
  void operator()(jsCtx* context) const noexcept { jsCtx_Destroy(context); }
  void operator()(jsStreamInfo* info) const noexcept { jsStreamInfo_Destroy(info); }
  void operator()(jsConsumerInfo* info) const noexcept { jsConsumerInfo_Destroy(info); }
};
template <class T>
using NatsOwner = std::unique_ptr<T, NatsDeleter>;
using NatsMessage = NatsOwner<natsMsg>;

/// The payload, which lives as long as the message.
std::span<const std::byte> payload_of(const natsMsg* message) noexcept;
/// A header of the message; empty if it has none of that name.
std::string_view header_of(natsMsg* message, const char* name) noexcept;
/// The status that a server answers with instead of a payload, as 404; 0 for a message that is none.
int status_of(natsMsg* message) noexcept;

/// One connection. Owner. It comes back by itself after an outage, for as long as that takes.
///
/// Threads: every member may be called from any thread. The callbacks are called by one of the library's threads.
/// Secrets: the library gets them from the options, never as part of a url, so that no text of it can contain them.
class NatsLink {
 public:
  struct Callbacks {
    std::function<void()> lost{};
    std::function<void()> found_again{};
    /// For good; also when this object ends.
    std::function<void()> closed{};
  };

  /// Waits at most EngineOptions::connect_wait for a server; one that refuses this side, or whose certificate this
  /// side refuses, is not asked twice. Throws EngineError, or std::invalid_argument as check_engine_options() does.
  /// StateError in a process that was forked off one which has made such an object before. `options` has been through
  /// take_servers().
  NatsLink(const EngineOptions& options, const std::vector<EngineServer>& servers, const std::string& name,
           Callbacks callbacks);
  /// Waits until no callback runs. Every NatsSubscription must be gone.
  ~NatsLink();
  NatsLink(const NatsLink&) = delete;
  NatsLink& operator=(const NatsLink&) = delete;

  EngineState state() const;
  /// Waits at most `patience` for being connected.
  bool wait_connected(std::chrono::milliseconds patience) const;
  /// The most bytes that a message may have, without its headers.
  std::size_t max_payload_bytes() const;
  natsConnection* get() const noexcept { return connection_; }
  /// For requests that wait for their answer, at most 2 s.
  jsCtx* requests() const noexcept { return requests_.get(); }
  /// Takes a subscription that has ended, and destroys it when the connection is closed: up to 3.5 the library's
  /// reading thread may be about to look at one that another thread destroys (nats.c#637).
  void bury(natsSubscription* subscription) const;
  /// A subject that nobody else has; the subjects below it are free too.
  std::string make_inbox() const;

  /// Sends a message, if it is not null; false if this side is not connected, so that nothing is sent late. True
  /// promises nothing.
  bool publish(const std::string& subject, std::string_view text) const noexcept;
  bool publish(const std::string& subject, const std::string& reply, std::string_view text) const noexcept;
  bool publish(natsMsg* message) const noexcept;

 private:
  // Lives until the library has called back for the last time.
  struct Watch;

  natsConnection* connection_ = nullptr;
  std::unique_ptr<Watch> watch_;
  NatsOwner<jsCtx> requests_;
  mutable Mutex mutex_;
  mutable std::vector<natsSubscription*> buried_ TANDEM_GUARDED_BY(mutex_);
};

/// A subscription whose messages are given to a function, one at a time. Owner. Its destructor waits until the function
/// has returned; it must not be called by the function. What the function throws is logged, and its message is gone.
class NatsSubscription {
 public:
  using Take = std::function<void(NatsMessage)>;

  /// `unlimited`: keeps whatever comes; otherwise what comes faster than it is taken is dropped beyond 64 MiB. Throws
  /// EngineError.
  NatsSubscription(const NatsLink& link, const std::string& subject, bool unlimited, Take take);
  ~NatsSubscription();
  NatsSubscription(const NatsSubscription&) = delete;
  NatsSubscription& operator=(const NatsSubscription&) = delete;

 private:
  static void on_message(natsConnection* connection, natsSubscription* subscription, natsMsg* message, void* self);
  static void on_complete(void* self);

  const NatsLink& link_;
  const Take take_;
  Mutex mutex_;
  ConditionVariable changed_;
  bool complete_ TANDEM_GUARDED_BY(mutex_) = false;
  natsSubscription* subscription_ = nullptr;
};

}  // namespace tandem::detail
