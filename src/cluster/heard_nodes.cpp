#include "cluster/heard_nodes.hpp"

#include <algorithm>

namespace tandem::detail {
namespace {

constexpr std::chrono::seconds kSilent{10};
// One of another build is news again after this time.
constexpr std::chrono::seconds kForgotten{60};

}  // namespace

HeardNode& HeardNodes::hear(const NodeInfo& info, Clock::time_point now) {
  std::erase_if(nodes_, [&](const auto& node) { return is_silent(node.second, now); });
  HeardNode& node = nodes_[info.node];
  node = {info.slots, std::chrono::nanoseconds(info.cpu_time_ns), info.memory_bytes, info.leaving, now, std::nullopt};
  return node;
}

bool HeardNodes::hear_stranger(const std::string& node, Clock::time_point now) {
  std::erase_if(strangers_, [&](const auto& stranger) { return now - stranger.second > kForgotten; });
  return strangers_.insert_or_assign(node, now).second;
}

bool HeardNodes::is_silent(const HeardNode& node, Clock::time_point now) {
  return now - node.heard_at > kSilent;
}

bool HeardNodes::has_any() const {
  const Clock::time_point now = Clock::now();
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [&](const auto& node) { return now - node.second.heard_at < kSilent; });
}

std::size_t HeardNodes::strangers() const {
  const Clock::time_point now = Clock::now();
  return static_cast<std::size_t>(
      std::count_if(strangers_.begin(), strangers_.end(), [&](const auto& one) { return now - one.second < kSilent; }));
}

std::size_t HeardNodes::slots() const {
  std::size_t all = 0;
  const Clock::time_point now = Clock::now();
  for (const auto& [name, node] : nodes_)
    if (!node.leaving && now - node.heard_at < kSilent) all += node.slots;
  return all;
}

}  // namespace tandem::detail
