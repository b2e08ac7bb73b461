/// Tasks that a client has stopped and whose end it has not heard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "cluster/engine.hpp"

namespace tandem::detail {

/// By the messages that carry them, whose numbers nodes say they run: a node that still runs one has not heard that it
/// is stopped, since the server was away then, or the task was on its way to another node. The last 10,000 or so.
/// Threads: one at a time.
class StoppedTasks {
 public:
  void add(std::uint64_t carrier, const ClusterTaskId& id);
  /// It has ended.
  void erase(std::uint64_t carrier, const ClusterTaskId& id);
  /// Adds those that are in this message to `tasks`.
  void append_carried_by(std::uint64_t carrier, std::vector<ClusterTaskId>& tasks) const;

 private:
  std::multimap<std::uint64_t, ClusterTaskId> tasks_;  // By the age of their carriers.
};

}  // namespace tandem::detail
