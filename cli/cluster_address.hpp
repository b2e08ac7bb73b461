/// Which address of this machine a server takes, so that hosts reach it. IPv4.
#pragma once

#include <string>
#include <vector>

namespace tandem::tool {

/// The address that packets to a host come from: one of loopback only if no host leads anywhere else. If no host is
/// known here, what this machine's own name says. Looks names up, and sends nothing to the hosts. Throws BadInput if it
/// cannot be told.
std::string reachable_address(const std::vector<std::string>& hosts);

/// Whether the text is an address that one machine can have: not a name, and not 0.0.0.0.
bool is_address(const std::string& text);
/// An address of loopback, or localhost.
bool is_loopback(const std::string& address);

}  // namespace tandem::tool
