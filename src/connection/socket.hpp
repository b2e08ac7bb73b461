/// Sockets that listen and connect: the system calls, each wrapped once.
#pragma once

#include <sys/types.h>

#include <string>

#include <tandem/detail/deadline.hpp>

#include "connection/address.hpp"
#include "core/system.hpp"

namespace tandem::detail {

/// A socket that listens; it never waits. Throws std::system_error naming the address.
Fd listen_at(const SocketAddress& address, int backlog);
/// The next that has connected. Empty if there is none; `error` is then 0, or why the system gives none.
Fd accept_one(int listener, int& error);
/// Connects. Throws std::system_error naming the address, also if the time is over.
Fd connect_to(const SocketAddress& address, const Deadline& deadline);
/// Whether the other side is a process of the same user; only for the Unix family.
bool peer_is_of_this_user(int fd);

}  // namespace tandem::detail
