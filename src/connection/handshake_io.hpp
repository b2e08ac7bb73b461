/// A handshake over a socket.
#pragma once

#include <string>

#include <tandem/detail/deadline.hpp>

#include "connection/handshake.hpp"

namespace tandem::detail {

/// How far a handshake is.
enum class Progress { Waiting, Done, Failed };

/// Sends and receives what can be now; never waits, and takes not a byte of what comes behind the handshake.
Progress advance(Handshake& handshake, int fd);

/// Runs it to its end. Throws AuthenticationError if it fails; std::system_error if the time is over. `address` is for
/// the texts.
void run_handshake(Handshake& handshake, int fd, const Deadline& deadline, const std::string& address);

}  // namespace tandem::detail
