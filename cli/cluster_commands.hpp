/// `tandem agent`, `tandem run` and `tandem cluster`. In a build without the cluster each says that there is none.
#pragma once

#include <CLI/App.hpp>
#include <memory>
#include <string>
#include <vector>

#include "interruption.hpp"

namespace tandem::tool {

/// A command whose program stands behind "--". Value of the parser.
class ProgramCommand {
 public:
  virtual ~ProgramCommand() = default;
  virtual bool is_chosen() const = 0;
  /// `program`: what stood behind "--". The exit code. Throws BadInput, OutputFailed, and what the cluster throws.
  virtual int run(Interruption& interruption, const std::vector<std::string>& program) = 0;
};

/// Adds the commands.
std::vector<std::unique_ptr<ProgramCommand>> cluster_commands(CLI::App& app);

/// `tandem cluster up` starts the tool once more with this as its only argument: it keeps what was started.
inline constexpr const char kKeeperWord[] = "cluster-keeper";
/// What it then is. The exit code.
int run_cluster_keeper();

}  // namespace tandem::tool
