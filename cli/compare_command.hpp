/// `tandem compare`: runs one of the works in every place and says where it should run.
#pragma once

#include <CLI/App.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "interruption.hpp"
#include "work.hpp"

namespace tandem::tool {

class CompareCommand {
 public:
  /// Adds the command, its options and its works.
  explicit CompareCommand(CLI::App& app);

  /// Whether it was given. The options are not checked before run().
  bool is_chosen() const { return command_->parsed(); }
  /// The exit code. Throws BadInput, OutputFailed, and what compare() throws.
  int run(Interruption& interruption) const;

 private:
  struct Choice {
    CLI::App* app;
    std::unique_ptr<Work> work;
  };
  const Work& chosen_work() const;
  std::string list() const;
  CompareOptions options(Interruption& interruption) const;

  CLI::App* command_;
  std::vector<Choice> choices_;
  std::optional<std::string> workers_;
  std::string runs_ = "5";
  std::optional<std::string> where_;
  std::optional<std::string> cluster_;
  bool json_ = false;
  bool list_ = false;
};

}  // namespace tandem::tool
