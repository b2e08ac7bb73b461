/// What `tandem cluster up` and the keeper that it starts say to each other, in lines: what to keep, and what came of
/// it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cluster_launcher.hpp"
#include "cluster_state.hpp"

namespace tandem::tool {

/// What a keeper is to start; the first line of its standard input. Value.
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
  AgentPlan plan{};
  std::vector<std::string> ssh{};
};
/// Throws BadInput for a text that is no UTF-8, which it names.
std::string to_line(const KeeperOrder& order);
/// Empty for a line that is none.
std::optional<KeeperOrder> parse_order(const std::string& line);

/// What follows: nobody waits for the keeper any more, and it goes on by itself.
inline constexpr const char kDetachWord[] = "detach\n";

/// What a keeper tells by its standard output. Value.
struct KeeperNews {
  /// "server": it takes connections at `text`. "started": agent `text` of `where`. "failed": `where` will not come up,
  /// `text` says why. "broken": nothing will.
  std::string kind{};
  std::string where{};
  std::string text{};
};
std::string to_line(const KeeperNews& news);
/// Throws std::runtime_error for a line that is none.
KeeperNews parse_news(const std::string& line);

}  // namespace tandem::tool
