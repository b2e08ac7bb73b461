/// One map(): reads the input, keeps a window of tasks going, and gives the results.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <tuple>
#include <utility>
#include <vector>

#include <tandem/detail/chunk.hpp>
#include <tandem/detail/completions.hpp>
#include <tandem/detail/deadline.hpp>
#include <tandem/detail/executor_base.hpp>
#include <tandem/error.hpp>
#include <tandem/executor_options.hpp>
#include <tandem/future.hpp>

namespace tandem::detail {

/// How many items the next task of a map gets. Found while running: so many that it takes about a given
/// time, and fewer at the end of an input of known length, so that the
/// workers end together.
class ChunkSizer {
 public:
  /// Throws std::invalid_argument for a chunk or a window of no items.
  ChunkSizer(const MapOptions& options, std::size_t workers, std::chrono::nanoseconds task_time);

  /// 0 if nothing is to be read before another result was taken. `left` is how much input there is, if that is known.
  std::size_t next(std::size_t tasks_in_flight, std::size_t items_in_flight, std::optional<std::size_t> left) const;
  /// Learns from a task that is done.
  void measured(std::size_t items, std::chrono::nanoseconds time);

 private:
  const std::optional<std::size_t> given_;
  const std::optional<std::size_t> window_items_;
  const std::size_t workers_;
  const std::chrono::nanoseconds task_time_;
  std::size_t found_ = 1;
};

/// Several inputs read in step, until the shortest ends. Owner of those that were given as values.
template <class... Views>
class ZippedInput {
 public:
  using Item = std::tuple<std::ranges::range_value_t<Views>...>;
  explicit ZippedInput(Views... views) : views_(std::move(views)...) {}

  std::optional<std::size_t> left() {
    if constexpr ((std::ranges::sized_range<Views> && ...) && sizeof...(Views) > 0) {
      return std::apply([](auto&... views) { return std::min({std::size_t(std::ranges::size(views))...}); }, views_) -
             read_;
    } else {
      return std::nullopt;
    }
  }
  /// Appends up to `count` items; false if there was no other one. What reading throws passes, behind the items read.
  bool read(std::vector<Item>& items, std::size_t count) {
    return read(items, count, std::index_sequence_for<Views...>());
  }

 private:
  template <std::size_t... I>
  bool read(std::vector<Item>& items, std::size_t count, std::index_sequence<I...>) {
    if (!places_) places_.emplace(std::ranges::begin(std::get<I>(views_))...);
    auto& places = *places_;
    if constexpr (kPlainArray) {
      // In one loop without any state: the reader is one thread, and its time counts for all.
      auto& place = std::get<0>(places);
      const auto length = std::ranges::end(std::get<0>(views_)) - place;
      const std::size_t many = std::min(count, static_cast<std::size_t>(length));
      const std::size_t before = items.size();
      items.resize(before + many);
      for (std::size_t item = 0; item < many; ++item)
        std::get<0>(items[before + item]) = place[static_cast<std::ptrdiff_t>(item)];
      place += static_cast<std::ptrdiff_t>(many);
      read_ += many;
      return many == count;
    } else {
      return read_one_by_one(places, items, count, std::index_sequence<I...>());
    }
  }
  template <class Places, std::size_t... I>
  bool read_one_by_one(Places& places, std::vector<Item>& items, std::size_t count, std::index_sequence<I...>) {
    for (; count > 0; --count) {
      // Not beyond the last item that is wanted: the next one of a generator may take its time.
      if (std::exchange(given_, false)) (static_cast<void>(++std::get<I>(places)), ...);
      if (((std::get<I>(places) == std::ranges::end(std::get<I>(views_))) || ...)) return false;
      items.emplace_back(*std::get<I>(places)...);
      given_ = true;
      ++read_;
    }
    return true;
  }

  /// One input that is an array of values that are copied as bytes.
  template <class View, class Value = std::ranges::range_value_t<View>>
  static constexpr bool kPlainView =
      std::ranges::contiguous_range<View> &&
      std::sized_sentinel_for<std::ranges::sentinel_t<View>, std::ranges::iterator_t<View>> &&
      std::is_trivially_copyable_v<Value> && std::is_default_constructible_v<Value> && std::is_copy_assignable_v<Value>;
  static constexpr bool kPlainArray = sizeof...(Views) == 1 && (kPlainView<Views> && ...);
  std::tuple<Views...> views_;
  std::optional<std::tuple<std::ranges::iterator_t<Views>...>> places_;
  bool given_ = false;  // Whether the item at the places was read.
  std::size_t read_ = 0;
};

/// An input of argument tuples.
template <class View>
class TupleInput {
 public:
  using Item = std::ranges::range_value_t<View>;
  explicit TupleInput(View view) : input_(std::move(view)) {}
  std::optional<std::size_t> left() { return input_.left(); }
  bool read(std::vector<Item>& items, std::size_t count) {
    std::vector<std::tuple<Item>> read;
    const bool more = input_.read(read, count);
    for (std::tuple<Item>& item : read) items.push_back(std::get<0>(std::move(item)));
    return more;
  }

 private:
  ZippedInput<View> input_;
};

/// What is left of a map() when its types are put aside, but for the result's. For one thread.
template <class R>
class MapRun {
 public:
  virtual ~MapRun() = default;
  /// Waits for the next task's results; empty at the end.
  virtual std::optional<ChunkResult<R>> next() = 0;
  /// How many items the next calls of next() will give, if that is known.
  virtual std::optional<std::size_t> left() = 0;
  /// Takes a result that was read to its end, for its memory.
  virtual void take_back(ChunkResult<R> result) noexcept = 0;
};

template <class Calls, class R, class F, class Input, bool kOrdered>
class MapRunOf final : public MapRun<R> {
  using Item = typename Input::Item;
  using Chunk = typename Calls::template Chunk<R, Item>;

