// The process that keeps what `tandem cluster up` started: the server, and the commands that run agents.
//
// It is told by its standard input what to start, and that nobody waits for it any more: until then its end has it
// take down all again. It tells by its standard output what came of it; see cluster_keeper_messages.hpp. The folder's
// lock is a descriptor that it got from `up` and never uses.
#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "cluster_commands.hpp"
#include "cluster_keeper_messages.hpp"
#include "cluster_keeper_reports.hpp"
#include "cluster_running_launch.hpp"
#include "cluster_server.hpp"
#include "exit_code.hpp"

namespace tandem::tool {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// On a busy machine; it takes some 30 ms otherwise.
constexpr std::chrono::seconds kServerStart{60};
constexpr milliseconds kServerStop{5000};
// How long agents may take to leave, beyond what tasks have to end: results are stored.
constexpr milliseconds kLeave{25'000};
// Behind the first word that has agents leave: two signals at the same time are one.
constexpr milliseconds kSecondWord{500};

class Keeper {
 public:
  explicit Keeper(KeeperOrder order);
  /// Until all is taken down. The exit code.
  int run();

 private:
  void bring_up();
  void keep_up();
  void take_down();

  void start_server();
  void start_server_again();
  void start_again(RunningLaunch& launch);
  void end_server();
  void have_leave();
  void kill_all();
  bool any_runs() const;

  /// Waits for what happens until `until`; `more` is a descriptor that only wakes it. False: all is to be taken down.
  bool wait(Clock::time_point until, int more = -1);
  void take_signals();
  void take_words();
  void reap();

  KeeperOrder order_;
  KeeperReports reports_;
  OwnFd signals_{};
  std::string words_{};
  bool leaving_ = false;  // All is to be taken down,
  bool at_once_ = false;  // without waiting for tasks.
  std::optional<ClusterServer> server_;
  std::vector<RunningLaunch> launches_;
};

Keeper::Keeper(KeeperOrder order) : order_(std::move(order)), reports_(order_.folder) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) throw std::system_error(errno, std::generic_category(), "cannot wait for signals");
}

int Keeper::run() {
  int code = kExitGood;
  try {
    bring_up();
    while (!leaving_) keep_up();
  } catch (const std::exception& error) {
    reports_.log(error.what());
    reports_.tell({"broken", "", error.what()});
    code = kExitFailed;
    at_once_ = true;
  }
  take_down();
  return code;
}

// --- from start to end

void Keeper::bring_up() {
  ClusterRecord& record = order_.record;
  record.pid = ::getpid();
  record.host = own_host();
  record.started = std::time(nullptr);
  if (record.own_server) {
    server_.emplace(order_);
    record.store = server_->store();
    // Found again by `down` if this process is killed.
    write_record(order_.folder, record);
    start_server();
    record.url = server_->url();
  }
  if (leaving_) return;
  write_record(order_.folder, record);
  reports_.tell({"server", "", record.url});
  order_.plan.variables["TANDEM_AGENT"] = record.url;
  for (Launch& launch :
       make_launches(*parse_launcher(record.launcher), order_.plan, record.hosts, record.nodes, order_.ssh))
    launches_.emplace_back(std::move(launch), order_.plan.run_id, reports_);
  for (RunningLaunch& one : launches_) {
    one.start();
    if (!wait(Clock::now())) return;
  }
}

void Keeper::keep_up() {
  Clock::time_point next = server_ && !server_->runs() ? server_->start_at() : Clock::time_point::max();
  for (const RunningLaunch& one : launches_) next = std::min(next, one.start_at());
  if (!wait(next)) return;
  for (RunningLaunch& one : launches_)
    if (one.start_at() <= Clock::now()) start_again(one);
  if (server_ && !server_->runs() && server_->start_at() <= Clock::now()) start_server_again();
}

void Keeper::take_down() {
  leaving_ = true;
  have_leave();
  bool said_at_once = false;
  const Clock::time_point again = Clock::now() + kSecondWord;
  const Clock::time_point until = Clock::now() + kLeave + milliseconds(at_once_ ? 0 : order_.record.drain_ms);
  while (any_runs() && Clock::now() < until) {
    wait(at_once_ && !said_at_once ? std::min(until, again) : until);
    if (!at_once_ || said_at_once || Clock::now() < again) continue;
    have_leave();
    said_at_once = true;
  }
  kill_all();
  end_server();
  remove_folder(order_.folder, order_.record);
}

