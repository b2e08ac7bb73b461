/// What a child must know at its start besides the call that it runs: the first part of its parcel.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <tandem/log.hpp>
#include <tandem/start_method.hpp>

namespace tandem::detail {

/// Value; travels at the front of the parcel. (A forked child finds the parent's copy in its memory.)
struct ChildSetup {
  std::string name;
  bool daemon = false;
  StartMethod method = StartMethod::ForkServer;
  pid_t parent_pid = 0;
  std::string parent_name;
  bool crash_handler = true;
  bool wants_stop_token = false;

  // What the child takes over as a forked one would.
  StartMethod default_method = StartMethod::ForkServer;
  ForkThreadPolicy fork_threads = ForkThreadPolicy::Warn;
  std::size_t thread_stack_bytes = 0;
  std::optional<LogLevel> log_level;  // Empty: the child was given a TANDEM_LOG of its own.

  // Only for a child of the server: what a child of the parent itself gets from the kernel. Other such things are in
  // Inheritance.
  std::string environment;  // "NAME=value", each with its zero

  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, daemon, method, parent_pid, parent_name, crash_handler, wants_stop_token, default_method,
            fork_threads, thread_stack_bytes, log_level, environment);
  }
};

/// What a child of the server gets from its parent by way of its record, because the parent finds it out while the
/// server is at work. All zeros at first.
struct Inheritance {
  /// A futex: 1 once the rest is written.
  std::atomic<std::uint32_t> complete;
  std::uint32_t file_mode_mask;
  // Bit n - 1 is signal n.
  std::uint64_t blocked_signals;
  std::uint64_t ignored_signals;

  /// Writes this process's mask and ignored signals, and the calling thread's blocked ones. Never fails: a child waits
  /// for it.
  void bequeath() noexcept;
  /// Waits for it, and makes it so in this child of the server.
  void take_over();
};
static_assert(sizeof(Inheritance) == 24, "layout in shared memory");

/// In the fork server, when it has set up its own signals.
void remember_signals();

}  // namespace tandem::detail
