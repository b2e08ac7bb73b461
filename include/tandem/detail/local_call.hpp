/// Calls that are made in this process: nothing of them is turned into bytes.
#pragma once

#include <chrono>
#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include <tandem/callable.hpp>
#include <tandem/detail/chunk.hpp>
#include <tandem/detail/future_state.hpp>
#include <tandem/detail/task.hpp>

namespace tandem::detail {

template <class F, class... Args>
struct CallResult : std::invoke_result<F, Args...> {};
template <class F, class... Args>
  requires kTakesStopToken<F, Args...>
struct CallResult<F, Args...> : std::invoke_result<F, std::stop_token, Args...> {};

/// What a call of copies of `F` with copies of `Args` gives, as a value.
template <class F, class... Args>
using CallResultOf = std::decay_t<typename CallResult<std::decay_t<F>, std::decay_t<Args>...>::type>;

/// The address of a function; null for an object.
template <class F>
const void* function_of(const F& callable) noexcept {
  if constexpr (std::is_function_v<F>) {
    return reinterpret_cast<const void*>(&callable);
  } else if constexpr (std::is_pointer_v<F> && std::is_function_v<std::remove_pointer_t<F>>) {
    return reinterpret_cast<const void*>(callable);
  } else {
    return nullptr;
  }
}

/// Result, callable and arguments in one block.
template <class R, class F, class... Args>
class LocalCall final : public ResultState<R>, public LocalTask {
  static constexpr bool kStoppable = kTakesStopToken<F, Args...>;
  static constexpr bool kCopyable = std::copy_constructible<F> && (std::copy_constructible<Args> && ...);
  struct NoStop {};

 public:
  using State = ResultState<R>;
  template <class G, class... Given>
  explicit LocalCall(std::in_place_t, G&& fn, Given&&... args)
      : ResultState<R>(static_cast<LocalTask*>(this)),
        LocalTask(static_cast<FutureState&>(*this), function_of(fn)),
        call_(std::in_place, std::forward<G>(fn), std::forward<Given>(args)...) {}

  bool run(ExecutorCore& core) noexcept override {
    try {
      if constexpr (std::is_void_v<R>) {
        call();
        forget();
        if (this->claim_running()) finished(core, *this, this->store());
      } else {
        R result = call();
        forget();
        if (this->claim_running()) finished(core, *this, this->store(std::move(result)));
      }
      return false;
    } catch (...) {
      return failed(core, *this, std::current_exception());
    }
  }
  void forget() noexcept override { call_.reset(); }
  void request_stop() noexcept override {
    if constexpr (kStoppable) stop_.request_stop();
  }
  const std::type_info& callable_type() const noexcept override { return typeid(F); }
  bool repeatable() const noexcept override { return kCopyable; }

 private:
  ~LocalCall() override = default;

  R call() {
    if constexpr (kCopyable) {
      if (!last_attempt()) {
        std::tuple<F, Args...> copy(*call_);
        return invoke(std::move(copy));
      }
    }
    return invoke(std::move(*call_));
  }
  R invoke(std::tuple<F, Args...>&& call) {
    return std::apply(
        [&](F&& fn, Args&&... args) -> R {
          if constexpr (kStoppable) {
            return std::invoke(std::move(fn), stop_.get_token(), std::move(args)...);
          } else {
            return std::invoke(std::move(fn), std::move(args)...);
          }
        },
        std::move(call));
  }

  std::optional<std::tuple<F, Args...>> call_;
  [[no_unique_address]] std::conditional_t<kStoppable, std::stop_source, NoStop> stop_{};
};

/// A chunk of a map(). An attempt of its own is made for each item that fails, never for the chunk.
template <class R, class F, class Item>
class LocalChunkCall final : public ResultState<LocalChunk<R, Item>>, public LocalTask {
  using Chunk = LocalChunk<R, Item>;

 public:
  using State = ResultState<Chunk>;
  LocalChunkCall(std::shared_ptr<const F> fn, Chunk chunk)
      : State(static_cast<LocalTask*>(this)),
        LocalTask(static_cast<FutureState&>(*this), function_of(*fn)),
        fn_(std::move(fn)),
        chunk_(std::move(chunk)) {}

  bool run(ExecutorCore& core) noexcept override {
    try {
      run_chunk<R>(*fn_, chunk_.items, chunk_, stop_.get_token(), options().retries);
    } catch (...) {  // Not of an item: there is no memory for the results, say.
      return failed(core, *this, std::current_exception(), true);
    }
    forget();
    if (!this->claim_running()) return false;
    retried_ = chunk_.retried;  // Not sooner: who stops the task reads it too, and is then the one that claimed it.
    finished(core, *this, this->store(std::move(chunk_)));
    return false;
  }
  void forget() noexcept override {
    chunk_.items.clear();
    fn_.reset();
  }
  void request_stop() noexcept override { stop_.request_stop(); }
  const std::type_info& callable_type() const noexcept override { return typeid(F); }
  bool repeatable() const noexcept override { return std::copy_constructible<Item>; }
  std::uint64_t retried_items() const noexcept override { return retried_; }

 private:
  ~LocalChunkCall() override = default;
  std::shared_ptr<const F> fn_;
  Chunk chunk_;
  std::stop_source stop_;
  std::uint64_t retried_ = 0;
};

/// How ThreadExecutor makes tasks of calls.
struct LocalCalls {
  /// Owner of one handle, which the Future that is made of it takes over.
  template <class F, class... Args>
  static auto* make(F&& fn, Args&&... args) {
    constexpr bool kCallable = kTakesStopToken<std::decay_t<F>, std::decay_t<Args>...> ||
                               std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>;
    static_assert(kCallable,
                  "tandem: this callable cannot be called with copies of these arguments; pass what it takes, by "
                  "value, or wrap what it is to refer to in std::ref()");
    if constexpr (kCallable) {
      using R = CallResultOf<F, Args...>;
      return new LocalCall<R, std::decay_t<F>, std::decay_t<Args>...>(std::in_place, std::forward<F>(fn),
                                                                      std::forward<Args>(args)...);
    } else {
      return static_cast<LocalCall<void, void (*)()>*>(nullptr);  // Refused above.
    }
  }

  /// A function that many tasks call at once.
  template <class F>
  using Shared = std::shared_ptr<const F>;
  template <class F>
  static Shared<F> share(F fn) {
    return std::make_shared<const F>(std::move(fn));
  }
  /// How long a task of a map() shall take: enough to make what a task costs small beside it.
  static constexpr std::chrono::microseconds kChunkTime{200};
  /// What the call that make_chunk() makes gives: a ChunkResult<R>, and the items for the next chunk if it keeps them.
  template <class R, class Item>
  using Chunk = LocalChunk<R, Item>;
  /// `chunk` has the items, and room for the results. Each item that fails is called again as often as `retries` says;
  /// these are also those of the task's options.
  template <class R, class F, class Item>
  static auto* make_chunk(const Shared<F>& fn, Chunk<R, Item> chunk, unsigned) {
    return new LocalChunkCall<R, F, Item>(fn, std::move(chunk));
  }
};

}  // namespace tandem::detail
