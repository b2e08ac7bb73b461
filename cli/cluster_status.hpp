/// `tandem cluster status` and `tandem cluster down`.
#pragma once

#include <CLI/App.hpp>
#include <string>

#include "cluster_connection.hpp"
#include "interruption.hpp"

namespace tandem::tool {

class ClusterStatusCommand {
 public:
  explicit ClusterStatusCommand(CLI::App& cluster);
  bool is_chosen() const { return command_->parsed(); }
  int run(Interruption& interruption);

 private:
  CLI::App* command_;
  Connection connection_;
  std::string name_ = "default";
  bool json_ = false;
};

class ClusterDown {
 public:
  explicit ClusterDown(CLI::App& cluster);
  bool is_chosen() const { return command_->parsed(); }
  int run(Interruption& interruption);

 private:
  CLI::App* command_;
  std::string name_ = "default";
  bool now_ = false;
};

}  // namespace tandem::tool
