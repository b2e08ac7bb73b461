#include "cluster/executed_agents.hpp"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <utility>

#include "cluster/network_hosts.hpp"
#include "process/executed_child.hpp"

namespace tandem::testing {

detail::BoundProgram start_agent(const detail::AgentEnvironment& environment,
                                 const std::map<std::string, std::string>& more, int output_fd,
                                 const std::string& network) {
  std::map<std::string, std::optional<std::string>> variables = environment.variables();
  for (const auto& [name, value] : more) variables[name] = value;
  std::vector<std::string> words = detail::own_command_line();
  if (network.empty()) return {"/proc/self/exe", std::move(words), detail::environment_with(variables), output_fd};
  // It becomes the agent: the same process.
  words[0] = std::filesystem::read_symlink("/proc/self/exe");
  words.insert(words.begin(), {"ip", "netns", "exec", network});
  return {find_ip(), std::move(words), detail::environment_with(variables), output_fd};
}

ExecutedAgents::ExecutedAgents(std::size_t count, std::size_t slots, const std::string& url, const std::string& token,
                               const std::map<std::string, std::string>& more) {
  for (std::size_t at = 0; at < count; ++at) {
    detail::AgentEnvironment environment;
    environment.url = url;
    environment.token = token;
    environment.node = fmt::format("node-{}", at);
    environment.slots = slots;
    environment.lease_time = std::chrono::seconds(1);
    agents_.push_back(start_agent(environment, more));
  }
}

}  // namespace tandem::testing
