/// `tandem run`: starts a program that uses a cluster.
#pragma once

#include "cluster_commands.hpp"
#include "cluster_connection.hpp"

namespace tandem::tool {

class RunCommand final : public ProgramCommand {
 public:
  explicit RunCommand(CLI::App& app);
  bool is_chosen() const override { return command_->parsed(); }
  int run(Interruption& interruption, const std::vector<std::string>& program) override;

 private:
  CLI::App* command_;
  std::string cluster_;
  Connection connection_;
};

}  // namespace tandem::tool
