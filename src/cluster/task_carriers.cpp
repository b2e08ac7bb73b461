#include "cluster/task_carriers.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

namespace tandem::detail {
namespace {

// What takes no longer is followed by the next one at once.
constexpr double kShortNanoseconds = 5e6;
constexpr std::size_t kSmallBytes = std::size_t{64} << 10;

}  // namespace

std::string key_of(const ClusterTaskId& id) {
  return fmt::format("{}.{}.{}", id.client, id.number, id.attempt);
}

CarrierPtr TaskCarriers::find(const std::string& key) const {
  const auto found = running_.find(key);
  return found != running_.end() ? found->second : nullptr;
}

CarrierPtr TaskCarriers::drop(const std::string& key) {
  const auto found = running_.find(key);
  if (found == running_.end()) return nullptr;
  CarrierPtr carrier = std::move(found->second);
  running_.erase(found);
  return carrier;
}

TaskCarriers::Next TaskCarriers::note_outcome(const CarrierPtr& carrier, const ClusterTaskId& id, TaskOutcome outcome) {
  const Carrier::Clock::time_point now = Carrier::Clock::now();
  const std::size_t ended = carrier->outcomes.size() + 1;
  // Of a batch each has taken its share of the time, as far as one knows: who waited has not run.
  const auto beside = static_cast<std::int64_t>(std::min(slots_, carrier->tasks));
  outcome.took_ns = std::chrono::nanoseconds(now - carrier->since).count() * beside / static_cast<std::int64_t>(ended);
  carrier->outcomes.push_back({id.number, id.attempt, encode_outcome(outcome)});
  carrier->ended_at = now;
  if (ended < carrier->tasks) return Next::Run;
  const auto took = static_cast<double>(std::chrono::nanoseconds(now - carrier->since).count());
  nanoseconds_ += (took - nanoseconds_) * (took > nanoseconds_ ? 0.5 : 0.125);
  // It may have been dropped, and come again.
  const auto found = running_.find(key_of(carrier->lease.id));
  if (found != running_.end() && found->second == carrier) running_.erase(found);
  if (!ended_.empty() || handing_over_ != nullptr || carrier->outcomes.front().bytes.size() > kSmallBytes ||
      is_batch(carrier->lease.id)) {
    ended_.push_back(carrier);
    return Next::HandOver;
  }
  handing_over_ = carrier;
  return Next::HandOverHere;
}

CarrierPtr TaskCarriers::hand_over() {
  handing_over_ = std::move(ended_.front());
  ended_.pop_front();
  return handing_over_;
}

bool TaskCarriers::has_batches() const {
  return std::any_of(running_.begin(), running_.end(), [](const auto& one) { return one.second->tasks > 1; });
}

bool TaskCarriers::may_be_one_more() const {
  // If what runs is soon over, and none is here that an agent has died with: one behind it would be handed out once
  // more for nothing.
  const Carrier::Clock::time_point now = Carrier::Clock::now();
  const bool all_short = std::all_of(running_.begin(), running_.end(), [&](const auto& one) {
    const auto age = static_cast<double>(std::chrono::nanoseconds(now - one.second->since).count());
    return age < kShortNanoseconds && one.second->lease.deliveries == 1 && one.second->lease.id.attempt == 1;
  });
  return nanoseconds_ > 0 && nanoseconds_ < kShortNanoseconds && all_short && running_.size() + ended_.size() <= slots_;
}

std::vector<TaskLease> TaskCarriers::leases() const {
  std::vector<TaskLease> leases;
  for (const auto& [key, carrier] : running_) leases.push_back(carrier->lease);
  for (const CarrierPtr& one : ended_) leases.push_back(one->lease);
  if (handing_over_ != nullptr) leases.push_back(handing_over_->lease);
  return leases;
}

std::vector<ClusterTaskId> TaskCarriers::ids() const {
  std::vector<ClusterTaskId> ids;
  for (const auto& [key, carrier] : running_) ids.push_back(carrier->lease.id);
  for (const CarrierPtr& one : ended_) ids.push_back(one->lease.id);
  return ids;
}

std::vector<TaskCarriers::Part> TaskCarriers::take_parts(Carrier::Clock::time_point late) {
  std::vector<Part> parts;
  for (const auto& [key, carrier] : running_) {
    if (carrier->told == carrier->outcomes.size() || carrier->ended_at > late) continue;
    Part part{carrier->lease, {}, ++carrier->parts};
    for (; carrier->told < carrier->outcomes.size(); ++carrier->told)
      add_to_batch(part.bytes, carrier->outcomes[carrier->told]);
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace tandem::detail
