/// The leases that an agent has, and what their tickets say.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "cluster/engine.hpp"
#include "cluster/nats_message.hpp"

namespace tandem::detail {

/// A ticket is where the lease is kept, and the head of the task, which says what pieces there are.
std::string make_ticket(const std::string& ack, std::string_view head);
std::string ack_of(const TaskLease& lease);
std::optional<NatsHead> head_of(const TaskLease& lease);

/// Leases by where they are kept, and when the last renewal was sent that the server has confirmed. One that is not
/// here is lost, or over. Threads: one at a time.
class NatsLeases {
 public:
  using Clock = std::chrono::steady_clock;

  explicit NatsLeases(std::chrono::milliseconds lease_time) noexcept : lease_time_(lease_time) {}

  void add(const std::string& ack, Clock::time_point now) { held_[ack] = now; }
  void drop(const std::string& ack) { held_.erase(ack); }
  /// Drops those whose owner does not ask any more.
  void drop_ended(Clock::time_point now);
  /// Whether it is held still.
  bool holds(const std::string& ack);
  /// The server has confirmed the renewal that was sent then.
  void renewed(const std::string& ack, Clock::time_point sent_at);

 private:
  const std::chrono::milliseconds lease_time_;
  std::map<std::string, Clock::time_point> held_;
};

}  // namespace tandem::detail