// --- the server and the agents

void Keeper::start_server() {
  const OwnFd watch = server_->start();
  const Clock::time_point give_up = Clock::now() + kServerStart;
  while (!server_->takes_connections()) {
    if (!wait(give_up, watch.get())) return;
    if (!server_->runs() || Clock::now() >= give_up)
      throw std::runtime_error("nats-server does not start on " + order_.server.address + ": " + server_->last_word());
  }
}

// What is in the way now need not be later: the port may be somebody's for a moment, as that of an outgoing connection,
// and the machine short of something. The first start has no such patience: somebody waits for it who can mend things.
void Keeper::start_server_again() {
  if (server_->ends_again_and_again()) throw std::runtime_error("the server ends again and again");
  try {
    start_server();
  } catch (const std::exception& error) {
    server_->signal(SIGKILL);
    if (!server_->start_later()) throw;
    reports_.log(error.what());
  }
}

void Keeper::start_again(RunningLaunch& launch) {
  try {
    launch.start();
  } catch (const std::exception& error) {
    reports_.log(launch.where() + ": " + error.what());
    launch.start_later();
  }
}

void Keeper::end_server() {
  if (!server_ || !server_->runs()) return;
  server_->signal(SIGTERM);
  const Clock::time_point until = Clock::now() + kServerStop;
  while (server_->runs() && Clock::now() < until) wait(until);
  server_->signal(SIGKILL);
  while (server_->runs()) wait(Clock::now() + std::chrono::seconds(1));
}

void Keeper::have_leave() {
  for (RunningLaunch& one : launches_) one.leave();
}

void Keeper::kill_all() {
  for (RunningLaunch& one : launches_) one.end_agents();
  const Clock::time_point until = Clock::now() + std::chrono::seconds(5);
  while (any_runs() && Clock::now() < until) wait(until);
  for (const RunningLaunch& one : launches_) one.kill();
  while (any_runs()) wait(Clock::now() + std::chrono::seconds(1));
}

bool Keeper::any_runs() const {
  return std::any_of(launches_.begin(), launches_.end(), [](const RunningLaunch& one) { return one.runs(); });
}

// --- waiting

bool Keeper::wait(Clock::time_point until, int more) {
  std::vector<pollfd> waits = {
      {signals_.get(), POLLIN, 0}, {reports_.attached() ? STDIN_FILENO : -1, POLLIN, 0}, {more, POLLIN, 0}};
  const std::size_t first = waits.size();
  for (const RunningLaunch& one : launches_) waits.push_back({one.out_fd(), POLLIN, 0});
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
  const int most =
      until == Clock::time_point::max() ? -1 : static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000));
  ::poll(waits.data(), waits.size(), most);
  for (std::size_t i = 0; i < launches_.size(); ++i)
    if (waits[first + i].revents != 0) launches_[i].read_output();
  take_signals();
  if (reports_.attached() && waits[1].revents != 0) take_words();
  std::array<char, 4096> nothing{};
  if (waits[2].revents != 0) static_cast<void>(!::read(more, nothing.data(), nothing.size()));
  return !leaving_;
}

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
    reports_.detach();
    const OwnFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    ::dup2(nothing.get(), STDIN_FILENO);
    ::dup2(nothing.get(), STDOUT_FILENO);
    // What has ended since nobody listened any more was told to nobody.
    for (RunningLaunch& one : launches_)
      if (!one.runs()) one.start_later();
  } else if (got <= 0) {
    // Who started it is gone, and nobody uses the cluster yet.
    reports_.detach();
    leaving_ = at_once_ = true;
  }
}

void Keeper::reap() {
  if (server_)
    if (const std::optional<int> status = server_->take_end(); status)
      reports_.log("the server has ended: " + status_text(*status));
  for (RunningLaunch& one : launches_) {
    const std::optional<std::string> why = one.take_end();
    if (!why || leaving_) continue;
    if (reports_.attached())
      reports_.tell({"failed", one.where(), *why});
    else
      one.start_later();
  }
}

}  // namespace

int run_cluster_keeper() {
  std::string line;
  // Byte by byte: what follows is for later.
  for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n';) line += c;
  std::optional<KeeperOrder> order = parse_order(line);
  if (!order) {
    std::fputs("tandem: cluster-keeper is started by tandem cluster up, not by hand\n", stderr);
    return kExitBadInput;
  }
  return Keeper(std::move(*order)).run();
}

}  // namespace tandem::tool
