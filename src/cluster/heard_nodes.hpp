/// Which nodes a client has heard, and how much room they have.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>

#include "cluster/engine.hpp"

namespace tandem::detail {

/// A node of this build, as it was heard last. Value.
struct HeardNode {
  using Clock = std::chrono::steady_clock;

  std::size_t slots = 0;
  std::chrono::nanoseconds cpu_time{};
  std::uint64_t memory_bytes = 0;
  bool leaving = false;
  Clock::time_point heard_at{};
  std::optional<std::uint64_t> task{};  ///< One that it runs, of this client.
};

/// A node that is silent for 10 s counts for nothing: it announces itself once in a second. Threads: one at a time.
class HeardNodes {
 public:
  using Clock = HeardNode::Clock;

  /// Forgets those that are silent.
  HeardNode& hear(const NodeInfo& info, Clock::time_point now);
  /// One of another build. Whether it was heard for the first time.
  bool hear_stranger(const std::string& node, Clock::time_point now);
  void clear() { nodes_.clear(); }

  /// Some of them may be silent by now, which is_silent() tells.
  const std::map<std::string, HeardNode>& all() const noexcept { return nodes_; }
  static bool is_silent(const HeardNode& node, Clock::time_point now);
  /// Whether there is one that is not silent.
  bool has_any() const;
  /// How many tasks they have room for, all together, but for those that leave.
  std::size_t slots() const;
  std::size_t strangers() const;

 private:
  std::map<std::string, HeardNode> nodes_;
  std::unordered_map<std::string, Clock::time_point> strangers_;  // When they were heard last.
};

}  // namespace tandem::detail
