/// The engine of NATS JetStream behind the seam. docs/internals/cluster.md says how they fit.
#pragma once

#include <memory>
#include <string>

#include "cluster/engine.hpp"

namespace tandem::detail {

/// Connects, and makes the queues of the pool. `client` is a name that no other client has, and never had: a random
/// one. Throws std::invalid_argument, or EngineError within about EngineOptions::connect_wait.
std::unique_ptr<EngineClient> connect_nats_client(EngineOptions options, const std::string& client,
                                                  EngineClientEvents& events);

/// The same for an agent. `node` is a name that no other agent has now; one that comes back may have the one it had.
std::unique_ptr<EngineAgent> connect_nats_agent(EngineOptions options, const std::string& node,
                                                EngineAgentEvents& events);

/// For who only looks: makes no queues. `options` need no build_id. Throws as the others do.
std::unique_ptr<EngineObserver> connect_nats_observer(EngineOptions options);

}  // namespace tandem::detail
