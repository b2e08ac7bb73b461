#include "cluster/cancelled_tasks.hpp"

#include <cstddef>

namespace tandem::detail {
namespace {

constexpr std::size_t kMostCancelled = 10000;

}  // namespace

void CancelledTasks::remember(const std::string& key) {
  if (!keys_.insert(key).second) return;
  in_order_.push_back(key);
  if (in_order_.size() <= kMostCancelled) return;
  keys_.erase(in_order_.front());
  in_order_.pop_front();
}

}  // namespace tandem::detail
