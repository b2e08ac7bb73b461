/// Addresses of sockets: "unix:/path", "unix:@name", "tcp:host:port".
#pragma once

#include <sys/socket.h>

#include <string>
#include <vector>

namespace tandem::detail {

/// An address as the kernel takes it. Value.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  int family() const noexcept { return storage.ss_family; }
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  /// The path of "unix:/path"; empty for all others.
  std::string path() const;
  std::string text() const;
};

/// What a text stands for; a host may have several addresses. Throws std::invalid_argument for a text that is no
/// address or of a family that there is not; std::system_error if the host cannot be found.
std::vector<SocketAddress> parse_address(const std::string& text);
/// The address that a socket is bound to.
SocketAddress local_address(int fd);

}  // namespace tandem::detail
