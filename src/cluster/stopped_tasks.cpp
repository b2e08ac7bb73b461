#include "cluster/stopped_tasks.hpp"

#include "cluster/batch_message.hpp"

namespace tandem::detail {
namespace {

constexpr std::size_t kMost = 10'000;

// Tasks and batches are numbered together, but for the mark of a batch: so the least one is the oldest.
std::uint64_t age_of(std::uint64_t carrier) {
  return carrier & ~kBatchNumbers;
}

}  // namespace

void StoppedTasks::add(std::uint64_t carrier, const ClusterTaskId& id) {
  // Of a store that was lost nobody will hear.
  if (tasks_.size() >= kMost) tasks_.erase(tasks_.begin());
  tasks_.emplace(age_of(carrier), id);
}

void StoppedTasks::erase(std::uint64_t carrier, const ClusterTaskId& id) {
  const auto [begin, end] = tasks_.equal_range(age_of(carrier));
  for (auto at = begin; at != end; ++at) {
    if (at->second.number != id.number || at->second.attempt != id.attempt) continue;
    tasks_.erase(at);
    return;
  }
}

void StoppedTasks::append_carried_by(std::uint64_t carrier, std::vector<ClusterTaskId>& tasks) const {
  const auto [begin, end] = tasks_.equal_range(age_of(carrier));
  for (auto at = begin; at != end; ++at) tasks.push_back(at->second);
}

}  // namespace tandem::detail
