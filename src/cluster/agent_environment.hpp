/// What an agent is told by its environment. The program is started as it always is, with these variables.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "cluster/agent.hpp"
#include "process/agent_hook.hpp"

namespace tandem::detail {

/// Value.
struct AgentEnvironment {
  static constexpr const char* kUrl = kAgentVariable;
  static constexpr const char* kToken = "TANDEM_CLUSTER_TOKEN";
  /// A client's, see cluster_environment(); agents take it away.
  static constexpr const char* kClusterUrl = "TANDEM_CLUSTER_URL";

  std::string url{};
  std::string token{};
  /// Empty: from the name of the host.
  std::string node{};
  /// 0: cpu_count().
  std::size_t slots = 0;
  std::chrono::milliseconds lease_time{10000};
  std::chrono::milliseconds client_silence{60000};

  /// What starts an agent with these, and with nothing else of a cluster.
  std::map<std::string, std::optional<std::string>> variables() const;
};

/// Reads the environment of an agent, and takes it out of there, and out of what /proc shows of it: what its tasks
/// start is none, and knows no secrets. Throws std::invalid_argument.
AgentSettings take_agent_environment();

/// Has tandem::init() know how to be an agent. Always true.
bool know_agent() noexcept;

}  // namespace tandem::detail
