/// The process that keeps what `tandem cluster up` started: the server, and the commands that run agents.
///
/// It is told by its standard input what to start, and that nobody waits for it any more: until then its end has it
/// take down all again. It tells by its standard output, a JSON object in each line, what came of it. The folder's lock
/// is its descriptor kLockFd.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster_launcher.hpp"
#include "cluster_state.hpp"

namespace tandem::tool {

/// Value; travels as one line of JSON.
struct KeeperOrder {
  std::string folder{};
  ClusterRecord record{};
  /// Of a server of its own; the record has its url once it takes connections.
  struct Server {
    std::string program{};
    std::string address{};
    std::uint16_t port = 0;  // 0: any.
    bool tls = false;
    bool mutual = false;
    /// Below which the store is made.
    std::string store_parent{};
  } server{};
  std::string launcher{};
  AgentPlan plan{};
  std::vector<std::string> ssh{};
};
std::string to_line(const KeeperOrder& order);

inline constexpr const char kDetachWord[] = "detach\n";
/// What a keeper tells. Value.
struct KeeperNews {
  /// "server": it takes connections at `text`. "started": agent `text` of `where`. "failed": `where` will not come up,
  /// `text` says why. "broken": nothing will.
  std::string kind{};
  std::string where{};
  std::string text{};
};
/// Throws std::runtime_error for a line that is none.
KeeperNews parse_news(const std::string& line);

/// How long a cluster may take to come down, beyond what tasks have to end: results are stored, and servers end.
inline constexpr std::int64_t kLeave_ms = 25'000;

}  // namespace tandem::tool
