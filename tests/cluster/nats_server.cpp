#include "cluster/nats_server.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "core/system.hpp"

namespace tandem::testing {
namespace {

using detail::Fd;

constexpr std::chrono::seconds kStartLimit{60};

std::string find_program() {
  const char* path = std::getenv("PATH");
  // Debian puts it where the search path of a user may not lead.
  std::stringstream folders(std::string(path != nullptr ? path : "") + ":/usr/sbin:/usr/local/sbin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string program = folder + "/nats-server";
    if (!folder.empty() && ::access(program.c_str(), X_OK) == 0) return program;
  }
  throw std::runtime_error("there is no nats-server, which these tests need: install what packages.txt names");
}

std::string read_file(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace

std::string random_loopback() {
  std::random_device device;
  std::uniform_int_distribution<int> byte(1, 254);
  return fmt::format("127.{}.{}.{}", byte(device), byte(device), byte(device));
}

std::string random_secret() {
  std::random_device device;
  std::string secret;
  for (int i = 0; i < 8; ++i) secret += fmt::format("{:08x}", device());
  return secret;
}

NatsServer::NatsServer(NatsServerSettings settings)
    : settings_(std::move(settings)),
      directory_("nats"),
      host_(settings_.host.empty() ? random_loopback() : settings_.host) {}

NatsServer::~NatsServer() {
  kill();
}

void NatsServer::write_configuration() const {
  const std::filesystem::path path = directory_.path() / "nats.conf";
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  std::string text = fmt::format(
      "listen: \"{}:{}\"\nports_file_dir: \"{}\"\nmax_payload: {}\n"
      "jetstream {{ store_dir: \"{}\", max_mem: 256MB, max_file: {} }}\n",
      host_, port_ == 0 ? -1 : port_, directory_.path().string(), settings_.max_payload, store().string(),
      settings_.max_file);
  if (!settings_.token.empty()) text += fmt::format("authorization {{ token: \"{}\" }}\n", settings_.token);
  if (!settings_.certificate_file.empty()) {
    // The server gives a handshake 2 s otherwise, which a busy machine may need.
    text += fmt::format("tls {{ timeout: 30, cert_file: \"{}\", key_file: \"{}\"", settings_.certificate_file,
                        settings_.key_file);
    if (!settings_.client_ca_file.empty())
      text += fmt::format(", ca_file: \"{}\", verify: true", settings_.client_ca_file);
    text += " }\n";
  }
  if (!settings_.name.empty()) {
    text += fmt::format("server_name: {}\ncluster {{ name: tandem, listen: \"{}\", routes: [", settings_.name,
                        settings_.route_address);
    for (const std::string& route : settings_.routes) text += fmt::format("\"nats-route://{}\", ", route);
    text += " ] }\n";
  }
  if (!settings_.mappings.empty()) text += "mappings {\n";
  for (const auto& [from, to] : settings_.mappings) text += fmt::format("  \"{}\": \"{}\"\n", from, to);
  if (!settings_.mappings.empty()) text += "}\n";
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    detail::throw_errno("cannot write " + path.string());
}

void NatsServer::start() {
  if (pid_ > 0) return;
  const auto give_up = std::chrono::steady_clock::now() + kStartLimit;
  // A killed server's port may be somebody's for a moment, as that of an outgoing connection.
  while (!try_start()) {
    if (std::chrono::steady_clock::now() > give_up) throw std::runtime_error("nats-server does not start:\n" + log());
  }
}

bool NatsServer::try_start() {
  const std::string program = find_program();
  const std::string configuration = directory_.path() / "nats.conf";
  const std::string log_path = directory_.path() / "log";
  write_configuration();
  const Fd watch(::inotify_init1(IN_CLOEXEC));
  if (!watch || ::inotify_add_watch(watch.get(), directory_.path().c_str(), IN_CLOSE_WRITE) < 0)
    detail::throw_errno("cannot watch " + directory_.path().string());
  const Fd log_file(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  std::array<char*, 4> argv = {const_cast<char*>(program.c_str()), const_cast<char*>("-c"),
                               const_cast<char*>(configuration.c_str()), nullptr};
  const Fd network(
      settings_.network.empty() ? -1 : ::open(("/run/netns/" + settings_.network).c_str(), O_RDONLY | O_CLOEXEC));
  if (!network && !settings_.network.empty()) detail::throw_errno("cannot open the network " + settings_.network);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) detail::throw_errno("cannot fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent || (network && ::setns(network.get(), CLONE_NEWNET) != 0)) ::_exit(127);
    ::dup2(log_file.get(), STDOUT_FILENO);
    ::dup2(log_file.get(), STDERR_FILENO);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  wait_for_port(watch.get(), directory_.path() / fmt::format("nats-server_{}.ports", pid_));
  return pid_ > 0;
}

void NatsServer::wait_for_port(int watch, const std::filesystem::path& ports) {
  const Fd end(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  const auto give_up = std::chrono::steady_clock::now() + kStartLimit;
  for (;;) {
    const std::string text = read_file(ports);
    // {"nats":["nats://127.1.2.3:4567"]}
    // With a cluster there is a list of its own for that, on another line or behind.
    const std::size_t list = text.find("\"nats\"");
    const std::size_t at = list != std::string::npos ? text.find(host_ + ":", list) : list;
    if (at != std::string::npos && text.find(']', at) != std::string::npos) {
      port_ = static_cast<std::uint16_t>(std::stoi(text.substr(at + host_.size() + 1)));
      return;
    }
    if (std::chrono::steady_clock::now() > give_up) throw std::runtime_error("nats-server does not start:\n" + log());
    std::array<pollfd, 2> waits = {pollfd{watch, POLLIN, 0}, pollfd{end.get(), POLLIN, 0}};
    detail::retry_on_signal([&] { return ::poll(waits.data(), waits.size(), 1000); });
    std::array<char, 4096> events{};
    if ((waits[0].revents & POLLIN) != 0) static_cast<void>(::read(watch, events.data(), events.size()));
    if ((waits[1].revents & POLLIN) != 0) {
      ::waitpid(pid_, nullptr, 0);
      pid_ = -1;
      if (port_ == 0 || log().find("address already in use") == std::string::npos)
        throw std::runtime_error("nats-server ends at once:\n" + log());
      return;
    }
  }
}

void NatsServer::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  std::error_code ignored;
  std::filesystem::remove(directory_.path() / fmt::format("nats-server_{}.ports", pid_), ignored);
  pid_ = -1;
}

void NatsServer::set_mappings(std::map<std::string, std::string> mappings) {
  settings_.mappings = std::move(mappings);
  write_configuration();
  ::kill(pid_, SIGHUP);
}

void NatsServer::pause() {
  ::kill(pid_, SIGSTOP);
  // Its threads run on until one of them has taken the signal.
  detail::retry_on_signal([&] { return ::waitpid(pid_, nullptr, WUNTRACED); });
}

void NatsServer::go_on() {
  ::kill(pid_, SIGCONT);
}

std::string NatsServer::log() const {
  return read_file(directory_.path() / "log");
}

}  // namespace tandem::testing
