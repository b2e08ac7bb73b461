#include "cluster_up.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <tandem/cluster_status.hpp>

#include "bad_input.hpp"
#include "cluster_certificates.hpp"
#include "cluster_commands.hpp"
#include "exit_code.hpp"
#include "number.hpp"
#include "output.hpp"
#include "text.hpp"

namespace tandem::tool {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kMostHosts = 4096;
constexpr milliseconds kUsualLease{10'000}, kUsualDrain{20'000};
// Between looks whether an agent has failed while others are waited for.
constexpr milliseconds kLook{100};

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

struct AddressDeleter {
  void operator()(addrinfo* info) const { ::freeaddrinfo(info); }
};

std::vector<sockaddr_in> addresses_of(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* made = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &made) != 0) return {};
  const std::unique_ptr<addrinfo, AddressDeleter> all(made);
  std::vector<sockaddr_in> addresses;
  for (const addrinfo* one = made; one != nullptr; one = one->ai_next)
    addresses.push_back(*reinterpret_cast<const sockaddr_in*>(one->ai_addr));
  return addresses;
}

bool is_loopback(const in_addr& address) {
  return (ntohl(address.s_addr) >> 24) == IN_LOOPBACKNET;
}

std::string text_of(const in_addr& address) {
  std::array<char, INET_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET, &address, text.data(), text.size());
  return text.data();
}

/// The address of this machine that packets to that one come from: no packet is sent.
std::optional<in_addr> own_address_towards(sockaddr_in there) {
  there.sin_port = htons(9);
  const OwnFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in own{};
  socklen_t size = sizeof own;
  if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&there), sizeof there) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0)
    return std::nullopt;
  return own.sin_addr;
}

/// Where a server of this machine is reached from the hosts. Throws BadInput.
std::string reachable_address(const std::vector<std::string>& hosts) {
  std::optional<in_addr> loopback;
  for (const std::string& host : hosts) {
    for (const sockaddr_in& there : addresses_of(host.substr(host.rfind('@') + 1))) {
      const std::optional<in_addr> own = own_address_towards(there);
      if (own && !is_loopback(*own)) return text_of(*own);
      if (own) loopback = own;
    }
  }
  if (loopback) return "127.0.0.1";
  for (const sockaddr_in& own : addresses_of(own_host()))
    if (!is_loopback(own.sin_addr)) return text_of(own.sin_addr);
  throw BadInput("cluster up: it cannot be told which address of this machine the hosts reach: say --bind ADDRESS");
}

bool is_loopback_name(const std::string& address) {
  in_addr parsed{};
  return address == "localhost" || (::inet_pton(AF_INET, address.c_str(), &parsed) == 1 && is_loopback(parsed));
}

