#include "cluster_up_options.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <system_error>

#include "bad_input.hpp"
#include "cluster_address.hpp"
#include "number.hpp"
#include "text.hpp"

namespace tandem::tool {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMostHosts = 4096;
constexpr milliseconds kUsualLease{10'000}, kUsualDrain{20'000};

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

void order_hosts(const ClusterUpOptions& options, LauncherKind launcher, KeeperOrder& order) {
  std::vector<std::string>& hosts = order.record.hosts;
  hosts = split(options.hosts, ',');
  if (!options.hosts.empty() && options.hosts.back() == ',') hosts.emplace_back();
  for (const std::string& host : hosts) check_host(host);
  if (hosts.size() > kMostHosts)
    throw BadInput(fmt::format("--hosts: {} hosts; the most are {}", hosts.size(), kMostHosts));
  if (options.agents && launcher != LauncherKind::Local)
    throw BadInput("--agents: only with --launcher local: there is one agent on each host");
  order.record.nodes = hosts.size();
  if (launcher == LauncherKind::Local) {
    if (!hosts.empty()) throw BadInput("--hosts: not with --launcher local, whose agents are on this machine");
    order.record.nodes = options.agents ? parse_number("--agents", *options.agents, 1, 1024) : 1;
  } else if (launcher == LauncherKind::Srun) {
    if (std::getenv("SLURM_JOB_ID") == nullptr)
      throw BadInput("--launcher srun: only inside of an allocation of Slurm (salloc or sbatch)");
    const char* const nodes = std::getenv("SLURM_JOB_NUM_NODES");
    if (hosts.empty())
      order.record.nodes = parse_number("SLURM_JOB_NUM_NODES", nodes != nullptr ? nodes : "", 1, kMostHosts);
  } else if (hosts.empty()) {
    throw BadInput("cluster up: which hosts? Say --hosts a,b,c");
  }
}

void order_server(const ClusterUpOptions& options, LauncherKind launcher, KeeperOrder& order) {
  KeeperOrder::Server& server = order.server;
  order.record.own_server = !options.connection.url;
  if (options.connection.url) {
    if (options.tls || options.mutual || !options.bind.empty() || options.port != "0" || !options.store.empty())
      throw BadInput(
          "--tls, --mutual-tls, --bind, --port and --store are about a server that is started; --url names one that is "
          "there");
    options.connection.check();
    order.record.url = *options.connection.url;
    return;
  }
  if (!options.connection.token_file.empty())
    throw BadInput("--token-file: only with --url: the token of a server that is started is made at random");
  const bool given = !options.connection.certificate_file.empty();
  if (given != !options.connection.ca_file.empty())
    throw BadInput("the certificates of the server are given by --tls-ca, --tls-cert and --tls-key together, or made");
  if (given && options.mutual)
    throw BadInput("--mutual-tls: certificates for the agents are made with those of the server, which were given");
  server.program = find_program("nats-server", {"/usr/sbin", "/usr/local/sbin"});
  server.port = static_cast<std::uint16_t>(parse_number("--port", options.port, 0, 65535));
  if (!options.bind.empty()) {
    if (!is_address(options.bind))
      throw BadInput(
          fmt::format("--bind {}: must be an address of this machine, such as 10.0.0.1", printable(options.bind)));
    server.address = options.bind;
  } else {
    server.address = launcher == LauncherKind::Local ? "127.0.0.1" : reachable_address(order.record.hosts);
  }
  const bool exposed = !is_loopback(server.address);
  server.mutual = options.mutual;
  server.tls = options.tls || options.mutual || given || (exposed && !options.connection.allow_unprotected_server);
  const char* const temporary = std::getenv("TMPDIR");
  server.store_parent = !options.store.empty()                       ? options.store
                        : temporary != nullptr && *temporary != '\0' ? temporary
                                                                     : "/tmp";
  server.store_parent = std::filesystem::absolute(server.store_parent).string();
  if (::access(server.store_parent.c_str(), W_OK | X_OK) != 0)
    throw BadInput(
        fmt::format("--store {}: {}", printable(server.store_parent), std::generic_category().message(errno)));
}

}  // namespace

