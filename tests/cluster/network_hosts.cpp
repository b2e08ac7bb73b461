#include "cluster/network_hosts.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace tandem::testing {
namespace {

/// What a command says if it fails; empty if it does not. Its words are this file's own.
std::string failure_of(const std::string& words) {
  std::FILE* const pipe = ::popen((find_ip() + " " + words + " 2>&1").c_str(), "re");
  if (pipe == nullptr) return "cannot be started";
  std::string said;
  std::array<char, 256> part{};
  while (const std::size_t size = std::fread(part.data(), 1, part.size(), pipe)) said.append(part.data(), size);
  const int status = ::pclose(pipe);
  return status == 0 ? std::string() : said + fmt::format(" (status {})", status);
}

void run_ip(const std::string& words) {
  if (const std::string failure = failure_of(words); !failure.empty())
    throw std::runtime_error(fmt::format("ip {}: {}", words, failure));
}

// Names that say whose they are: of a test that was killed they are left.
std::string prefix_of(pid_t pid) {
  return fmt::format("tt{}", pid);
}

void remove_left_behind() {
  std::error_code none;
  for (const auto& file : std::filesystem::directory_iterator("/run/netns", none)) {
    const std::string name = file.path().filename();
    if (!name.starts_with("tt") || name.find('h') == std::string::npos) continue;
    const pid_t pid = std::atoi(name.c_str() + 2);
    if (pid <= 0 || ::kill(pid, 0) == 0 || errno != ESRCH) continue;
    static_cast<void>(failure_of("netns delete " + name));
    static_cast<void>(failure_of(fmt::format("link delete {}b", prefix_of(pid))));
  }
}

}  // namespace

std::string find_ip() {
  for (const char* path : {"/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"}) {
    if (::access(path, X_OK) == 0) return path;
  }
  throw std::runtime_error("there is no ip, which these tests need: install iproute2");
}

NetworkHosts::NetworkHosts(std::size_t count) {
  remove_left_behind();
  const pid_t pid = ::getpid();
  subnet_ = fmt::format("10.{}.{}.", 64 + (pid >> 8) % 128, pid % 256);
  bridge_ = prefix_of(pid) + "b";
  try {
    run_ip(fmt::format("link add {} type bridge", bridge_));
    run_ip(fmt::format("addr add {}/24 dev {}", own_address(), bridge_));
    run_ip(fmt::format("link set {} up", bridge_));
    for (std::size_t at = 0; at < count; ++at) {
      const std::string network = fmt::format("{}h{}", prefix_of(pid), at);
      const std::string link = fmt::format("{}v{}", prefix_of(pid), at);
      run_ip("netns add " + network);
      networks_.push_back(network);
      links_.push_back(link);
      run_ip(fmt::format("link add {} type veth peer name eth0 netns {}", link, network));
      run_ip(fmt::format("link set {} master {} up", link, bridge_));
      run_ip(fmt::format("-n {} addr add {}/24 dev eth0", network, address(at)));
      run_ip(fmt::format("-n {} link set eth0 up", network));
      run_ip(fmt::format("-n {} link set lo up", network));
    }
  } catch (...) {
    remove();
    throw;
  }
}

NetworkHosts::~NetworkHosts() {
  remove();
}

void NetworkHosts::remove() const noexcept {
  try {
    for (const std::string& link : links_) static_cast<void>(failure_of("link delete " + link));
    for (const std::string& network : networks_) static_cast<void>(failure_of("netns delete " + network));
    static_cast<void>(failure_of("link delete " + bridge_));
  } catch (const std::exception&) {
    // Left for the next test.
  }
}

void NetworkHosts::cut(std::size_t at) const {
  run_ip(fmt::format("link set {} down", links_.at(at)));
}

void NetworkHosts::join(std::size_t at) const {
  run_ip(fmt::format("link set {} up", links_.at(at)));
}

}  // namespace tandem::testing
