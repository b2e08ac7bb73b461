/// Agents of ClusterExecutors that are started as a user starts them: this program again, with their environment.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cluster/agent_environment.hpp"
#include "cluster/bound_program.hpp"

namespace tandem::testing {

/// Starts an agent; `more`: variables of its environment besides. `output_fd`: as that of BoundProgram. `network`: the
/// network namespace that it runs in; empty: that of the test.
detail::BoundProgram start_agent(const detail::AgentEnvironment& environment,
                                 const std::map<std::string, std::string>& more = {}, int output_fd = -1,
                                 const std::string& network = {});

/// A task that takes a moment.
inline int nap_and_double(int value) {
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return 2 * value;
}

/// So many agents of `slots` slots each, "node-0" and so on. Owner: kills them.
class ExecutedAgents {
 public:
  ExecutedAgents(std::size_t count, std::size_t slots, const std::string& url, const std::string& token,
                 const std::map<std::string, std::string>& more = {});

  std::size_t size() const { return agents_.size(); }
  detail::BoundProgram& agent(std::size_t at) { return agents_.at(at); }

 private:
  std::vector<detail::BoundProgram> agents_;
};

}  // namespace tandem::testing
