/// What a child must know at its start besides the call that it runs: the first part of its parcel.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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

  // Only for a child of the server: what a child of the parent itself gets from the kernel.
  std::vector<std::string> environment;  // "NAME=value"
  std::uint64_t blocked_signals = 0;     // Bit n - 1 is signal n.
  std::uint64_t ignored_signals = 0;
  std::uint32_t file_mode_mask = 0;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, daemon, method, parent_pid, parent_name, crash_handler, wants_stop_token, default_method,
            fork_threads, thread_stack_bytes, log_level, environment, blocked_signals, ignored_signals, file_mode_mask);
  }
};

/// Reads what a child of the server cannot inherit: the signals of the calling thread and of this process.
void note_signals(ChildSetup& setup);
/// Makes them so in the child.
void apply_signals(const ChildSetup& setup);

}  // namespace tandem::detail
