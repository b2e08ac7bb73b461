/// Looking at a cluster from outside: which agents there are, and what waits.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tandem/cluster_options.hpp>

namespace tandem {
namespace detail {
class EngineObserver;
}

/// An agent, as it says itself. Value.
struct ClusterNode {
  std::string name{};
  std::string host{};
  /// Of its program: tasks go to agents of the client's own build only.
  std::string build_id{};
  std::size_t slots = 0;
  /// Tasks that it has, at most as many as its announcement has room for.
  std::size_t running = 0;
  /// It takes no more tasks and is about to go.
  bool leaving = false;
  /// How long ago it was heard. Agents say something once in a second.
  std::chrono::milliseconds silent{0};
};

/// What the server holds of a pool, of all clients and all builds. Value.
struct ClusterQueues {
  /// Tasks that wait or run.
  std::uint64_t tasks = 0;
  /// Results that their clients have not taken yet.
  std::uint64_t results = 0;
};

/// Somebody who only looks at a cluster, and leaves nothing there. Owner: move-only.
///
///   tandem::ClusterWatch watch("tls://head:4222", options);
///   while (watch.nodes().size() < 3 && watch.hear(10s)) continue;
///
/// Threads: every member may be called from any thread.
/// Errors: StateError from one that was moved from.
class ClusterWatch {
 public:
  /// Connects; of the options it uses the pool, what the server asks for and connect_wait. Throws as the constructor
  /// of a ClusterExecutor does.
  explicit ClusterWatch(const std::string& url, const ClusterOptions& options = {});
  ~ClusterWatch();
  ClusterWatch(ClusterWatch&&) noexcept;
  ClusterWatch& operator=(ClusterWatch&&) noexcept;

  /// The agents of the pool that were heard since this object was made, within the last minute, by name. All of those
  /// that there are have been heard after about a second.
  [[nodiscard]] std::vector<ClusterNode> nodes() const;
  /// Waits until an agent says something, at most `patience`; false if none did.
  bool hear(std::chrono::milliseconds patience);
  /// Empty if the server cannot be asked now. Two round trips.
  [[nodiscard]] std::optional<ClusterQueues> queues();

 private:
  detail::EngineObserver& observer() const;
  std::unique_ptr<detail::EngineObserver> observer_;
};

/// Checks what a ClusterExecutor would refuse before it connects: the url, the options, a server without protection.
/// Gives the url without secrets, fit for a log. Throws std::invalid_argument, without secrets as well.
std::string checked_cluster_url(const std::string& url, const ClusterOptions& options);

/// What the environment says of a cluster, as `tandem run --cluster` sets it: TANDEM_CLUSTER_URL and the variables that
/// docs/cluster.md lists, which stay there. Value.
struct ClusterEnvironment {
  std::string url{};
  ClusterOptions options{};
};
/// Empty if there is no TANDEM_CLUSTER_URL. `options`: what the environment says nothing of; what it does say wins over
/// the defaults only. Throws std::invalid_argument for what cannot be understood, or a token that cannot be read.
std::optional<ClusterEnvironment> cluster_environment(ClusterOptions options = {});

}  // namespace tandem
