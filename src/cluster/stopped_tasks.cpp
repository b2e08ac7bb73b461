#include "cluster/stopped_tasks.hpp"

namespace tandem::detail {
namespace {

constexpr std::size_t kMost = 10'000;

}  // namespace

void StoppedTasks::add(std::uint64_t carrier, const ClusterTaskId& id) {
  // The one with the least number is the oldest, but for batches: of a store that was lost nobody will hear.
  if (tasks_.size() >= kMost) tasks_.erase(tasks_.begin());
  tasks_.emplace(carrier, id);
}

void StoppedTasks::erase(std::uint64_t carrier, const ClusterTaskId& id) {
  const auto [begin, end] = tasks_.equal_range(carrier);
  for (auto at = begin; at != end; ++at) {
    if (at->second.number != id.number) continue;
    tasks_.erase(at);
    return;
  }
}

void StoppedTasks::append_carried_by(std::uint64_t carrier, std::vector<ClusterTaskId>& tasks) const {
  const auto [begin, end] = tasks_.equal_range(carrier);
  for (auto at = begin; at != end; ++at) tasks.push_back(at->second);
}

}  // namespace tandem::detail
