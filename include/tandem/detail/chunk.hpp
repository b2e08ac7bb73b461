/// Items that are worked on together, as one task, and what became of each.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace tandem::detail {

/// What became of the items of a chunk, in their order. Value.
template <class R>
struct ChunkResult {
  struct Failure {
    std::size_t item;
    std::exception_ptr error;
  };
  ChunkResult() = default;
  // Move-only, as what it holds may be.
  ChunkResult(ChunkResult&&) noexcept = default;
  ChunkResult& operator=(ChunkResult&&) noexcept = default;

  std::vector<R> values;          ///< Of the items that succeeded.
  std::vector<Failure> failures;  ///< Of the others, in their order.
  std::chrono::nanoseconds time{};
};
template <>
struct ChunkResult<void> {
  struct Failure {
    std::size_t item;
    std::exception_ptr error;
  };
  ChunkResult() = default;
  ChunkResult(ChunkResult&&) noexcept = default;
  ChunkResult& operator=(ChunkResult&&) noexcept = default;

  std::vector<Failure> failures;
  std::chrono::nanoseconds time{};
};

/// The same for tasks of this process, whose buffers are used again and again: touching new memory costs more than what
/// small items do.
template <class R, class Item>
struct LocalChunk : ChunkResult<R> {
  std::vector<Item> items;  ///< Argument tuples.
};

/// Calls `fn` for each item, until it is asked to stop. The failure of one does not stop the others.
template <class R, class F, class Item>
void run_chunk(const F& fn, std::vector<Item>& items, ChunkResult<R>& result, const std::stop_token& stop) {
  const auto begun = std::chrono::steady_clock::now();
  if constexpr (!std::is_void_v<R>) result.values.reserve(items.size());
  for (std::size_t at = 0; at < items.size() && !stop.stop_requested(); ++at) {
    try {
      if constexpr (std::is_void_v<R>) {
        std::apply(fn, std::move(items[at]));
      } else {
        result.values.push_back(std::apply(fn, std::move(items[at])));
      }
    } catch (...) {
      result.failures.push_back({at, std::current_exception()});
    }
  }
  result.time = std::chrono::steady_clock::now() - begun;
}

}  // namespace tandem::detail
