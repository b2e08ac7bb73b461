/// Items that are worked on together, as one task, and what became of each.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/callable.hpp>
#include <tandem/detail/future_state.hpp>

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
  std::uint64_t retried = 0;  ///< Calls beyond the first of an item.
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
  std::uint64_t retried = 0;
};

/// The same for tasks of this process, whose buffers are used again and again: touching new memory costs more than what
/// small items do.
template <class R, class Item>
struct LocalChunk : ChunkResult<R> {
  std::vector<Item> items;  ///< Argument tuples.
};

/// Decides how many items are run between two looks at the stop token: as many as take some microseconds, so that
/// looking costs little and a stop is soon seen all the same.
class StopLookInterval {
 public:
  std::size_t items() const noexcept { return items_; }
  /// After that many.
  void next() noexcept {
    const auto now = std::chrono::steady_clock::now();
    items_ = now - last_ < kTime ? std::min(items_ * 2, kMost) : std::max<std::size_t>(items_ / 2, 1);
    last_ = now;
  }
  std::chrono::steady_clock::time_point last() const noexcept { return last_; }

 private:
  static constexpr std::chrono::microseconds kTime{10};
  // Few: the items that come may take much longer than those before them.
  static constexpr std::size_t kMost = 64;
  std::size_t items_ = 1;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// Whether an item whose call failed is to be called again: each may be so often. Also puts down how often that was.
class ItemRetries {
 public:
  explicit ItemRetries(unsigned each) noexcept : each_(each) {}
  bool again(std::size_t item) noexcept {
    if (item != item_) item_ = item, left_ = each_;
    if (left_ == 0) return false;
    --left_;
    ++used_;
    return true;
  }
  std::uint64_t used() const noexcept { return used_; }

 private:
  const unsigned each_;
  std::size_t item_ = ~std::size_t{0};
  unsigned left_ = 0;
  std::uint64_t used_ = 0;
};

/// Calls `fn` for the items from `at` to `end`, and leaves `at` behind the last one that was called. `kKeep`: with
/// copies of the items, since they may be called again.
template <bool kKeep, class R, class F, class Item>
void run_items(const F& fn, std::vector<Item>& items, std::size_t& at, std::size_t end, ChunkResult<R>& result,
               const std::stop_token& stop) {
  const auto invoke = [&]<class... Args>(Args&&... args) -> decltype(auto) {
    if constexpr (kTakesStopToken<const F&, Args...>) {
      return std::invoke(fn, stop, std::forward<Args>(args)...);
    } else {
      return std::invoke(fn, std::forward<Args>(args)...);
    }
  };
  const auto call = [&](Item& item) -> decltype(auto) {
    if constexpr (kKeep) {
      return std::apply(invoke, Item(std::as_const(item)));
    } else {
      return std::apply(invoke, std::move(item));
    }
  };
  if constexpr (std::is_void_v<R>) {
    for (; at < end; ++at) static_cast<void>(call(items[at]));
  } else if constexpr (std::is_trivially_copyable_v<R> && std::is_default_constructible_v<R> &&
                       std::is_move_assignable_v<R> && !std::is_same_v<R, bool>) {
    // In place: a loop without any state that it has to keep in memory.
    const std::size_t before = result.values.size();
    result.values.resize(before + (end - at));
    R* value = result.values.data() + before;
    try {
      for (; at < end; ++at, ++value) *value = call(items[at]);
    } catch (...) {
      result.values.resize(static_cast<std::size_t>(value - result.values.data()));
      throw;
    }
  } else {
    for (; at < end; ++at) result.values.push_back(call(items[at]));
  }
}

/// Calls `fn` for each item, until it is asked to stop. The failure of one does not stop the others; it is called again
/// as often as `retries` says, if items can be copied.
template <class R, class F, class Item>
void run_chunk(const F& fn, std::vector<Item>& items, ChunkResult<R>& result, const std::stop_token& stop,
               unsigned retries) {
  StopLookInterval interval;
  ItemRetries again(retries);
  const auto begun = interval.last();
  if constexpr (!std::is_void_v<R>) result.values.reserve(items.size());
  const auto run_until = [&](std::size_t& at, std::size_t end) {
    if constexpr (std::copy_constructible<Item>) {
      if (retries > 0) return run_items<true, R>(fn, items, at, end, result, stop);
    }
    run_items<false, R>(fn, items, at, end, result, stop);
  };
  for (std::size_t at = 0; at < items.size() && !stop.stop_requested(); interval.next()) {
    const std::size_t end = std::min(items.size(), at + interval.items());
    while (at < end) {
      try {
        run_until(at, end);
      } catch (...) {
        if (!stop.stop_requested() && again.again(at)) continue;
        result.failures.push_back({at++, error_of_call()});
      }
    }
  }
  result.retried = again.used();
  result.time = interval.last() - begun;
}

}  // namespace tandem::detail
