#include "cluster_address.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <optional>

#include "bad_input.hpp"
#include "cluster_program.hpp"
#include "cluster_state.hpp"

namespace tandem::tool {
namespace {

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

}  // namespace

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

bool is_address(const std::string& text) {
  in_addr parsed{};
  return ::inet_pton(AF_INET, text.c_str(), &parsed) == 1 && parsed.s_addr != INADDR_ANY;
}

bool is_loopback(const std::string& address) {
  in_addr parsed{};
  return address == "localhost" || (::inet_pton(AF_INET, address.c_str(), &parsed) == 1 && is_loopback(parsed));
}

}  // namespace tandem::tool
