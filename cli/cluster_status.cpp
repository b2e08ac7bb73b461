#include "cluster_status.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <tandem/cluster_status.hpp>
#include <vector>

#include "bad_input.hpp"
#include "cluster_state.hpp"
#include "exit_code.hpp"
#include "output.hpp"
#include "text.hpp"

namespace tandem::tool {
namespace {

using Json = nlohmann::ordered_json;
using std::chrono::milliseconds;

// Each agent says something once in a second.
constexpr milliseconds kListen{1500};

/// What there is to say. Value.
struct Found {
  std::optional<ClusterRecord> record{};
  std::string url{};
  std::string pool{};
  std::vector<ClusterNode> nodes{};
  ClusterQueues queues{};

  std::size_t slots() const {
    std::size_t sum = 0;
    for (const ClusterNode& node : nodes) sum += node.slots;
    return sum;
  }
  std::size_t running() const {
    std::size_t sum = 0;
    for (const ClusterNode& node : nodes) sum += node.running;
    return sum;
  }
};

Found look(const Connection& connection, std::optional<ClusterRecord> record) {
  Found found;
  found.record = std::move(record);
  found.url = connection.url.value();
  found.pool = connection.pool;
  ClusterWatch watch(found.url, connection.options());
  const auto until = std::chrono::steady_clock::now() + kListen;
  for (auto now = std::chrono::steady_clock::now(); now < until; now = std::chrono::steady_clock::now())
    static_cast<void>(watch.hear(std::chrono::ceil<milliseconds>(until - now)));
  found.nodes = watch.nodes();
  const std::optional<ClusterQueues> queues = watch.queues();
  if (!queues) throw std::runtime_error(fmt::format("the server {} does not say what it holds", found.url));
  found.queues = *queues;
  return found;
}

std::string to_json(const Found& found) {
  Json nodes = Json::array();
  for (const ClusterNode& node : found.nodes)
    nodes.push_back({{"name", node.name},
                     {"host", node.host},
                     {"build", node.build_id},
                     {"slots", node.slots},
                     {"running", node.running},
                     {"leaving", node.leaving},
                     {"silent_s", static_cast<double>(node.silent.count()) / 1000}});
  Json value = {{"url", found.url}, {"pool", found.pool}};
  if (found.record) {
    value["name"] = found.record->name;
    value["launcher"] = found.record->launcher;
    value["hosts"] = found.record->hosts;
    value["agents"] = found.record->nodes;
    value["keeper_pid"] = found.record->pid;
    value["started"] = found.record->started;
  }
  value["slots"] = found.slots();
  value["running"] = found.running();
  value["tasks"] = found.queues.tasks;
  value["results"] = found.queues.results;
  value["nodes"] = std::move(nodes);
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string to_text(const Found& found) {
  std::string text;
  if (found.record)
    text += fmt::format("{:<10}{}: {} of {} agents, by {}, up for {} s\n", "cluster", found.record->name,
                        found.nodes.size(), found.record->nodes, found.record->launcher,
                        std::time(nullptr) - found.record->started);
  text += fmt::format("{:<10}{}, pool {}\n", "server", printable(found.url), found.pool);
  text += fmt::format("{:<10}{} run on {} slots; {} wait or run, {} results are not fetched\n", "tasks",
                      found.running(), found.slots(), found.queues.tasks, found.queues.results);
  std::size_t width = 4;
  for (const ClusterNode& node : found.nodes) width = std::max(width, node.name.size());
  text += fmt::format("\n{:<{}}  {:>5}  {:>7}  {:>6}  {:<8}  {}\n", "node", width, "slots", "running", "silent",
                      "build", "host");
  for (const ClusterNode& node : found.nodes)
    text += fmt::format("{:<{}}  {:>5}  {:>7}  {:>4.1f} s  {:<8}  {}{}\n", node.name, width, node.slots, node.running,
                        static_cast<double>(node.silent.count()) / 1000, node.build_id.substr(0, 8),
                        printable(node.host), node.leaving ? "  (leaves)" : "");
  return text;
}

}  // namespace

ClusterStatusCommand::ClusterStatusCommand(CLI::App& cluster)
    : command_(cluster.add_subcommand("status", "Says which server, agents and tasks there are.")) {
  command_->add_option("--name", name_, "of the cluster (default: default)")->type_name("NAME");
  command_->add_flag("--json", json_, "print one JSON object");
  connection_.add_options(*command_, "asks this server instead of a cluster that was started here");
}

int ClusterStatusCommand::run(Interruption& interruption) {
  std::optional<ClusterRecord> record;
  Connection connection = connection_;
  if (connection.url) {
    connection.check();
  } else {
    record = record_of(name_);
    connection = record->connection();
  }
  const Found found = look(connection, std::move(record));
  interruption.hold_off_for_good();
  print(json_ ? to_json(found) : to_text(found));
  return kExitGood;
}

}  // namespace tandem::tool
