/// Asks a consumer of JetStream for messages.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "cluster/nats_link.hpp"
#include "core/mutex.hpp"

namespace tandem::detail {

/// One request at a time, by the protocol of the server itself: natsSubscription_Fetch() of the library 3.4 waits in a
/// way that nothing can end, and cannot be used again once the server or the stream was gone for a moment.
///
/// Threads: every member may be called from any thread. The callbacks are called by one thread of the library, without
/// a lock held.
class NatsPull {
 public:
  enum class Stage {
    Idle,
    Probing,   // Asked for what is there.
    Standing,  // Waits at the server for what will come.
    Paused,    // Refused: idle in a moment.
    Overdue,   // No answer, which is how a server answers if there is no such consumer.
  };
  struct Callbacks {
    /// A message of the consumer; also one that came too late for its request.
    std::function<void(NatsMessage)> on_message;
    /// The request has ended. `gone`: because the consumer was deleted; otherwise all that it asked for has come, or as
    /// much as there was in the time, or it was refused, and then the stage is Paused.
    std::function<void(bool gone)> on_end;
  };

  NatsPull(const NatsLink& link, std::string stream, Callbacks callbacks);

  /// Says which consumer of the stream is meant from now on; until it is said, no request is sent. Idle, if it is
  /// another one than before.
  void aim(const std::string& consumer) TANDEM_EXCLUDES(mutex_);
  std::string consumer() const TANDEM_EXCLUDES(mutex_);
  /// Asks for at most `messages` that are there now; the request ends by itself. One request brings at most 16 MiB:
  /// that bounds the memory here, and a server cuts off who has more than 64 MiB to fetch.
  bool probe(std::size_t messages);
  /// The same for what comes within `expires`.
  bool stand(std::size_t messages, std::chrono::milliseconds expires);
  Stage stage() const TANDEM_EXCLUDES(mutex_);
  /// Idle again: the connection was lost, and every request with it.
  void forget() TANDEM_EXCLUDES(mutex_);

 private:
  bool request(Stage stage, std::size_t messages, std::chrono::milliseconds expires, const std::string& text)
      TANDEM_EXCLUDES(mutex_);
  void take(NatsMessage message) TANDEM_EXCLUDES(mutex_);
  void set_taking(bool taking) TANDEM_EXCLUDES(mutex_);
  bool ends_request(int status, std::string_view subject, bool refused) TANDEM_EXCLUDES(mutex_);

  const NatsLink& link_;
  const std::string stream_;
  const std::string inbox_;
  const Callbacks callbacks_;
  mutable Mutex mutex_;
  std::string consumer_ TANDEM_GUARDED_BY(mutex_){};
  Stage stage_ TANDEM_GUARDED_BY(mutex_) = Stage::Idle;
  std::uint64_t number_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::size_t left_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::chrono::steady_clock::time_point idle_at_ TANDEM_GUARDED_BY(mutex_){};  // While it is paused.
  std::chrono::steady_clock::time_point overdue_at_ TANDEM_GUARDED_BY(mutex_){};
  bool taking_ TANDEM_GUARDED_BY(mutex_) = false;  // A callback has a message now.
  NatsSubscription answers_;                       // Last: it ends before what its callback uses.
};

}  // namespace tandem::detail
