#include <tandem/cluster_status.hpp>

#include <algorithm>
#include <utility>

#include <tandem/error.hpp>

#include "cluster/agent_environment.hpp"
#include "cluster/engine_options.hpp"
#include "cluster/nats_engine.hpp"

namespace tandem {

ClusterWatch::ClusterWatch(const std::string& url, const ClusterOptions& options)
    : observer_(detail::connect_nats_observer(detail::engine_options(url, options))) {}
ClusterWatch::~ClusterWatch() = default;
ClusterWatch::ClusterWatch(ClusterWatch&&) noexcept = default;
ClusterWatch& ClusterWatch::operator=(ClusterWatch&&) noexcept = default;

detail::EngineObserver& ClusterWatch::observer() const {
  if (observer_ == nullptr) throw StateError("this ClusterWatch was moved from");
  return *observer_;
}

std::vector<ClusterNode> ClusterWatch::nodes() const {
  std::vector<ClusterNode> nodes;
  const auto now = std::chrono::steady_clock::now();
  for (const detail::SeenNode& seen : observer().nodes()) {
    const detail::NodeInfo& info = seen.info;
    nodes.push_back({info.node, info.host, info.build_id, info.slots, info.running.size(), info.leaving,
                     std::chrono::duration_cast<std::chrono::milliseconds>(now - seen.heard_at)});
  }
  return nodes;
}

bool ClusterWatch::hear(std::chrono::milliseconds patience) {
  return observer().hear(patience);
}

std::optional<ClusterQueues> ClusterWatch::queues() {
  const std::optional<detail::PoolCount> count = observer().count();
  if (!count) return std::nullopt;
  return ClusterQueues{count->tasks, count->results};
}

std::string checked_cluster_url(const std::string& url, const ClusterOptions& options) {
  detail::EngineOptions engine = detail::engine_options(url, options);
  engine.build_id = "checked";
  const std::vector<detail::EngineServer> servers = detail::take_servers(engine);
  detail::check_engine_options(engine, servers);
  return engine.url;
}

}  // namespace tandem
