/// From the start of a keeper until its cluster is up.
#pragma once

#include <chrono>
#include <set>
#include <string>
#include <tandem/cluster_status.hpp>
#include <vector>

#include "cluster_started_keeper.hpp"

namespace tandem::tool {

/// Waits until the server takes connections, all agents were started, and each was heard there. For one thread; refers
/// to the keeper and the order.
class Arrival {
 public:
  /// `options`: how a client reaches the server.
  Arrival(StartedKeeper& keeper, const KeeperOrder& order, ClusterOptions options,
          std::chrono::steady_clock::time_point until);

  /// Throws std::runtime_error if they do not come up, or not in time; what failed on hosts is in failures().
  void wait();

  const std::string& url() const { return url_; }
  /// The agents, once all are there.
  const std::vector<ClusterNode>& nodes() const { return nodes_; }
  /// A line for each host.
  const std::vector<std::string>& failures() const { return failures_; }

 private:
  std::chrono::milliseconds left() const;
  void take(const KeeperNews& news);
  /// On a terminal: hosts may take their time.
  void show() const;
  /// Throws if something has failed.
  void check() const;
  bool all_here(const ClusterWatch& watch) const;
  /// What is missing.
  std::string late() const;

  StartedKeeper& keeper_;
  const KeeperOrder& order_;
  const ClusterOptions options_;
  const std::chrono::steady_clock::time_point until_;
  std::string url_;
  std::set<std::string> started_;  // Names of nodes.
  std::vector<std::string> failures_;
  std::vector<ClusterNode> nodes_;
};

}  // namespace tandem::tool
