#include "cluster_keeper.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>

#include "cluster_commands.hpp"
#include "exit_code.hpp"

namespace tandem::tool {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// On a busy machine; it takes some 30 ms otherwise.
constexpr std::chrono::seconds kServerStart{60};
// An agent that has ended is started again after this time, twice as long each time, at most so long.
constexpr milliseconds kAgainFirst{1000}, kAgainMost{60'000};
// One that has run for so long is as good as new.
constexpr milliseconds kLongLife{60'000};
// A server that dies so often within this time of its start does so for a reason.
constexpr int kMostShortLives = 5;
constexpr milliseconds kShortLife{2000};
constexpr milliseconds kServerStop{5000};
// Behind the first word that has agents leave: two signals at the same time are one.
constexpr milliseconds kSecondWord{500};
// Of the log of the agents: it begins anew then, and the one before is kept.
constexpr std::uint64_t kMostLog = 16u << 20;

std::string status_text(int status) {
  if (WIFSIGNALED(status)) return fmt::format("it was ended by SIG{}", ::sigabbrev_np(WTERMSIG(status)));
  return fmt::format("it ended with {}", WEXITSTATUS(status));
}

/// A command that runs agents.
struct Running {
  Launch launch;
  pid_t pid = -1;
  OwnFd in{};   // Where words go; closed when it is to leave.
  OwnFd out{};  // What it and its agents say.
  std::string line{};
  std::string last_line{};
  std::size_t started = 0;
  Clock::time_point since{};
  Clock::time_point again_at = Clock::time_point::max();
  milliseconds again_after = kAgainFirst;
};

class Keeper {
 public:
  explicit Keeper(KeeperOrder order);
  int run();

 private:
  void tell(const char* kind, const std::string& where, const std::string& text);
  void log(const std::string& text);
  void start_server();
  bool wait_for_port(int watch);
  void write_server_configuration() const;
  void make_secrets();
  void start(Running& one);
  void read_output(Running& one);
  void take_line(Running& one, const std::string& line);
  void on_end(Running& one, int status);
  void reap();
  /// Waits for what happens until `until`. False: all is to be taken down.
  bool wait(Clock::time_point until);
  void take_signals();
  void take_words();
  bool any_running() const;
  void take_down();
  void have_leave();
  void kill_all();

  KeeperOrder order_;
  OwnFd signals_{};
  OwnFd log_{};
  std::uint64_t logged_ = 0;
  std::string words_{};
  bool attached_ = true;  // Somebody waits for it to be up.
  bool leaving_ = false;  // All is to be taken down,
  bool at_once_ = false;  // without waiting for tasks.
  std::vector<Running> all_;
  pid_t server_ = -1;
  Clock::time_point server_since_{};
  int short_lives_ = 0;
};

Keeper::Keeper(KeeperOrder order) : order_(std::move(order)) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) throw std::system_error(errno, std::generic_category(), "cannot wait for signals");
  log_.reset(::open((order_.folder + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
}

void Keeper::tell(const char* kind, const std::string& where, const std::string& text) {
  if (!attached_) return;
  const Json value = {{"kind", kind}, {"where", where}, {"text", text}};
  write_all(STDOUT_FILENO, value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

void Keeper::log(const std::string& text) {
  if (!log_) return;
  const std::string line = fmt::format("{} {}\n", std::time(nullptr), text);
  logged_ += line.size();
  if (logged_ > kMostLog) {
    const std::string file = order_.folder + "/log";
    ::rename(file.c_str(), (file + ".before").c_str());
    log_.reset(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    logged_ = 0;
  }
  write_all(log_.get(), line);
}

// --- the server

void Keeper::write_server_configuration() const {
  const KeeperOrder::Server& server = order_.server;
  std::string text = fmt::format(
      "listen: \"{}:{}\"\nports_file_dir: \"{}\"\nmax_payload: 8MB\nauthorization {{ token: \"{}\" }}\n"
      "jetstream {{ store_dir: \"{}\", max_mem: 1GB }}\n",
      server.address, server.port == 0 ? -1 : server.port, order_.folder,
      order_.plan.variables.at("TANDEM_CLUSTER_TOKEN"), order_.record.store);
  if (server.tls)
    text += fmt::format(
        "tls {{ cert_file: \"{0}/server.pem\", key_file: \"{0}/server.key\", ca_file: \"{0}/ca.pem\"{1} }}\n",
        order_.folder, server.mutual ? ", verify: true" : "");
  write_private_file(order_.folder + "/nats.conf", text);
}

bool Keeper::wait_for_port(int watch) {
  const Clock::time_point give_up = Clock::now() + kServerStart;
  const std::string ports = fmt::format("{}/nats-server_{}.ports", order_.folder, server_);
  for (;;) {
    // {"nats":["nats://10.1.2.3:4567"]}
    std::ifstream file(ports);
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const std::size_t at = text.find(order_.server.address + ":");
    if (at != std::string::npos && text.find(']') != std::string::npos) {
      order_.server.port = static_cast<std::uint16_t>(std::stoi(text.substr(at + order_.server.address.size() + 1)));
      std::error_code ignored;
      std::filesystem::remove(ports, ignored);
      return true;
    }
    std::array<pollfd, 3> waits = {pollfd{watch, POLLIN, 0}, pollfd{signals_.get(), POLLIN, 0},
                                   pollfd{attached_ ? STDIN_FILENO : -1, POLLIN, 0}};
    const auto left = std::chrono::duration_cast<milliseconds>(give_up - Clock::now());
    if (left.count() <= 0) return false;
    ::poll(waits.data(), waits.size(), static_cast<int>(left.count()));
    std::array<char, 4096> events{};
    if ((waits[0].revents & POLLIN) != 0) static_cast<void>(!::read(watch, events.data(), events.size()));
    take_signals();
    if (waits[2].revents != 0) take_words();
    if (leaving_) return false;
    if (server_ < 0) return false;
  }
}

void Keeper::start_server() {
  KeeperOrder::Server& server = order_.server;
  write_server_configuration();
  const OwnFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch || ::inotify_add_watch(watch.get(), order_.folder.c_str(), IN_CLOSE_WRITE) < 0)
    throw std::system_error(errno, std::generic_category(), "cannot watch " + order_.folder);
  const std::string log_file = order_.folder + "/server.log";
  const OwnFd log_fd(::open(log_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  ChildSetup setup;
  setup.words = {server.program, "-c", order_.folder + "/nats.conf"};
  setup.out_fd = setup.err_fd = log_fd.get();
  setup.bound = true;
  server_ = start_child(setup);
  server_since_ = Clock::now();
  if (wait_for_port(watch.get()) || leaving_) return;
  // Its last line says why; it has no secrets.
  std::ifstream lines(log_file);
  std::string line, last;
  while (std::getline(lines, line))
    if (!line.empty()) last = line;
  throw std::runtime_error(fmt::format("nats-server does not start on {}: {}", server.address, last));
}

void Keeper::make_secrets() {
  ClusterRecord& record = order_.record;
  std::string store = order_.server.store_parent + "/tandem-" + record.name + "-XXXXXX";
  if (::mkdtemp(store.data()) == nullptr)
    throw std::system_error(errno, std::generic_category(), "cannot make " + store);
  record.store = store;
  // Found again by `down` if this process is killed.
  write_record(order_.folder, record);
}

// --- agents

void Keeper::start(Running& one) {
  PipeEnds out;
  PipeEnds in;
  ChildSetup setup;
  setup.words = one.launch.words;
  setup.environment = one.launch.environment;
  setup.out_fd = setup.err_fd = out.write.get();
  if (!one.launch.input.empty()) {
    setup.in_fd = in.read.get();
    // All of the input has room in it: nobody may ever read it.
    ::fcntl(in.write.get(), F_SETPIPE_SZ, 1 << 20);
  }
  one.line.clear();
  one.last_line.clear();
  one.started = 0;
  one.since = Clock::now();
  one.again_at = Clock::time_point::max();
  // A group of its own, so that what a launcher starts can be ended with it.
  setup.own_session = true;
  one.pid = start_child(setup);
  if (!one.launch.input.empty()) {
    ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
    if (!write_all(in.write.get(), one.launch.input)) log(one.launch.where + ": takes no input");
    one.in = std::move(in.write);
  }
  ::fcntl(out.read.get(), F_SETFL, O_NONBLOCK);
  one.out = std::move(out.read);
}

void Keeper::take_line(Running& one, const std::string& line) {
  if (line.empty()) return;
  const std::string mark = started_mark(order_.plan.run_id) + " ";
  if (line.starts_with(mark)) {
    ++one.started;
    log(fmt::format("{}: started as {}", one.launch.where, line.substr(mark.size())));
    tell("started", one.launch.where, line.substr(mark.size()));
    return;
  }
  one.last_line = line;
  log(one.launch.where + ": " + line);
}

void Keeper::read_output(Running& one) {
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t got = ::read(one.out.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return;
    if (got == 0) {
      one.out.reset();
      break;
    }
    one.line.append(buffer.data(), static_cast<std::size_t>(got));
    std::size_t begin = 0;
    for (std::size_t end; (end = one.line.find('\n', begin)) != std::string::npos; begin = end + 1)
      take_line(one, one.line.substr(begin, end - begin - (end > begin && one.line[end - 1] == '\r' ? 1 : 0)));
    one.line.erase(0, begin);
    if (one.line.size() > 65536) one.line.clear();
  }
  take_line(one, one.line);
  one.line.clear();
}

void Keeper::on_end(Running& one, int status) {
  if (one.out) read_output(one);
  one.out.reset();
  one.in.reset();
  one.pid = -1;
  std::string why = one.last_line;
  if (why.starts_with("tandem: ")) why = why.substr(8);
  if (why.empty()) why = status_text(status);
  log(fmt::format("{}: has ended: {}", one.launch.where, status_text(status)));
  if (leaving_) return;
  if (attached_) {
    tell("failed", one.launch.where, why);
    return;
  }
  if (Clock::now() - one.since >= kLongLife) one.again_after = kAgainFirst;
  one.again_at = Clock::now() + one.again_after;
  one.again_after = std::min(kAgainMost, one.again_after * 2);
}

void Keeper::reap() {
  if (int status = 0; server_ > 0 && ::waitpid(server_, &status, WNOHANG) == server_) {
    log("the server has ended: " + status_text(status));
    server_ = -1;
  }
  for (Running& one : all_)
    if (int status = 0; one.pid > 0 && ::waitpid(one.pid, &status, WNOHANG) == one.pid) on_end(one, status);
}

// --- waiting

void Keeper::take_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGCHLD) continue;
    at_once_ = at_once_ || leaving_ || info.ssi_signo == SIGINT;
    leaving_ = true;
  }
  reap();
}

void Keeper::take_words() {
  std::array<char, 256> buffer{};
  const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
  if (got < 0 && errno == EINTR) return;
  if (got > 0) words_.append(buffer.data(), static_cast<std::size_t>(got));
  if (words_.find(kDetachWord) != std::string::npos) {
    attached_ = false;
    const OwnFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    ::dup2(nothing.get(), STDIN_FILENO);
    ::dup2(nothing.get(), STDOUT_FILENO);
  } else if (got <= 0) {
    // Who started it is gone, and nobody uses the cluster yet.
    attached_ = false;
    leaving_ = at_once_ = true;
  }
}

bool Keeper::wait(Clock::time_point until) {
  std::vector<pollfd> waits = {{signals_.get(), POLLIN, 0}, {attached_ ? STDIN_FILENO : -1, POLLIN, 0}};
  for (const Running& one : all_) waits.push_back({one.out ? one.out.get() : -1, POLLIN, 0});
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
  const int most =
      until == Clock::time_point::max() ? -1 : static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000));
  ::poll(waits.data(), waits.size(), most);
  for (std::size_t i = 0; i < all_.size(); ++i)
    if (all_[i].out && waits[i + 2].revents != 0) read_output(all_[i]);
  take_signals();
  if (attached_ && waits[1].revents != 0) take_words();
  return !leaving_;
}

// --- the end

bool Keeper::any_running() const {
  return std::any_of(all_.begin(), all_.end(), [](const Running& one) { return one.pid > 0; });
}

void Keeper::have_leave() {
  for (Running& one : all_) {
    if (one.pid <= 0) continue;
    if (one.launch.input.empty()) {
      ::kill(one.pid, one.started > 0 ? SIGUSR1 : SIGTERM);
    } else if (one.started > 0 && one.in) {
      // The first word has an agent wait for what it runs, a second one not.
      write_all(one.in.get(), kLeaveWord);
    } else {
      // The shell on the host may not have read its script yet: the end of its input is what it cannot miss. A
      // command that has not even got there is not waited for.
      one.in.reset();
      ::kill(-one.pid, SIGTERM);
    }
  }
}

void Keeper::kill_all() {
  for (Running& one : all_) {
    if (one.pid <= 0) continue;
    if (one.in)
      write_all(one.in.get(), kKillWord);
    else
      ::kill(one.pid, SIGTERM);
    one.in.reset();
  }
  const Clock::time_point until = Clock::now() + std::chrono::seconds(5);
  while (any_running() && Clock::now() < until) wait(until);
  for (Running& one : all_)
    if (one.pid > 0) ::kill(-one.pid, SIGKILL);
  while (any_running()) wait(Clock::now() + std::chrono::seconds(1));
}

void Keeper::take_down() {
  leaving_ = true;
  have_leave();
  bool said_at_once = false;
  Clock::time_point again = Clock::now() + kSecondWord;
  const Clock::time_point until = Clock::now() + milliseconds(kLeave_ms + (at_once_ ? 0 : order_.record.drain_ms));
  while (any_running() && Clock::now() < until) {
    wait(at_once_ && !said_at_once ? std::min(until, again) : until);
    if (!at_once_ || said_at_once || Clock::now() < again) continue;
    have_leave();
    said_at_once = true;
  }
  kill_all();
  if (server_ > 0) {
    ::kill(server_, SIGTERM);
    const Clock::time_point server_until = Clock::now() + kServerStop;
    while (server_ > 0 && Clock::now() < server_until) wait(server_until);
    if (server_ > 0) ::kill(server_, SIGKILL);
    while (server_ > 0) wait(Clock::now() + std::chrono::seconds(1));
  }
  remove_folder(order_.folder, order_.record);
}

int Keeper::run() {
  int code = kExitGood;
  try {
    ClusterRecord& record = order_.record;
    record.pid = ::getpid();
    record.host = own_host();
    record.started = std::time(nullptr);
    if (record.own_server) {
      make_secrets();
      start_server();
      record.url =
          fmt::format("{}://{}:{}", order_.server.tls ? "tls" : "nats", order_.server.address, order_.server.port);
    }
    if (!leaving_) {
      write_record(order_.folder, record);
      tell("server", "", record.url);
      order_.plan.variables["TANDEM_AGENT"] = record.url;
      for (Launch& launch :
           make_launches(*parse_launcher(order_.launcher), order_.plan, record.hosts, record.nodes, order_.ssh)) {
        all_.push_back({std::move(launch)});
      }
      for (Running& one : all_) {
        start(one);
        if (!wait(Clock::now())) break;
      }
    }
    while (!leaving_) {
      Clock::time_point next = Clock::time_point::max();
      for (const Running& one : all_) next = std::min(next, one.again_at);
      if (!wait(next)) break;
      for (Running& one : all_)
        if (one.again_at <= Clock::now()) start(one);
      if (record.own_server && server_ < 0) {
        short_lives_ = Clock::now() - server_since_ < kShortLife ? short_lives_ + 1 : 0;
        if (short_lives_ > kMostShortLives) throw std::runtime_error("the server ends again and again");
        start_server();
      }
    }
  } catch (const std::exception& error) {
    log(error.what());
    tell("broken", "", error.what());
    code = kExitFailed;
    at_once_ = true;
  }
  take_down();
  return code;
}

}  // namespace

std::string to_line(const KeeperOrder& order) {
  const Json value = {{"folder", order.folder},
                      {"record",
                       {{"name", order.record.name},
                        {"url", order.record.url},
                        {"own_server", order.record.own_server},
                        {"hosts", order.record.hosts},
                        {"nodes", order.record.nodes},
                        {"pool", order.record.pool},
                        {"lease_ms", order.record.lease_ms},
                        {"drain_ms", order.record.drain_ms},
                        {"token_file", order.record.token_file},
                        {"ca_file", order.record.ca_file},
                        {"certificate_file", order.record.certificate_file},
                        {"key_file", order.record.key_file},
                        {"allow_unprotected_server", order.record.allow_unprotected_server}}},
                      {"server",
                       {{"program", order.server.program},
                        {"address", order.server.address},
                        {"port", order.server.port},
                        {"tls", order.server.tls},
                        {"mutual", order.server.mutual},
                        {"store_parent", order.server.store_parent}}},
                      {"launcher", order.launcher},
                      {"program", order.plan.program},
                      {"directory", order.plan.folder},
                      {"run_id", order.plan.run_id},
                      {"variables", order.plan.variables},
                      {"ssh", order.ssh}};
  return value.dump() + "\n";
}

KeeperNews parse_news(const std::string& line) {
  try {
    const Json value = Json::parse(line);
    return {value.at("kind"), value.at("where"), value.at("text")};
  } catch (const Json::exception&) {
    throw std::runtime_error("the keeper of the cluster says what cannot be understood");
  }
}

int run_cluster_keeper() {
  std::string line;
  // Byte by byte: what follows is for later.
  for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n';) line += c;
  KeeperOrder order;
  try {
    const Json value = Json::parse(line);
    const Json& record = value.at("record");
    const Json& server = value.at("server");
    order.folder = value.at("folder");
    order.record.name = record.at("name");
    order.record.url = record.at("url");
    order.record.own_server = record.at("own_server");
    order.record.hosts = record.at("hosts").get<std::vector<std::string>>();
    order.record.nodes = record.at("nodes");
    order.record.pool = record.at("pool");
    order.record.lease_ms = record.at("lease_ms");
    order.record.drain_ms = record.at("drain_ms");
    order.record.token_file = record.at("token_file");
    order.record.ca_file = record.at("ca_file");
    order.record.certificate_file = record.at("certificate_file");
    order.record.key_file = record.at("key_file");
    order.record.allow_unprotected_server = record.at("allow_unprotected_server");
    order.server = {server.at("program"), server.at("address"), server.at("port"),
                    server.at("tls"),     server.at("mutual"),  server.at("store_parent")};
    order.launcher = value.at("launcher");
    order.plan.program = value.at("program").get<std::vector<std::string>>();
    order.plan.folder = value.at("directory");
    order.plan.run_id = value.at("run_id");
    order.plan.variables = value.at("variables").get<std::map<std::string, std::string>>();
    order.ssh = value.at("ssh").get<std::vector<std::string>>();
  } catch (const Json::exception&) {
    std::fputs("tandem: cluster-keeper is started by tandem cluster up, not by hand\n", stderr);
    return kExitBadInput;
  }
  order.record.launcher = order.launcher;
  order.record.run_id = order.plan.run_id;
  order.record.program = order.plan.program;
  return Keeper(std::move(order)).run();
}

}  // namespace tandem::tool
