/// Pipes, socket pairs, and descriptors on their way through a socket.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <vector>

#include "core/system.hpp"

namespace tandem::detail {

/// The same as above_standard() of core/system.hpp, but throws std::system_error if there is no number left.
Fd above_standard(Fd fd, const char* what);

struct PipeEnds {
  Fd read;
  Fd write;
};
/// A pipe; both ends close on exec. `what` is for the text of the std::system_error.
PipeEnds make_pipe(const char* what);

struct SocketPair {
  Fd mine;
  Fd theirs;
};
/// Two connected sockets that keep messages whole; both close on exec.
SocketPair make_socket_pair(const char* what);

/// A copy for an inherited place; closes on exec. Throws std::system_error.
Fd duplicate(int fd, const char* what);

/// The most descriptors that one message can carry: the kernel's limit.
inline constexpr std::size_t kMaxDescriptors = 253;

/// Sends one message made of several parts, with descriptors. Returns an errno value, 0 if it is sent. `flags` as for
/// sendmsg(). SIGPIPE is never raised.
int send_parts(int socket, std::span<const iovec> parts, std::span<const int> descriptors, int flags = 0);
/// The same for a message of one part.
int send_message(int socket, const void* bytes, std::size_t size, std::span<const int> descriptors, int flags = 0);

/// What receive_parts() found.
struct Received {
  ssize_t size_bytes = -1;        ///< Of the message as it was sent; 0: the other side is gone; -1: see `error`.
  int error = 0;                  ///< An errno value.
  bool cut_short = false;         ///< It was longer than there was room for.
  bool lost_descriptors = false;  ///< This process has too many open to take those that came with it.
};
/// Receives one message into the parts, with its descriptors, which close on exec. `flags` as for recvmsg().
Received receive_parts(int socket, std::span<const iovec> parts, std::vector<Fd>& descriptors, int flags = 0);
/// Receives one message of exactly `size` bytes, with its descriptors (which close on exec). False if the other side is
/// gone, there is nothing (with MSG_DONTWAIT), or the message has another size: the three that mean "no message".
bool receive_message(int socket, void* bytes, std::size_t size, std::vector<Fd>& descriptors, int flags = 0);

}  // namespace tandem::detail
