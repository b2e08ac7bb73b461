#include "cluster_compare.hpp"

#include <algorithm>
#include <tandem/cluster.hpp>
#include <utility>

#include "cluster_state.hpp"

namespace tandem::tool {
namespace {

// A pool has so many at most.
constexpr std::size_t kMostLocal = 1024;

ClusterExecutor open(const std::optional<std::string>& name_or_url, std::size_t slots) {
  if (!name_or_url) return ClusterExecutor(local_cluster({.agents = 1, .slots = std::min(slots, kMostLocal)}));
  const Connection found = named_cluster(*name_or_url, Connection());
  return ClusterExecutor(*found.url, found.options());
}

}  // namespace

struct ComparedCluster::Inside {
  ClusterExecutor executor;
};

ComparedCluster::ComparedCluster(const std::optional<std::string>& name_or_url, std::size_t slots)
    : inside_(std::make_unique<Inside>(open(name_or_url, slots))) {}
ComparedCluster::~ComparedCluster() = default;

void ComparedCluster::join(CompareOptions& options) {
  options.cluster = inside_->executor;
}

}  // namespace tandem::tool
