#include "connection/address.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <system_error>

#include "core/blocking.hpp"
#include "core/system.hpp"

namespace tandem::detail {
namespace {

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
  throw std::invalid_argument("address '" + text + "': " + why);
}

SocketAddress parse_unix(const std::string& text, const std::string& name) {
  const bool has_no_file = name.starts_with('@');
  if (name.size() <= (has_no_file ? 1U : 0U)) refuse(text, "a path or a name is missing behind unix:");
  if (name.find('\0') != std::string::npos) refuse(text, "a zero character in a path");
  SocketAddress address;
  auto& parts = reinterpret_cast<sockaddr_un&>(address.storage);
  if (name.size() >= sizeof parts.sun_path)
    refuse(text, "longer than the " + std::to_string(sizeof parts.sun_path - 1) + " bytes that the system takes");
  parts.sun_family = AF_UNIX;
  std::memcpy(parts.sun_path, name.data(), name.size());
  if (has_no_file) parts.sun_path[0] = '\0';
  // A name without a file ends where the address does; a path has a zero behind it.
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (has_no_file ? 0 : 1));
  return address;
}

std::vector<SocketAddress> parse_tcp(const std::string& text, const std::string& place) {
  const std::size_t colon = place.rfind(':');
  if (colon == std::string::npos) refuse(text, "a port is missing");
  std::string host = place.substr(0, colon);
  const std::string port = place.substr(colon + 1);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos ||
      std::stoi(port) > 65535)
    refuse(text, "'" + port + "' is no port");
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    refuse(text, "an IPv6 address must stand in brackets");
  }
  if (host.empty()) refuse(text, "a host is missing; 0.0.0.0 or [::] is every address of this machine");
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int error = 0;
  {
    const BlockingSection blocking;  // A name server may be asked.
    error = ::getaddrinfo(host.c_str(), port.c_str(), &wanted, &found);
  }
  if (error != 0)
    throw std::system_error(std::make_error_code(std::errc::host_unreachable),
                            "cannot find host '" + host + "' (" + ::gai_strerror(error) + ")");
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
    address.length = one->ai_addrlen;
  }
  return addresses;
}

}  // namespace

std::string SocketAddress::path() const {
  if (family() != AF_UNIX || reinterpret_cast<const sockaddr_un&>(storage).sun_path[0] == '\0') return "";
  return text().substr(5);
}

std::string SocketAddress::text() const {
  if (family() == AF_UNIX) {
    const auto& parts = reinterpret_cast<const sockaddr_un&>(storage);
    const std::size_t size = length - offsetof(sockaddr_un, sun_path);
    if (size > 0 && parts.sun_path[0] == '\0') return "unix:@" + std::string(parts.sun_path + 1, size - 1);
    return "unix:" + std::string(parts.sun_path, ::strnlen(parts.sun_path, size));
  }
  char host[NI_MAXHOST] = "?";
  char port[NI_MAXSERV] = "?";
  static_cast<void>(
      ::getnameinfo(get(), length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV));
  return family() == AF_INET6 ? "tcp:[" + std::string(host) + "]:" + port : "tcp:" + std::string(host) + ":" + port;
}

std::vector<SocketAddress> parse_address(const std::string& text) {
  if (text.starts_with("unix:")) return {parse_unix(text, text.substr(5))};
  if (text.starts_with("tcp:")) return parse_tcp(text, text.substr(4));
  refuse(text, "of no family that there is here; there are unix:/path, unix:@name and tcp:host:port");
}

SocketAddress local_address(int fd) {
  SocketAddress address;
  address.length = sizeof address.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0)
    throw_errno("cannot ask a socket for its address");
  return address;
}

}  // namespace tandem::detail