/// The keeper, until it is let alone. Owner: has it take down all, and waits for it. Any thread may end it.
class StartedKeeper {
 public:
  StartedKeeper(const KeeperOrder& order, const OwnFd& lock) {
    PipeEnds in, out;
    ChildSetup setup;
    setup.words = {"/proc/self/exe", kKeeperWord};
    // Not for the keeper: what its agents are told is in its order.
    setup.environment["TANDEM_AGENT"] = std::nullopt;
    setup.in_fd = in.read.get();
    setup.out_fd = out.write.get();
    const OwnFd log(::open((order.folder + "/keeper.log").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    setup.err_fd = log.get();
    setup.kept_fd = lock.get();
    setup.own_session = true;
    pid_ = start_child(setup);
    in_ = std::move(in.write);
    out_ = std::move(out.read);
    in.read.reset();
    if (!write_all(in_.get(), to_line(order))) throw std::runtime_error("the keeper of the cluster does not start");
  }
  ~StartedKeeper() { end(); }
  StartedKeeper(const StartedKeeper&) = delete;
  StartedKeeper& operator=(const StartedKeeper&) = delete;

  void end() noexcept {
    const std::lock_guard guard(mutex_);
    if (pid_ <= 0) return;
    in_.reset();
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
    pid_ = -1;
  }
  /// It goes on by itself. False if it is being ended.
  bool let_alone() {
    const std::lock_guard guard(mutex_);
    if (pid_ <= 0 || !write_all(in_.get(), kDetachWord)) return false;
    pid_ = -1;
    return true;
  }
  /// The next thing that it tells, if there is one in time. Throws std::runtime_error once it has ended.
  std::optional<KeeperNews> hear(milliseconds patience) {
    for (;;) {
      if (const std::size_t end = text_.find('\n'); end != std::string::npos) {
        const std::string line = text_.substr(0, end);
        text_.erase(0, end + 1);
        return parse_news(line);
      }
      pollfd wait{out_.get(), POLLIN, 0};
      const int ready = ::poll(&wait, 1, static_cast<int>(patience.count()));
      if (ready <= 0) return std::nullopt;
      std::array<char, 4096> buffer{};
      const ssize_t got = ::read(out_.get(), buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) throw std::runtime_error("the keeper of the cluster has ended");
      text_.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }

 private:
  std::mutex mutex_;
  pid_t pid_ = -1;
  OwnFd in_;
  OwnFd out_;
  std::string text_;
};

/// Waits until the cluster is up.
class Arrival {
 public:
  Arrival(StartedKeeper& keeper, const KeeperOrder& order, ClusterOptions options, Clock::time_point until)
      : keeper_(keeper), order_(order), options_(std::move(options)), until_(until) {}

  /// The url. Throws std::runtime_error; what failed on hosts is in failures().
  void wait() {
    while (url_.empty()) take(needed(keeper_.hear(left())));
    while (started_.size() + failures_.size() < order_.record.nodes) {
      std::optional<KeeperNews> news = keeper_.hear(left());
      if (!news && Clock::now() >= until_) throw std::runtime_error(late());
      if (news) take(*news);
    }
    check();
    ClusterWatch watch(url_, options_);
    while (!all_here(watch)) {
      if (Clock::now() >= until_) throw std::runtime_error(late());
      static_cast<void>(watch.hear(kLook));
      while (const std::optional<KeeperNews> news = keeper_.hear(milliseconds(0))) take(*news);
      check();
    }
    if (error_is_terminal()) std::fputs("\r\x1b[K", stderr);
    for (const ClusterNode& node : watch.nodes())
      if (started_.contains(node.name)) nodes_.push_back(node);
  }
  const std::string& url() const { return url_; }
  const std::vector<ClusterNode>& nodes() const { return nodes_; }
  const std::vector<std::string>& failures() const { return failures_; }

 private:
  milliseconds left() const {
    return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(until_ - Clock::now()));
  }
  KeeperNews needed(std::optional<KeeperNews> news) const {
    if (!news) throw std::runtime_error(late());
    return *news;
  }
  void take(const KeeperNews& news) {
    if (news.kind == "server") url_ = news.text;
    if (news.kind == "started") started_.emplace(news.text, news.where);
    if (news.kind == "failed") failures_.push_back(fmt::format("{}: {}", printable(news.where), printable(news.text)));
    if (news.kind == "broken") throw std::runtime_error(printable(news.text));
    show();
    if (news.kind == "failed" && order_.launcher != "ssh" && order_.launcher != "local") check();
  }
  /// On a terminal: hosts may take their time.
  void show() const {
    if (error_is_terminal())
      std::fputs(
          fmt::format("\r\x1b[Kserver {}: {} of {} agents started", url_, started_.size(), order_.record.nodes).c_str(),
          stderr);
  }
  void check() const {
    if (!failures_.empty())
      throw std::runtime_error(fmt::format("{} of {} agents did not come up; what was started is taken down",
                                           std::min(failures_.size(), order_.record.nodes), order_.record.nodes));
  }
  bool all_here(const ClusterWatch& watch) const {
    std::set<std::string> heard;
    for (const ClusterNode& node : watch.nodes()) heard.insert(node.name);
    return std::all_of(started_.begin(), started_.end(), [&](const auto& one) { return heard.contains(one.first); });
  }
  std::string late() const {
    if (url_.empty()) return "the server did not start in time";
    if (started_.size() < order_.record.nodes)
      return fmt::format("{} of {} agents were started in time (--wait); what was started is taken down",
                         started_.size(), order_.record.nodes);
    return "not all agents reached the server in time (--wait); what was started is taken down";
  }

  StartedKeeper& keeper_;
  const KeeperOrder& order_;
  const ClusterOptions options_;
  const Clock::time_point until_;
  std::string url_;
  std::map<std::string, std::string> started_;  // Where by the node's name.
  std::vector<std::string> failures_;
  std::vector<ClusterNode> nodes_;
};

}  // namespace

ClusterUp::ClusterUp(CLI::App& cluster)
    : command_(cluster.add_subcommand("up",
                                      "Starts a server and an agent of PROGRAM on every host: tandem cluster up "
                                      "--hosts a,b,c [options] -- PROGRAM [argument...]")) {
  command_->add_option("--hosts", hosts_, "where agents run, with commas between")->type_name("HOST,...");
  command_->add_option("--launcher", launcher_, "how agents are started: ssh, srun, mpirun or local (default: ssh)")
      ->type_name("NAME");
  command_->add_option("--name", name_, "of the cluster, for the other commands (default: default)")->type_name("NAME");
  command_->add_option("--agents", agents_, "with --launcher local: how many (default: 1)")->type_name("N");
  command_->add_option("--slots", slots_, "tasks at once of each agent (default: its cores)")->type_name("N");
  command_->add_option("--drain", drain_, "what tasks that run have to end when an agent leaves (default: 20s)")
      ->type_name("TIME");
  command_
      ->add_option("--lease", lease_,
                   "after how long without a sign of life of its agent a task goes to another "
                   "(default: 10s)")
      ->type_name("TIME");
  command_->add_option("--wait", wait_, "how long it may take to be up (default: 60s)")->type_name("TIME");
  command_->add_option("--bind", bind_, "of the server: an address of this machine that the hosts reach")
      ->type_name("ADDRESS");
  command_->add_option("--port", port_, "of the server (default: a free one)")->type_name("PORT");
  command_->add_flag("--tls", tls_, "the server uses TLS; it does anyway on anything but loopback");
  command_->add_flag("--mutual-tls", mutual_, "and lets in only whom it knows by a certificate");
  command_->add_option("--ssh", ssh_, "the command for ssh with its options, as \"ssh -p 2222\"")->type_name("COMMAND");
  command_->add_option("--store", store_, "the folder below which the server keeps tasks (default: TMPDIR or /tmp)")
      ->type_name("FOLDER");
  connection_.add_options(*command_, "a server that is there already; none is started then");
  command_->footer(
      "Without --url the server is a nats-server on this machine, with a random token, and certificates that are made\n"
      "for it unless --tls-ca, --tls-cert and --tls-key give some. PROGRAM must be on every host, in the same folder\n"
      "or in the search path.");
}

void ClusterUp::order_hosts(KeeperOrder& order, LauncherKind launcher) {
  std::vector<std::string>& hosts = order.record.hosts;
  hosts = split(hosts_, ',');
  if (!hosts_.empty() && hosts_.back() == ',') hosts.emplace_back();
  for (const std::string& host : hosts) check_host(host);
  if (hosts.size() > kMostHosts)
    throw BadInput(fmt::format("--hosts: {} hosts; the most are {}", hosts.size(), kMostHosts));
  if (agents_ && launcher != LauncherKind::Local)
    throw BadInput("--agents: only with --launcher local: there is one agent on each host");
  order.record.nodes = hosts.size();
  if (launcher == LauncherKind::Local) {
    if (!hosts.empty()) throw BadInput("--hosts: not with --launcher local, whose agents are on this machine");
    order.record.nodes = agents_ ? parse_number("--agents", *agents_, 1, 1024) : 1;
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

void ClusterUp::order_server(KeeperOrder& order, LauncherKind launcher) {
  KeeperOrder::Server& server = order.server;
  order.record.own_server = !connection_.url;
  if (connection_.url) {
    if (tls_ || mutual_ || !bind_.empty() || port_ != "0" || !store_.empty())
      throw BadInput(
          "--tls, --mutual-tls, --bind, --port and --store are about a server that is started; --url names one that is "
          "there");
    connection_.check();
    return;
  }
  connection_.from_environment = false;
  if (!connection_.token_file.empty())
    throw BadInput("--token-file: only with --url: the token of a server that is started is made at random");
  const bool given = !connection_.certificate_file.empty();
  if (given != !connection_.ca_file.empty())
    throw BadInput("the certificates of the server are given by --tls-ca, --tls-cert and --tls-key together, or made");
  if (given && mutual_)
    throw BadInput("--mutual-tls: certificates for the agents are made with those of the server, which were given");
  server.program = find_program("nats-server", {"/usr/sbin", "/usr/local/sbin"});
  server.port = static_cast<std::uint16_t>(parse_number("--port", port_, 0, 65535));
  if (!bind_.empty()) {
    in_addr parsed{};
    if (::inet_pton(AF_INET, bind_.c_str(), &parsed) != 1 || parsed.s_addr == INADDR_ANY)
      throw BadInput(fmt::format("--bind {}: must be an address of this machine, such as 10.0.0.1", printable(bind_)));
    server.address = bind_;
  } else {
    server.address = launcher == LauncherKind::Local ? "127.0.0.1" : reachable_address(order.record.hosts);
  }
  const bool exposed = !is_loopback_name(server.address);
  server.mutual = mutual_;
  server.tls = tls_ || mutual_ || given || (exposed && !connection_.allow_unprotected_server);
  const char* const temporary = std::getenv("TMPDIR");
  server.store_parent = !store_.empty() ? store_ : temporary != nullptr && *temporary != '\0' ? temporary : "/tmp";
  server.store_parent = std::filesystem::absolute(server.store_parent).string();
  if (::access(server.store_parent.c_str(), W_OK | X_OK) != 0)
    throw BadInput(
        fmt::format("--store {}: {}", printable(server.store_parent), std::generic_category().message(errno)));
}

KeeperOrder ClusterUp::checked_order(const std::vector<std::string>& program) {
  if (program.empty())
    throw BadInput("cluster up: which program? tandem cluster up --hosts a,b,c -- PROGRAM [argument...]");
  const std::optional<LauncherKind> launcher = parse_launcher(launcher_);
  if (!launcher)
    throw BadInput(fmt::format("--launcher {}: there are ssh, srun, mpirun and local", printable(launcher_)));
  KeeperOrder order;
  order.folder = state_folder(name_);
  order.launcher = launcher_;
  order.ssh = split(ssh_, ' ');
  std::erase(order.ssh, "");
  if (order.ssh.empty()) throw BadInput("--ssh: which command?");
  order_hosts(order, *launcher);
  if (*launcher == LauncherKind::Local)
    static_cast<void>(find_program(program[0]));
  else
    static_cast<void>(find_program(*launcher == LauncherKind::Ssh ? order.ssh[0] : launcher_));
  ClusterRecord& record = order.record;
  record.name = name_;
  record.pool = connection_.pool;
  record.allow_unprotected_server = connection_.allow_unprotected_server;
  const milliseconds lease = lease_ ? parse_duration("--lease", *lease_, kLeastLease, kMostLease) : kUsualLease;
  const milliseconds drain = drain_ ? parse_duration("--drain", *drain_, kLeastDrain, kMostDrain) : kUsualDrain;
  record.lease_ms = lease.count();
  record.drain_ms = drain.count();
  static_cast<void>(parse_duration("--wait", wait_, milliseconds(1), std::chrono::hours(24)));
  order_server(order, *launcher);
  if (connection_.url) record.url = *connection_.url;
  order.plan.program = program;
  order.plan.folder = std::filesystem::current_path().string();
  order.plan.run_id = random_digits(1);
  auto& variables = order.plan.variables;
  variables["TANDEM_CLUSTER_POOL"] = connection_.pool;
  variables["TANDEM_CLUSTER_LEASE_MS"] = std::to_string(lease.count());
  variables["TANDEM_AGENT_DRAIN_MS"] = std::to_string(drain.count());
  if (connection_.allow_unprotected_server) variables["TANDEM_CLUSTER_ALLOW_UNPROTECTED"] = "1";
  if (slots_) variables["TANDEM_AGENT_SLOTS"] = std::to_string(parse_number("--slots", *slots_, 1, kMostSlots));
  return order;
}

void ClusterUp::make_secrets(KeeperOrder& order, const ClusterOptions& options) const {
  ClusterRecord& record = order.record;
  auto& variables = order.plan.variables;
  const auto keep = [&](const char* name, const std::string& text) {
    const std::string file = order.folder + "/" + name;
    write_private_file(file, text);
    return file;
  };
  const auto pem_of = [](const std::string& file) {
    return file.starts_with("-----BEGIN") ? file : read_text_file(file);
  };
  std::string token = options.token;
  if (record.own_server) token = random_digits(8);
  if (!token.empty()) {
    record.token_file = keep("token", token + "\n");
    variables["TANDEM_CLUSTER_TOKEN"] = token;
  }
  if (!options.user.empty()) variables["TANDEM_CLUSTER_USER"] = options.user;
  if (!options.password.empty()) variables["TANDEM_CLUSTER_PASSWORD"] = options.password;
  std::string ca, certificate, key;  // What agents and clients get.
  if (options.tls) {
    if (!options.tls->ca_file.empty()) ca = pem_of(options.tls->ca_file);
    if (!options.tls->certificate_file.empty()) {
      certificate = pem_of(options.tls->certificate_file);
      key = pem_of(options.tls->key_file);
    }
  }
  if (record.own_server && order.server.tls) {
    if (certificate.empty()) {
      const CertificateAuthority authority("tandem cluster " + record.name + " " + order.plan.run_id);
      ca = authority.certificate();
      const Certificate server = authority.sign(own_host().substr(0, 63), "IP:" + order.server.address);
      keep("server.pem", server.certificate);
      keep("server.key", server.key);
      if (order.server.mutual) {
        const Certificate member = authority.sign("tandem member", "DNS:tandem-member");
        certificate = member.certificate;
        key = member.key;
      }
    } else {
      keep("server.pem", certificate);
      keep("server.key", key);
      certificate.clear();
      key.clear();
    }
  }
  if (!ca.empty()) {
    record.ca_file = keep("ca.pem", ca);
    variables["TANDEM_CLUSTER_CA"] = ca;
  }
  if (!certificate.empty()) {
    record.certificate_file = keep("member.pem", certificate);
    record.key_file = keep("member.key", key);
    variables["TANDEM_CLUSTER_CERTIFICATE"] = certificate;
    variables["TANDEM_CLUSTER_KEY"] = key;
  }
}

int ClusterUp::run(Interruption& interruption, const std::vector<std::string>& program) {
  KeeperOrder order = checked_order(program);
  ClusterOptions options = connection_.options();
  const Clock::time_point until =
      Clock::now() + parse_duration("--wait", wait_, milliseconds(1), std::chrono::hours(24));
  check_output();
  // A signal waits until there is somebody who takes down what is made here.
  std::unique_lock making = interruption.hold_off();
  OwnFd lock = take_folder(order.folder);
  if (!lock)
    throw BadInput(fmt::format("the cluster {0} is up already: tandem cluster down --name {0} ends it", name_));
  // What a keeper that was killed has left.
  if (const std::optional<ClusterRecord> before = read_record(order.folder); before) {
    std::error_code ignored;
    if (!before->store.empty()) std::filesystem::remove_all(before->store, ignored);
    std::filesystem::remove(order.folder + "/cluster.json", ignored);
  }
  std::optional<StartedKeeper> keeper;
  try {
    make_secrets(order, options);
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
    if (order.record.own_server) options = order.record.connection().options();
    arrival.emplace(*keeper, order, options, until);
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
  std::size_t slots = 0;
  std::set<std::string> builds;
  for (const ClusterNode& node : arrival->nodes()) {
    slots += node.slots;
    builds.insert(node.build_id);
  }
  if (builds.size() > 1)
    print_error(
        fmt::format("cluster up: {} is not the same build on all hosts: a client gets the agents of its own only",
                    printable(program[0])));
  const std::string of_name = name_ == "default" ? "" : " --name " + name_;
  // Before the keeper is let alone: nobody knows of a cluster that could not be told of, so it is taken down.
  print(fmt::format(
      "cluster {} is up: {} {}, {} {}, server {}\n"
      "  tandem run --cluster{} -- PROGRAM   runs a program on it\n"
      "  tandem cluster status{}\n  tandem cluster down{}\n",
      name_, arrival->nodes().size(), arrival->nodes().size() == 1 ? "agent" : "agents", slots,
      slots == 1 ? "slot" : "slots", arrival->url(), name_ == "default" ? "" : " " + name_, of_name, of_name));
  if (!keeper->let_alone()) throw std::runtime_error("cluster up: the keeper of the cluster has ended");
  return kExitGood;
}

}  // namespace tandem::tool
