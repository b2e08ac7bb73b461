#include "cluster/nats_leases.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

namespace tandem::detail {

std::string make_ticket(const std::string& ack, std::string_view head) {
  return fmt::format("{} {}", ack, head);
}

std::string ack_of(const TaskLease& lease) {
  return lease.ticket.substr(0, lease.ticket.find(' '));
}

std::optional<NatsHead> head_of(const TaskLease& lease) {
  const std::size_t space = lease.ticket.find(' ');
  return NatsHead::parse(std::string_view(lease.ticket).substr(std::min(space, lease.ticket.size() - 1) + 1));
}

void NatsLeases::drop_ended(Clock::time_point now) {
  std::erase_if(held_, [&](const auto& held) { return now - held.second >= lease_time_; });
}

bool NatsLeases::holds(const std::string& ack) {
  const auto held = held_.find(ack);
  if (held == held_.end()) return false;
  if (Clock::now() - held->second < lease_time_) return true;
  held_.erase(held);
  return false;
}

void NatsLeases::renewed(const std::string& ack, Clock::time_point sent_at) {
  const auto held = held_.find(ack);
  // One that was sent too late was confirmed for another agent's lease of the same task.
  if (held != held_.end() && sent_at > held->second && sent_at - held->second < lease_time_) held->second = sent_at;
}

}  // namespace tandem::detail
