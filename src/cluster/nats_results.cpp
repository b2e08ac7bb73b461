#include "cluster/nats_results.hpp"

#include <algorithm>

namespace tandem::detail {

bool NatsResults::has_room_for(std::size_t bytes) const noexcept {
  return results_.empty() || (bytes_ + bytes <= most_bytes_ && results_.size() < most_items_);
}

std::uint64_t NatsResults::add(const NatsResultPtr& result) {
  const std::uint64_t number = next_++;
  result->sent = true;
  results_.emplace(number, result);
  bytes_ += result->result.size();
  return number;
}

NatsResultPtr NatsResults::find(std::uint64_t number) const {
  const auto found = results_.find(number);
  return found != results_.end() ? found->second : nullptr;
}

bool NatsResults::remove(std::uint64_t number) {
  const auto found = results_.find(number);
  if (found == results_.end()) return false;
  bytes_ -= found->second->result.size();
  results_.erase(found);
  return true;
}

void NatsResults::renew(std::chrono::milliseconds rhythm, const std::function<void(const std::string& ack)>& renew) {
  for (auto& [number, result] : results_) {
    if (result->part > 0 || NatsResult::Clock::now() - result->renewed_at < rhythm) continue;
    result->renewed_at = NatsResult::Clock::now();
    renew(result->ack);
  }
}

bool NatsResults::has_unsent() const noexcept {
  return std::any_of(results_.begin(), results_.end(), [](const auto& one) { return !one.second->sent; });
}

std::vector<std::pair<std::uint64_t, NatsResultPtr>> NatsResults::take_due() {
  std::vector<std::pair<std::uint64_t, NatsResultPtr>> due;
  for (auto& [number, result] : results_) {
    if (result->sent || NatsResult::Clock::now() < result->again_at) continue;
    result->sent = true;
    due.emplace_back(number, result);
  }
  return due;
}

std::vector<UnstoredResult> NatsResults::take_all() {
  std::vector<UnstoredResult> all;
  for (const auto& [number, result] : std::exchange(results_, {})) all.push_back({result->head.id, result->result});
  bytes_ = 0;
  return all;
}

}  // namespace tandem::detail
