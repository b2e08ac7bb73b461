/// What passes between a process and its fork server.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>

#include <tandem/detail/shared_object.hpp>

#include "core/system.hpp"
#include "process/pidfd.hpp"

namespace tandem::detail {

/// A server as its client knows it.
struct Server {
  std::uint64_t generation = 0;
  pid_t pid = 0;
  Fd pidfd;
  Fd socket;
  /// The watcher has seen its end, and everything that it had to say.
  std::atomic<bool> gone{false};
};

/// To the server: start a child. Its descriptors, in this order: the channel, the working directory, those of the
/// standard streams that are open, those of the arguments.
struct StartRequest {
  /// In place of a number: start nothing, but end.
  static constexpr std::uint64_t kFarewell = 0;

  std::uint64_t number;  // The client's name for the child.
  ObjectId parcel;
  std::uint32_t streams;  // Bit 0, 1, 2: standard input, output, error are among the descriptors.
  std::uint32_t unused;
};

/// From the server: a child has ended. Sent before the status is taken from the kernel, so that no status is ever lost.
struct EndReport {
  std::uint64_t number;
  std::int32_t pid;
  std::int32_t exit_code;
  std::int32_t signal;
  std::uint32_t unused;
  ProcessUsage usage;
};

/// Over the channel, from the child itself with a pidfd of its own: it has begun and holds its parcel. Or from the
/// server: it could not be forked.
struct StartReply {
  std::int32_t error;  // An errno value; 0: it has begun.
  std::int32_t pid;
};

/// The server's life: forks what it is asked for until the client is gone. `socket` is the client's other end.
[[noreturn]] void run_fork_server(Fd socket);

}  // namespace tandem::detail
