#include <tandem/cluster.hpp>
#include <tandem/cluster_status.hpp>

#include <algorithm>
#include <chrono>
#include <limits>
#include <stdexcept>
#include <utility>

#include "cluster/agent_environment.hpp"
#include "cluster/cluster_place.hpp"
#include "wire/modules.hpp"

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;

// Nodes announce themselves once in a second.
constexpr milliseconds kHear{1500};
// Those of a local cluster have just been started.
constexpr milliseconds kHearLocal{10000};

// Of any executor.
constexpr std::size_t kMostWorkers = 65536;

// Here because every program that makes a ClusterExecutor has this file: so it can be started as an agent.
[[maybe_unused]] const bool agent_is_known = know_agent();

// All that is refused whatever the cluster is: before one is started, or a server has heard of this program.
void check_options(const ClusterOptions& options) {
  if (options.most_deliveries == 0) throw std::invalid_argument("a task must be handed to an agent at least once");
  const ExecutorOptions& executor = options.executor;
  ExecutorCore::check(executor);
  check_limits(executor.task);
  if (executor.gil) throw std::invalid_argument("machines share no Gil: the option is for a ThreadExecutor");
  if (executor.start_method || executor.tasks_per_child || executor.worker_memory_bytes)
    throw std::invalid_argument(
        "how worker processes are started and replaced is up to the agents of a cluster, not to an executor");
}

std::shared_ptr<ExecutorCore> make(ClusterOptions options, EngineOptions engine,
                                   std::shared_ptr<LocalClusterKeeper> local, SharedObjectPtr initializer) {
  check_options(options);
  engine.pool = options.pool;
  engine.build_id = to_text(program_module().build_id);
  engine.connect_wait = options.connect_wait;
  if (local == nullptr) engine.replicas = options.replicas;
  const std::size_t agents = local != nullptr ? local->agents() : std::numeric_limits<std::size_t>::max();
  const milliseconds patience = local != nullptr ? kHearLocal : kHear;
  auto place = std::make_unique<ClusterPlace>(ClusterPlace::Options{
      std::move(engine), options.most_deliveries, options.executor.workers, std::move(local), std::move(initializer)});
  if (!options.executor.workers) options.executor.workers = std::min(kMostWorkers, place->hear_slots(agents, patience));
  return ExecutorCore::make(std::move(options.executor), std::move(place));
}

}  // namespace

std::shared_ptr<ExecutorCore> make_cluster_executor(const std::string& url, ClusterOptions options,
                                                    SharedObjectPtr initializer) {
  EngineOptions engine = engine_options(url, options);
  return make(std::move(options), std::move(engine), nullptr, std::move(initializer));
}

std::shared_ptr<ExecutorCore> make_cluster_executor(ClusterOptions options) {
  if (std::optional<ClusterEnvironment> named = cluster_environment(options))
    return make_cluster_executor(named->url, std::move(named->options), nullptr);
  check_options(options);
  return make_cluster_executor(local_cluster(1), std::move(options), nullptr);
}

std::shared_ptr<ExecutorCore> make_cluster_executor(const LocalCluster& cluster, ClusterOptions options,
                                                    SharedObjectPtr initializer) {
  EngineOptions engine;
  engine.url = cluster.url();
  engine.token = cluster.keeper()->token();
  engine.lease_time = cluster.keeper()->lease_time();
  engine.client_silence = cluster.keeper()->client_silence();
  options.pool = engine.pool;  // That of its agents.
  return make(std::move(options), std::move(engine), cluster.keeper(), std::move(initializer));
}

}  // namespace tandem::detail