 public:
  MapRunOf(std::shared_ptr<ExecutorCore> core, const MapOptions& options, F fn, Input input)
      : core_(std::move(core)),
        task_(options.task),
        retries_(task_options(*core_, task_).retries),
        sizer_(options, worker_limit(*core_), Calls::kChunkTime),
        deadline_(options.timeout ? Deadline::after(*options.timeout) : Deadline::never()),
        fn_(Calls::share(std::move(fn))),
        input_(std::move(input)) {
    fill();
    // A refusal of the first task is one of the call.
    if (in_flight_.empty() && refused_) std::rethrow_exception(std::exchange(input_error_, nullptr));
  }
  ~MapRunOf() override { cancel_all(); }

  std::optional<ChunkResult<R>> next() override {
    if (in_flight_.empty()) {
      if (input_error_) std::rethrow_exception(std::exchange(input_error_, nullptr));
      return std::nullopt;
    }
    const auto found = wait_for_next();
    const std::size_t items = found->second.items;
    items_in_flight_ -= items;
    Future<Chunk> future = std::move(found->second.future);
    in_flight_.erase(found);
    if (future.status() != FutureStatus::Finished) return failed(future, items);
    Chunk chunk = std::move(future).get();
    sizer_.measured(items, chunk.time);
    if constexpr (requires { chunk.items; }) spare_items_.push_back(std::move(chunk.items));
    fill();
    return static_cast<ChunkResult<R>&&>(chunk);
  }
  std::optional<std::size_t> left() override {
    const std::optional<std::size_t> unread = input_ended_ ? std::size_t{0} : input_.left();
    return unread ? std::optional(*unread + items_in_flight_) : std::nullopt;
  }
  void take_back(ChunkResult<R> result) noexcept override {
    result.failures.clear();
    if constexpr (!std::is_void_v<R>) result.values.clear();
    spare_result_ = std::move(result);
  }

 private:
  struct InFlight {
    Future<Chunk> future;
    std::size_t items;
  };
  using Place = typename std::map<std::size_t, InFlight>::iterator;

  Place wait_for_next() {
    if constexpr (kOrdered) {
      const Place first = in_flight_.begin();
      FutureState& state = first->second.future.state();
      // In a task of this executor: rather than wait for another worker, run what will be waited for next.
      for (Place at = first; deadline_.is_never() && !state.done() && at != in_flight_.end(); ++at)
        static_cast<void>(at->second.future.state().run_here());
      if (state.wait(deadline_)) return first;
    } else if (const std::optional<std::size_t> number = completions_.next(deadline_)) {
      return in_flight_.find(*number);
    }
    cancel_all();
    throw DeadlineExceeded("map() was not done in time");
  }
  /// A chunk as a whole has no results: each of its items fails for that reason.
  std::optional<ChunkResult<R>> failed(const Future<Chunk>& chunk, std::size_t items) {
    fill();
    ChunkResult<R> result;
    for (std::size_t item = 0; item < items; ++item) result.failures.push_back({item, chunk.exception()});
    return result;
  }

  void fill() {
    while (!input_ended_) {
      const std::size_t wanted = sizer_.next(in_flight_.size(), items_in_flight_, input_.left());
      if (wanted == 0) return;
      Chunk chunk;
      std::vector<Item> items = read(wanted);
      if (items.empty()) return;
      const std::size_t count = items.size();
      chunk.items = std::move(items);
      static_cast<ChunkResult<R>&>(chunk) = std::exchange(spare_result_, {});
      try {
        Future<Chunk> future = submit_call(*core_, task_, static_cast<std::uint32_t>(count),
                                           Calls::template make_chunk<R>(fn_, std::move(chunk), retries_));
        const Place placed = in_flight_.emplace(next_number_++, InFlight{std::move(future), count}).first;
        items_in_flight_ += count;
        if constexpr (!kOrdered) completions_.watch(placed->second.future.state(), placed->first);
      } catch (...) {
        // What is in flight comes first.
        refused_ = input_ended_ = true;
        input_error_ = std::current_exception();
      }
    }
  }
  std::vector<Item> read(std::size_t wanted) {
    std::vector<Item> items;
    if (!spare_items_.empty()) {
      items = std::move(spare_items_.back());
      spare_items_.pop_back();
    }
    try {
      input_ended_ = !input_.read(items, wanted);
    } catch (...) {
      input_ended_ = true;
      input_error_ = std::current_exception();
    }
    return items;
  }
  void cancel_all() noexcept {
    input_ended_ = true;
    for (auto& [number, chunk] : in_flight_) static_cast<void>(chunk.future.stop());
    in_flight_.clear();
    items_in_flight_ = 0;
  }

  std::shared_ptr<ExecutorCore> core_;
  std::optional<TaskOptions> task_;
  unsigned retries_;
  ChunkSizer sizer_;
  Deadline deadline_;
  typename Calls::template Shared<F> fn_;
  Input input_;
  bool input_ended_ = false;
  bool refused_ = false;                       // By the executor.
  std::exception_ptr input_error_;             // What ended the input early.
  std::map<std::size_t, InFlight> in_flight_;  // By the order of the input.
  std::size_t next_number_ = 0;
  std::size_t items_in_flight_ = 0;
  std::vector<std::vector<Item>> spare_items_;
  ChunkResult<R> spare_result_;
  Completions completions_;  // Of the tasks in flight, by their numbers.
};

}  // namespace tandem::detail
