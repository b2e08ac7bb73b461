/// The life of an agent: this program, started to work for others.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "cluster/engine_options.hpp"

namespace tandem::detail {

struct AgentSettings {
  EngineOptions engine;
  std::string node{};
  /// How many tasks it runs at once, each in a process of its own.
  std::size_t slots = 1;
  /// Of clients' values that it keeps for their next tasks: the most bytes.
  std::uint64_t cache_bytes = std::uint64_t{1} << 30;
  /// How long tasks that run at a SIGTERM have to end; what runs then goes to another agent. Less than what schedulers
  /// give a job before they kill it, which is 30 s with most.
  std::chrono::milliseconds drain_time{20000};
};

/// Works until SIGTERM or SIGINT: then it takes no more tasks, waits for those that run, gives back what takes too long
/// (at once at a second signal), and returns 0. Returns 1 if the server does not accept it any more. Throws
/// std::invalid_argument, ClusterError if it cannot begin.
///
/// Killed peers: a task that dies with its process costs itself only. If this process is killed, its workers are too,
/// and its tasks go to other agents when their leases end.
int run_agent(const AgentSettings& settings);

}  // namespace tandem::detail
