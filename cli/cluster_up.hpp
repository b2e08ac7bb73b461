/// `tandem cluster up`.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "cluster_up_options.hpp"
#include "interruption.hpp"

namespace tandem::tool {

class ClusterUp {
 public:
  explicit ClusterUp(CLI::App& cluster);
  bool is_chosen() const { return command_->parsed(); }
  int run(Interruption& interruption, const std::vector<std::string>& program);

 private:
  CLI::App* command_;
  ClusterUpOptions options_;
};

}  // namespace tandem::tool
