#include "cluster/private_server.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <random>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <tandem/cluster_options.hpp>

#include "process/executed_child.hpp"

namespace tandem::detail {
namespace {

// On a busy machine; it takes some 30 ms otherwise.
constexpr std::chrono::seconds kStartLimit{60};
// What a process that is being killed may still take to be dead, on a busy machine.
constexpr std::chrono::milliseconds kRemoveLimit{1000}, kRemovePause{10};

std::string find_program() {
  const char* const path = std::getenv("PATH");
  // Debian puts it where the search path of a user may not lead.
  std::stringstream folders(std::string(path != nullptr ? path : "") + ":/usr/sbin:/usr/local/sbin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string program = folder + "/nats-server";
    if (!folder.empty() && ::access(program.c_str(), X_OK) == 0) return program;
  }
  throw ClusterError("there is no nats-server in the search path, which a local cluster needs");
}

std::string random_loopback() {
  std::random_device device;
  std::uniform_int_distribution<int> byte(1, 254);
  return fmt::format("127.{}.{}.{}", byte(device), byte(device), byte(device));
}

std::string random_secret() {
  std::random_device device;  // The kernel's.
  std::string secret;
  for (int i = 0; i < 8; ++i) secret += fmt::format("{:08x}", device());
  return secret;
}

}  // namespace

std::filesystem::path free_folder_name() {
  const char* const temporary = std::getenv("TMPDIR");
  return std::filesystem::path(temporary != nullptr && *temporary != '\0' ? temporary : "/tmp") /
         ("tandem-cluster-" + random_secret().substr(0, 16));
}

void remove_folder_of_the_dying(const std::filesystem::path& folder) noexcept {
  const auto give_up = std::chrono::steady_clock::now() + kRemoveLimit;
  for (;;) {
    // One look begins after the limit, however long the one before it took.
    const bool last = std::chrono::steady_clock::now() > give_up;
    std::error_code error;
    std::filesystem::remove_all(folder, error);
    if (!error || last) return;
    std::this_thread::sleep_for(kRemovePause);
  }
}

PrivateFolder::PrivateFolder(std::filesystem::path path) : path_(std::move(path)) {
  if (::mkdir(path_.c_str(), 0700) != 0) throw_errno("cannot make the folder " + path_.string());
}

PrivateFolder::~PrivateFolder() {
  remove_folder_of_the_dying(path_);
}

PrivateServer::PrivateServer(std::filesystem::path folder)
    : folder_(std::move(folder)), path_(find_program()), host_(random_loopback()), token_(random_secret()) {}

std::string PrivateServer::url() const {
  return fmt::format("nats://{}:{}", host_, port_);
}

std::string PrivateServer::log() const {
  return read_small_file(folder_ / "log");
}

void PrivateServer::write_configuration() const {
  const std::filesystem::path path = folder_ / "nats.conf";
  const std::string text = fmt::format(
      "listen: \"{}:{}\"\nports_file_dir: \"{}\"\nmax_payload: 8MB\nauthorization {{ token: \"{}\" }}\n"
      "jetstream {{ store_dir: \"{}\", max_mem: 1GB, max_file: 64GB }}\n",
      host_, port_ == 0 ? -1 : port_, folder_.string(), token_, (folder_ / "store").string());
  const Fd file = open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!file || retry_on_signal([&] { return ::write(file.get(), text.data(), text.size()); }) !=
                   static_cast<ssize_t>(text.size()))
    throw_errno("cannot write " + path.string());
}

void PrivateServer::start(int stop_fd, int life_fd) {
  const auto give_up = std::chrono::steady_clock::now() + kStartLimit;
  for (;;) {
    write_configuration();
    const Fd watch(::inotify_init1(IN_CLOEXEC));
    if (!watch || ::inotify_add_watch(watch.get(), folder_.c_str(), IN_CLOSE_WRITE) < 0)
      throw_errno("cannot watch " + folder_.string());
    const Fd log_file = open_file(folder_ / "log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    program_ = BoundProgram(path_, {path_, "-c", folder_ / "nats.conf"}, environment_with({}), log_file.get());
    if (wait_for_port(watch.get(), folder_ / fmt::format("nats-server_{}.ports", program_.pid()), stop_fd, life_fd))
      return;
    // A killed server's port may be somebody's for a moment, as that of an outgoing connection.
    if (port_ == 0 || std::chrono::steady_clock::now() > give_up ||
        log().find("address already in use") == std::string::npos)
      throw ClusterError("nats-server does not start:\n" + log());
  }
}

bool PrivateServer::wait_for_port(int watch, const std::filesystem::path& ports, int stop_fd, int life_fd) {
  const auto give_up = std::chrono::steady_clock::now() + kStartLimit;
  for (;;) {
    // {"nats":["nats://127.1.2.3:4567"]}
    const std::string text = read_small_file(ports);
    const std::size_t at = text.find(host_ + ":");
    if (at != std::string::npos && text.find(']') != std::string::npos) {
      port_ = static_cast<std::uint16_t>(std::stoi(text.substr(at + host_.size() + 1)));
      std::error_code ignored;
      std::filesystem::remove(ports, ignored);
      return true;
    }
    if (std::chrono::steady_clock::now() > give_up) throw ClusterError("nats-server does not start:\n" + log());
    std::array<pollfd, 4> waits = {pollfd{watch, POLLIN, 0}, pollfd{program_.pidfd(), POLLIN, 0},
                                   pollfd{stop_fd, POLLIN, 0}, pollfd{life_fd, 0, 0}};
    retry_on_signal([&] { return ::poll(waits.data(), waits.size(), 1000); });
    if (waits[2].revents != 0 || waits[3].revents != 0) return true;
    std::array<char, 4096> events{};
    if ((waits[0].revents & POLLIN) != 0) static_cast<void>(!::read(watch, events.data(), events.size()));
    if (program_.reap()) return false;
  }
}

}  // namespace tandem::detail
