/// `tandem agent`: starts a program as an agent.
#pragma once

#include "cluster_commands.hpp"
#include "cluster_connection.hpp"

namespace tandem::tool {

class AgentCommand final : public ProgramCommand {
 public:
  explicit AgentCommand(CLI::App& app);
  bool is_chosen() const override { return command_->parsed(); }
  int run(Interruption& interruption, const std::vector<std::string>& program) override;

 private:
  CLI::App* command_;
  Connection connection_;
  std::string node_;
  std::optional<std::string> slots_;
  std::optional<std::string> drain_;
  std::optional<std::string> lease_;
};

/// The server that the environment names, if it does: TANDEM_CLUSTER_URL.
std::optional<std::string> url_of_environment();

}  // namespace tandem::tool