void ClusterUpOptions::add_to(CLI::App& app) {
  app.add_option("--hosts", hosts, "where agents run, with commas between")->type_name("HOST,...");
  app.add_option("--launcher", launcher, "how agents are started: ssh, srun, mpirun or local (default: ssh)")
      ->type_name("NAME");
  app.add_option("--name", name, "of the cluster, for the other commands (default: default)")->type_name("NAME");
  app.add_option("--agents", agents, "with --launcher local: how many (default: 1)")->type_name("N");
  app.add_option("--slots", slots, "tasks at once of each agent (default: its cores)")->type_name("N");
  app.add_option("--drain", drain, "what tasks that run have to end when an agent leaves (default: 20s)")
      ->type_name("TIME");
  app.add_option("--lease", lease,
                 "after how long without a sign of life of its agent a task goes to another "
                 "(default: 10s)")
      ->type_name("TIME");
  app.add_option("--wait", wait, "how long it may take to be up (default: 60s)")->type_name("TIME");
  app.add_option("--bind", bind, "of the server: an address of this machine that the hosts reach")
      ->type_name("ADDRESS");
  app.add_option("--port", port, "of the server (default: a free one)")->type_name("PORT");
  app.add_flag("--tls", tls, "the server uses TLS; it does anyway on anything but loopback");
  app.add_flag("--mutual-tls", mutual, "and lets in only whom it knows by a certificate");
  app.add_option("--ssh", ssh, "the command for ssh with its options, as \"ssh -p 2222\"")->type_name("COMMAND");
  app.add_option("--store", store, "the folder below which the server keeps tasks (default: TMPDIR or /tmp)")
      ->type_name("FOLDER");
  connection.add_options(app, "a server that is there already; none is started then");
  app.footer(
      "Without --url the server is a nats-server on this machine, with a random token, and certificates that are made\n"
      "for it unless --tls-ca, --tls-cert and --tls-key give some. PROGRAM must be on every host, in the same folder\n"
      "or in the search path.");
}

milliseconds ClusterUpOptions::patience() const {
  return parse_duration("--wait", wait, milliseconds(1), std::chrono::hours(24));
}

ClusterOptions ClusterUpOptions::server_options() const {
  Connection known = connection;
  // What the environment says is of a server that is there.
  known.from_environment = connection.url.has_value();
  return known.options();
}

KeeperOrder ClusterUpOptions::checked_order(const std::vector<std::string>& program) const {
  if (program.empty())
    throw BadInput("cluster up: which program? tandem cluster up --hosts a,b,c -- PROGRAM [argument...]");
  const std::optional<LauncherKind> kind = parse_launcher(launcher);
  if (!kind) throw BadInput(fmt::format("--launcher {}: there are ssh, srun, mpirun and local", printable(launcher)));
  KeeperOrder order;
  order.folder = state_folder(name);
  order.ssh = split(ssh, ' ');
  std::erase(order.ssh, "");
  if (order.ssh.empty()) throw BadInput("--ssh: which command?");
  order_hosts(*this, *kind, order);
  if (*kind == LauncherKind::Local)
    static_cast<void>(find_program(program[0]));
  else
    static_cast<void>(find_program(*kind == LauncherKind::Ssh ? order.ssh[0] : launcher));
  const milliseconds lease_time = lease ? parse_duration("--lease", *lease, kLeastLease, kMostLease) : kUsualLease;
  const milliseconds drain_time = drain ? parse_duration("--drain", *drain, kLeastDrain, kMostDrain) : kUsualDrain;
  static_cast<void>(patience());
  order_server(*this, *kind, order);

  AgentPlan& plan = order.plan;
  plan.program = program;
  plan.folder = std::filesystem::current_path().string();
  plan.run_id = random_digits(1);
  plan.variables["TANDEM_CLUSTER_POOL"] = connection.pool;
  plan.variables["TANDEM_CLUSTER_LEASE_MS"] = std::to_string(lease_time.count());
  plan.variables["TANDEM_AGENT_DRAIN_MS"] = std::to_string(drain_time.count());
  if (connection.allow_unprotected_server) plan.variables["TANDEM_CLUSTER_ALLOW_UNPROTECTED"] = "1";
  if (slots) plan.variables["TANDEM_AGENT_SLOTS"] = std::to_string(parse_number("--slots", *slots, 1, kMostSlots));

  ClusterRecord& record = order.record;
  record.name = name;
  record.launcher = launcher;
  record.run_id = plan.run_id;
  record.program = program;
  record.pool = connection.pool;
  record.lease_ms = lease_time.count();
  record.drain_ms = drain_time.count();
  record.allow_unprotected_server = connection.allow_unprotected_server;
  // Whether the keeper can be told of it.
  static_cast<void>(to_line(order));
  return order;
}

}  // namespace tandem::tool
