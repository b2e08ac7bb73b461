/// How a ClusterExecutor finds its agents, and what a local cluster is made of.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include <tandem/error.hpp>
#include <tandem/executor_options.hpp>

namespace tandem {

/// A cluster cannot be used: its server cannot be reached, refuses this side, or cannot be started. Names the server.
class ClusterError : public Error {
 public:
  using Error::Error;
};

/// Files in PEM form for a connection by TLS, or the text of such a file, which begins with "-----BEGIN". Value.
struct ClusterTls {
  /// Whom the server's certificate must be signed by. Empty: the system's authorities.
  std::string ca_file{};
  /// What this side shows the server if that asks for it (mutual TLS): both or none. The key is not encrypted.
  std::string certificate_file{};
  std::string key_file{};
};

/// How a ClusterExecutor differs from the usual one. Value.
struct ClusterOptions {
  /// Those who meet have the same pool: letters, digits, '-' and '_', at most 64.
  std::string pool = "default";
  /// What the server asks for. An empty token: the one in the url, or in the environment variable TANDEM_CLUSTER_TOKEN.
  std::string token{};
  std::string user{};
  std::string password{};
  std::optional<ClusterTls> tls{};
  /// Allows a server on anything but loopback without credentials or without TLS, which is refused otherwise: whoever
  /// can write to its queues can make agents run any function that this program hands to a ClusterExecutor.
  bool allow_unprotected_server = false;
  /// After how long without a sign of life of its agent a task goes to another one; that of the agents, which is not
  /// checked. From 100 to 1,000,000,000 ms. A LocalCluster says its own.
  std::chrono::milliseconds lease_time{10000};
  /// After how long without a sign of life of this program agents stop its tasks, and drop those that wait: it is dead,
  /// or finds out when it is back and submits them again. That of the agents, which is not checked. From 1000 to
  /// 1,000,000,000 ms. A LocalCluster says its own.
  std::chrono::milliseconds client_silence{60000};
  /// How long the first connection may take.
  std::chrono::milliseconds connect_wait{10000};
  /// On how many servers of a cluster of servers tasks and results are kept; more than before, if the pool's queues are
  /// there already and on fewer. 1 to 5: with 3 one of three servers may be lost for good. For a LocalCluster it is 1.
  int replicas = 1;
  /// How many agents a task may be handed to that come back with no result, because they or their machines died, before
  /// it fails with TaskCrashed. At least 1.
  unsigned most_deliveries = 5;
  /// Of ExecutorOptions: the name, the backlog, tasks and the trace, and how many tasks are out at once. Empty
  /// `workers`: as many as the agents have room for. What is about threads and about processes is the agents' own.
  ExecutorOptions executor{};
};

/// How a local cluster differs from the usual one. Value.
struct LocalClusterOptions {
  /// How many agents, 1 to 1024.
  std::size_t agents = 1;
  /// How many tasks each of them runs at once. Empty: cpu_count(), divided among them.
  std::optional<std::size_t> slots{};
  /// As ClusterOptions::lease_time.
  std::chrono::milliseconds lease_time{5000};
  /// As ClusterOptions::client_silence. Of programs that came to it by its url: when the one that made it is gone, all
  /// of it is.
  std::chrono::milliseconds client_silence{60000};
};

}  // namespace tandem
