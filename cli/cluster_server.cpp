#include "cluster_server.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

namespace tandem::tool {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// A server that dies so often within this time of its start does so for a reason.
constexpr int kMostShortLives = 5;
constexpr milliseconds kShortLife{2000};
// A start that failed is tried again after this time, twice as long each time, at most so long.
constexpr milliseconds kAgainFirst{200}, kAgainMost{5000};
// For as long as that: what waits for the server is not lost meanwhile.
constexpr std::chrono::minutes kPatience{10};

std::string make_store(const KeeperOrder& order) {
  std::string store = order.server.store_parent + "/tandem-" + order.record.name + "-XXXXXX";
  if (::mkdtemp(store.data()) == nullptr)
    throw std::system_error(errno, std::generic_category(), "cannot make " + store);
  return store;
}

}  // namespace

ClusterServer::ClusterServer(const KeeperOrder& order)
    : order_(order.server),
      folder_(order.folder),
      token_(order.plan.variables.at("TANDEM_CLUSTER_TOKEN")),
      store_(make_store(order)),
      port_(order.server.port) {}

void ClusterServer::write_configuration() const {
  std::string text = fmt::format(
      "listen: \"{}:{}\"\nports_file_dir: \"{}\"\nmax_payload: 8MB\nauthorization {{ token: \"{}\" }}\n"
      "jetstream {{ store_dir: \"{}\", max_mem: 1GB }}\n",
      order_.address, port_ == 0 ? -1 : port_, folder_, token_, store_);
  if (order_.tls)
    // A busy machine takes longer for a handshake than the usual 2 s.
    text += fmt::format(
        "tls {{ cert_file: \"{0}/server.pem\", key_file: \"{0}/server.key\", ca_file: \"{0}/ca.pem\", timeout: 30{1} "
        "}}\n",
        folder_, order_.mutual ? ", verify: true" : "");
  write_private_file(folder_ + "/nats.conf", text);
}

OwnFd ClusterServer::start() {
  took_connections_ = false;
  write_configuration();
  OwnFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch || ::inotify_add_watch(watch.get(), folder_.c_str(), IN_CLOSE_WRITE) < 0)
    throw std::system_error(errno, std::generic_category(), "cannot watch " + folder_);
  const OwnFd log(::open((folder_ + "/server.log").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  ChildSetup setup;
  setup.words = {order_.program, "-c", folder_ + "/nats.conf"};
  setup.out_fd = setup.err_fd = log.get();
  setup.bound = true;
  pid_ = start_child(setup);
  since_ = Clock::now();
  return watch;
}

bool ClusterServer::takes_connections() {
  // {"nats":["nats://10.1.2.3:4567"]}
  const std::string ports = fmt::format("{}/nats-server_{}.ports", folder_, pid_);
  std::ifstream file(ports);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const std::size_t at = text.find(order_.address + ":");
  if (at == std::string::npos || text.find(']') == std::string::npos) return false;
  port_ = static_cast<std::uint16_t>(std::stoi(text.substr(at + order_.address.size() + 1)));
  std::error_code ignored;
  std::filesystem::remove(ports, ignored);
  took_connections_ = true;
  failing_since_.reset();
  start_at_ = {};
  return true;
}

std::string ClusterServer::url() const {
  return fmt::format("{}://{}:{}", order_.tls ? "tls" : "nats", order_.address, port_);
}

std::string ClusterServer::last_word() const {
  std::ifstream lines(folder_ + "/server.log");
  std::string line, last;
  while (std::getline(lines, line))
    if (!line.empty()) last = line;
  return last;
}

void ClusterServer::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

std::optional<int> ClusterServer::take_end() {
  int status = 0;
  if (pid_ <= 0 || ::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = -1;
  if (took_connections_) short_lives_ = Clock::now() - since_ < kShortLife ? short_lives_ + 1 : 0;
  return status;
}

bool ClusterServer::ends_again_and_again() const {
  return short_lives_ > kMostShortLives;
}

bool ClusterServer::start_later() {
  const Clock::time_point now = Clock::now();
  start_after_ = failing_since_ ? std::min(kAgainMost, start_after_ * 2) : kAgainFirst;
  if (!failing_since_) failing_since_ = now;
  start_at_ = now + start_after_;
  return now - *failing_since_ < kPatience;
}

}  // namespace tandem::tool
