#include "cluster_run.hpp"

#include <fmt/format.h>

#include "bad_input.hpp"
#include "cluster_agent.hpp"
#include "cluster_state.hpp"
#include "cluster_status.hpp"
#include "cluster_up.hpp"

namespace tandem::tool {
namespace {

class ClusterCommand final : public ProgramCommand {
 public:
  explicit ClusterCommand(CLI::App& app)
      : command_(app.add_subcommand("cluster", "Starts a server and agents on hosts, looks at them, ends them.")),
        up_(*command_),
        status_(*command_),
        down_(*command_) {
    command_->require_subcommand(0, 1);
  }
  bool is_chosen() const override { return command_->parsed(); }
  int run(Interruption& interruption, const std::vector<std::string>& program) override {
    if (up_.is_chosen()) return up_.run(interruption, program);
    if (!program.empty()) throw BadInput("cluster: only cluster up has a program behind --");
    if (status_.is_chosen()) return status_.run(interruption);
    if (down_.is_chosen()) return down_.run(interruption);
    throw BadInput("cluster: up, status or down? See tandem cluster --help");
  }

 private:
  CLI::App* command_;
  ClusterUp up_;
  ClusterStatusCommand status_;
  ClusterDown down_;
};

}  // namespace

RunCommand::RunCommand(CLI::App& app)
    : command_(app.add_subcommand("run",
                                  "Becomes PROGRAM, whose tandem::ClusterExecutor finds its cluster: tandem run "
                                  "[--cluster [NAME or URL]] -- PROGRAM [argument...]")) {
  command_
      ->add_option("--cluster", cluster_,
                   "a cluster that is up here, by its name, or the url of a server; without it "
                   "the program has a local cluster of its own")
      ->type_name("[NAME|URL]")
      ->expected(0, 1)
      ->default_str("default");
  connection_.add_options(*command_, "the same as --cluster URL");
  command_->footer("It is for programs that make a tandem::ClusterExecutor without a url.");
}

int RunCommand::run(Interruption& interruption, const std::vector<std::string>& program) {
  if (program.empty())
    throw BadInput("run: which program? tandem run [--cluster [NAME or URL]] -- PROGRAM [argument...]");
  const bool chosen = command_->count("--cluster") > 0;
  if (chosen && connection_.url) throw BadInput("run: --cluster or --url, not both");
  Environment environment = connection_.environment();
  if (chosen || connection_.url) {
    const Connection found = named_cluster(connection_.url    ? *connection_.url
                                           : cluster_.empty() ? "default"
                                                              : cluster_,
                                           connection_);
    environment = found.environment();
    environment["TANDEM_CLUSTER_URL"] = *found.url;
  }
  become(program, environment, interruption);
}

std::vector<std::unique_ptr<ProgramCommand>> cluster_commands(CLI::App& app) {
  std::vector<std::unique_ptr<ProgramCommand>> commands;
  commands.push_back(std::make_unique<RunCommand>(app));
  commands.push_back(std::make_unique<AgentCommand>(app));
  commands.push_back(std::make_unique<ClusterCommand>(app));
  return commands;
}

}  // namespace tandem::tool
