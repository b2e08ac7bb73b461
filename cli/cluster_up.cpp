#include "cluster_up.hpp"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <system_error>

#include "bad_input.hpp"
#include "cluster_arrival.hpp"
#include "cluster_secrets.hpp"
#include "cluster_started_keeper.hpp"
#include "exit_code.hpp"
#include "output.hpp"
#include "text.hpp"

namespace tandem::tool {
namespace {

/// Takes the folder, without what a keeper that was killed has left in it. Throws BadInput if somebody has it.
OwnFd take_fresh_folder(const KeeperOrder& order) {
  OwnFd lock = take_folder(order.folder);
  if (!lock)
    throw BadInput(
        fmt::format("the cluster {0} is up already: tandem cluster down --name {0} ends it", order.record.name));
  if (const std::optional<ClusterRecord> before = read_record(order.folder); before) {
    std::error_code ignored;
    if (!before->store.empty()) std::filesystem::remove_all(before->store, ignored);
    std::filesystem::remove(order.folder + "/cluster.json", ignored);
  }
  return lock;
}

/// What a user is told of a cluster that is up.
std::string closing_text(const std::string& name, const Arrival& arrival) {
  const std::size_t agents = arrival.nodes().size();
  std::size_t slots = 0;
  for (const ClusterNode& node : arrival.nodes()) slots += node.slots;
  const bool usual = name == "default";
  const std::string of_name = usual ? "" : " --name " + name;
  return fmt::format(
      "cluster {} is up: {} {}, {} {}, server {}\n"
      "  tandem run --cluster{} -- PROGRAM   runs a program on it\n"
      "  tandem cluster status{}\n  tandem cluster down{}\n",
      name, agents, agents == 1 ? "agent" : "agents", slots, slots == 1 ? "slot" : "slots", arrival.url(),
      usual ? "" : " " + name, of_name, of_name);
}

bool same_build(const std::vector<ClusterNode>& nodes) {
  std::set<std::string> builds;
  for (const ClusterNode& node : nodes) builds.insert(node.build_id);
  return builds.size() <= 1;
}

}  // namespace

ClusterUp::ClusterUp(CLI::App& cluster)
    : command_(cluster.add_subcommand("up",
                                      "Starts a server and an agent of PROGRAM on every host: tandem cluster up "
                                      "--hosts a,b,c [options] -- PROGRAM [argument...]")) {
  options_.add_to(*command_);
}

int ClusterUp::run(Interruption& interruption, const std::vector<std::string>& program) {
  KeeperOrder order = options_.checked_order(program);
  ClusterOptions server = options_.server_options();
  const auto until = std::chrono::steady_clock::now() + options_.patience();
  check_output();
  // A signal waits until there is somebody who takes down what is made here.
  std::unique_lock making = interruption.hold_off();
  OwnFd lock = take_fresh_folder(order);
  std::optional<StartedKeeper> keeper;
  try {
    make_secrets(order, server);
    keeper.emplace(order, lock);
  } catch (...) {
    remove_folder(order.folder, std::nullopt);
    throw;
  }
  lock.reset();
  const std::stop_callback on_stop(interruption.stop_token(), [&] { keeper->end(); });
  making.unlock();
  std::optional<Arrival> arrival;
  try {
    if (order.record.own_server) server = order.record.connection().options();
    arrival.emplace(*keeper, order, server, until);
    arrival->wait();
    // From here on a signal comes too late.
    interruption.hold_off_for_good();
  } catch (const std::exception& error) {
    keeper->end();
    interruption.hold_off_for_good();
    if (arrival)
      for (const std::string& failure : arrival->failures()) print_error("cluster up: " + failure);
    print_error(fmt::format("cluster up: {}", error.what()));
    return kExitFailed;
  }
  if (!same_build(arrival->nodes()))
    print_error(
        fmt::format("cluster up: {} is not the same build on all hosts: a client gets the agents of its own only",
                    printable(program[0])));
  // Before the keeper is let alone: nobody knows of a cluster that could not be told of, so it is taken down.
  print(closing_text(options_.name, *arrival));
  if (!keeper->let_alone()) throw std::runtime_error("cluster up: the keeper of the cluster has ended");
  return kExitGood;
}

}  // namespace tandem::tool
