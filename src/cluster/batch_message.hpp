/// Several small tasks in one message of the engine, and their results in another: what a message costs is shared.
///
/// The engine knows nothing of it: to it a batch is a task, with a lease and a result. Above it each task of a batch is
/// on its own: cancelled, stopped, failed and told alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cluster/engine.hpp"

namespace tandem::detail {

/// The numbers of batches among those of a client's tasks.
inline constexpr std::uint64_t kBatchNumbers = std::uint64_t{1} << 63;
inline bool is_batch(const ClusterTaskId& id) noexcept {
  return (id.number & kBatchNumbers) != 0;
}

/// One task of a batch, or what came of it. Value.
struct BatchItem {
  std::uint64_t number = 0;
  std::uint32_t attempt = 1;
  std::vector<std::byte> bytes{};
};

/// Appends an item: all of them are the payload.
void add_to_batch(std::vector<std::byte>& payload, const BatchItem& item);
/// Throws WireError for what is no batch.
std::vector<BatchItem> decode_batch(std::span<const std::byte> payload);

}  // namespace tandem::detail
