/// Whether an engine has forgotten something, by what it counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "cluster/engine.hpp"

namespace tandem::detail {

/// One look may find a message in none of the queues that is in two a moment later, so one that has fewer than there
/// are counts only with another such look before it, or if the engine says itself that it has forgotten something.
/// Threads: one.
class CensusWatch {
 public:
  /// Nothing could be seen.
  void pass() noexcept { looks_ = 0; }
  /// `messages`: how many there must be, tasks and results together. Whether some are lost.
  bool is_loss(const Census& census, std::size_t messages);

 private:
  unsigned looks_ = 0;  // With something missing, one after the other.
  std::optional<std::uint64_t> generation_;
};

}  // namespace tandem::detail
