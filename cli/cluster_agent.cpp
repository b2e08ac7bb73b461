#include "cluster_agent.hpp"

#include <cstdlib>

#include "bad_input.hpp"
#include "number.hpp"

namespace tandem::tool {

std::optional<std::string> url_of_environment() {
  const char* const url = std::getenv("TANDEM_CLUSTER_URL");
  return url != nullptr && *url != '\0' ? std::optional<std::string>(url) : std::nullopt;
}

AgentCommand::AgentCommand(CLI::App& app)
    : command_(app.add_subcommand("agent",
                                  "Becomes PROGRAM as an agent of a cluster: tandem agent [options] -- PROGRAM "
                                  "[argument...]")) {
  connection_.add_options(*command_, "nats://host:port or tls://host:port; or the variable TANDEM_CLUSTER_URL");
  command_->add_option("--node", node_, "its name, which no other agent has (default: from the host's)")
      ->type_name("NAME");
  command_->add_option("--slots", slots_, "tasks at once (default: the cores that it may use)")->type_name("N");
  command_->add_option("--drain", drain_, "what tasks that run at SIGTERM have to end: 500ms, 20s, 5m (default: 20s)")
      ->type_name("TIME");
  command_->add_option("--lease", lease_, "as all of the pool have it (default: 10s)")->type_name("TIME");
  command_->footer(
      "PROGRAM must make a tandem::ClusterExecutor. This process becomes it, so signals reach it: SIGTERM lets what\n"
      "runs end, and a second one gives it back at once.");
}

int AgentCommand::run(Interruption& interruption, const std::vector<std::string>& program) {
  if (program.empty()) throw BadInput("agent: which program? tandem agent [options] -- PROGRAM [argument...]");
  if (!connection_.url) connection_.url = url_of_environment();
  if (!connection_.url) throw BadInput("agent: which server? Say --url, or set TANDEM_CLUSTER_URL");
  if (lease_) connection_.lease_time = parse_duration("--lease", *lease_, kLeastLease, kMostLease);
  connection_.check();
  Environment environment = connection_.environment();
  environment["TANDEM_AGENT"] = *connection_.url;
  if (!node_.empty()) {
    check_name("--node", node_);
    environment["TANDEM_AGENT_NODE"] = node_;
  }
  if (slots_) environment["TANDEM_AGENT_SLOTS"] = std::to_string(parse_number("--slots", *slots_, 1, kMostSlots));
  if (drain_)
    environment["TANDEM_AGENT_DRAIN_MS"] =
        std::to_string(parse_duration("--drain", *drain_, kLeastDrain, kMostDrain).count());
  become(program, environment, interruption);
}

}  // namespace tandem::tool
