/// Results that are to come, and waiting for several of them.
#pragma once

#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include <tandem/detail/completions.hpp>
#include <tandem/detail/deadline.hpp>
#include <tandem/detail/future_state.hpp>
#include <tandem/error.hpp>

namespace tandem {

/// What has become of a result. The last three are for ever.
enum class FutureStatus { Pending, Running, Finished, Failed, Cancelled };
/// "pending", "running", "finished", "failed", "cancelled".
[[nodiscard]] std::string_view to_string(FutureStatus status) noexcept;

/// A Future without the type of its result: for waiting for many of different types. Handle: copies refer to one
/// result. Stays in its process: it cannot be sent to another.
///
/// Threads: every member may be called at once from any thread. In a process forked off, what was not done is never
/// done.
/// Memory ordering: all that the task did happens before done() tells of it, and before any wait for it returns.
/// Errors: StateError if there is no result to refer to: after `AnyFuture f;` and for one that was moved from.
class AnyFuture {
 public:
  AnyFuture() noexcept = default;
  AnyFuture(const AnyFuture& other) noexcept : state_(other.state_) {
    if (state_ != nullptr) state_->add_reference();
  }
  AnyFuture(AnyFuture&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  AnyFuture& operator=(AnyFuture other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~AnyFuture() {
    if (state_ != nullptr) state_->drop_reference();
  }

  /// Whether it refers to a result at all.
  [[nodiscard]] bool valid() const noexcept { return state_ != nullptr; }

  /// Waits until it is done: finished, failed or cancelled. Throws none of these. In a task of the executor that is to
  /// run it, runs it right here if no worker has begun it, so that a task may wait for another in a full pool.
  void wait() const { static_cast<void>(state().wait(detail::Deadline::never())); }
  /// As wait(), but gives up after `timeout`: false. Throws std::invalid_argument for a negative one. Does not run it
  /// here, since that could take longer.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return state().wait(detail::Deadline::after(timeout));
  }
  [[nodiscard]] bool done() const { return state().done(); }
  [[nodiscard]] bool running() const { return state().running(); }
  [[nodiscard]] bool cancelled() const;
  [[nodiscard]] FutureStatus status() const;

  /// Cancels it if nobody has begun it: whether it is cancelled, now or before.
  bool cancel() const { return state().cancel(); }
  /// Cancels it even if it is running: whether it is cancelled, now or before. A thread is asked to stop, by the
  /// std::stop_token that its function takes; the future does not wait for that. A process is terminated, and killed
  /// after a grace time.
  bool stop() const { return state().stop(); }

  /// Waits, then gives what get() would throw; null if it would not.
  [[nodiscard]] std::exception_ptr exception() const {
    wait();
    return state().failure();
  }

  /// For people, for example "<Future(finished int)>", "<Future(failed std::runtime_error: no such file)>".
  [[nodiscard]] std::string to_string() const;

  /// Whether both refer to one result.
  friend bool operator==(const AnyFuture&, const AnyFuture&) = default;

  /// For the inside of wait() and as_completed().
  [[nodiscard]] detail::FutureState& state() const {
    if (state_ == nullptr) throw StateError("this Future refers to no result: it is empty or was moved from");
    return *state_;
  }

 protected:
  /// Takes over a reference.
  explicit AnyFuture(detail::FutureState* counted) noexcept : state_(counted) {}
  detail::FutureState* state_ = nullptr;
};

template <class R>
class Future;

namespace detail {
template <class R>
Future<R> adopt_future(ResultState<R>* counted) noexcept;
template <class R, class Callback>
class CallbackContinuation;
template <class R, class F>
class ThenState;
template <class R, class Given>
class FutureAwaiter;
}  // namespace detail

/// A result that is to come, or the error in its place. Handle: copies refer to one result. Stays in its process.
///
///   tandem::Future<int> answer = executor.submit(solve, problem);
///   int value = answer.get();                         // waits; throws what solve() threw
///   int next = co_await executor.submit(solve, 2);    // in any coroutine
///
/// Threads, memory ordering, errors: as AnyFuture.
/// Cost: get() of a result that is there is one load; a result that is not there costs its waiter a short spin, then
/// one system call to sleep and one to be woken.
template <class R>
class [[nodiscard]] Future : public AnyFuture {
  using Stored = typename detail::ResultState<R>::Stored;

 public:
  using Result = R;
  Future() noexcept = default;

  /// Waits, then gives the result, or throws what the task threw (in its own type, where it was thrown in this process
  /// or is one of those of docs/reference/wire.md), TaskCancelled, or what made an end of it: DeadlineExceeded,
  /// TaskCrashed, OutOfMemory. May be called any number of times; the result lives as long as any Future of it.
  std::add_lvalue_reference_t<const R> get() const& {
    result_state().wait_for_value();
    if constexpr (!std::is_void_v<R>) {
      if constexpr (!std::is_trivially_copyable_v<R>) {
        if (result_state().taken()) throw_taken();
      }
      return result_state().value();
    }
  }
  /// The same for a Future that is about to go, as that of executor.submit(f).get(): takes the result along. For other
  /// Futures that refer to it, get() throws StateError from then on, unless the result is trivially copyable.
  R get() && {
    result_state().wait_for_value();
    if constexpr (std::is_trivially_copyable_v<R>) {
      return result_state().value();
    } else if constexpr (!std::is_void_v<R>) {
      if (!result_state().take()) throw_taken();
      return std::move(result_state().value());
    }
  }

  /// Has `callback(const Future<R>&)` called once the result is there: at once, by the calling thread, if it is
  /// already; else by the thread that brings it, in the order of addition, before anybody who waits for it is woken.
  /// What a callback throws is reported by excepthook() and the others still run. A callback must not wait long.
  template <class Callback>
    requires std::invocable<std::decay_t<Callback>&, const Future<R>&>
  void add_done_callback(Callback&& callback) const {
    state().add(
        std::make_unique<detail::CallbackContinuation<R, std::decay_t<Callback>>>(std::forward<Callback>(callback)));
  }

  /// A Future of what `fn(result)` returns, called by the thread that brings the result, or at once by the calling one.
  /// If there is no result, `fn` is not called and the new Future fails in the same way. What `fn` throws is its error.
  /// Cancelling the new Future leaves this one as it is.
  template <class F>
  auto then(F&& fn) const {
    using Then = detail::ThenState<R, std::decay_t<F>>;
    auto* const then = new Then(*this, std::forward<F>(fn));
    Future<typename Then::Result> result = detail::adopt_future<typename Then::Result>(then);
    then->attach();
    return result;
  }

  /// Suspends the coroutine until the result is there and resumes it in the thread that brings it; gives what get()
  /// gives.
  detail::FutureAwaiter<R, std::add_lvalue_reference_t<const R>> operator co_await() const& {
    return detail::FutureAwaiter<R, std::add_lvalue_reference_t<const R>>(*this);
  }
  detail::FutureAwaiter<R, R> operator co_await() && { return detail::FutureAwaiter<R, R>(std::move(*this)); }

 private:
  template <class Other>
  friend Future<Other> detail::adopt_future(detail::ResultState<Other>*) noexcept;
  explicit Future(detail::ResultState<R>* counted) noexcept : AnyFuture(counted) {}
  detail::ResultState<R>& result_state() const { return static_cast<detail::ResultState<R>&>(state()); }
  [[noreturn]] static void throw_taken() {
    throw StateError("the result of this Future was taken along by another one that refers to it");
  }
};

namespace detail {
template <class Range>
concept FutureRange =
    std::ranges::input_range<Range> && std::derived_from<std::ranges::range_value_t<Range>, AnyFuture>;

/// The futures of a range, each once.
template <FutureRange Range>
std::vector<std::ranges::range_value_t<Range>> different_ones(Range&& range) {
  std::vector<std::ranges::range_value_t<Range>> all;
  std::unordered_set<const FutureState*> seen;
  for (auto&& future : range)
    if (seen.insert(&future.state()).second) all.push_back(future);
  return all;
}
}  // namespace detail

/// When wait() for several futures returns.
enum class Until {
  All,             ///< When all are done.
  Any,             ///< When one is.
  FirstException,  ///< When one has failed or is cancelled, or all are done.
};

/// What wait() found, in the order given; each once, however often it was given. Value.
template <class F>
struct WaitedFutures {
  std::vector<F> done;
  std::vector<F> not_done;
};

namespace detail {
void wait_for_states(std::span<FutureState* const> states, Until until, const Deadline& deadline);

template <class F>
WaitedFutures<F> wait_for_futures(std::vector<F> futures, Until until, const Deadline& deadline) {
  std::vector<FutureState*> states;
  states.reserve(futures.size());
  for (const F& future : futures) states.push_back(&future.state());
  wait_for_states(states, until, deadline);
  WaitedFutures<F> found;
  for (F& future : futures) (future.done() ? found.done : found.not_done).push_back(std::move(future));
  return found;
}
}  // namespace detail

/// Waits for several futures.
///
///   auto [done, not_done] = tandem::wait(futures, tandem::Until::Any);
///
/// In a task, those of the same executor that nobody has begun are run right here, as AnyFuture::wait() does.
/// Errors: StateError if one of them is empty; std::invalid_argument for Until::Any with none at all.
template <detail::FutureRange Range>
WaitedFutures<std::ranges::range_value_t<Range>> wait(Range&& futures, Until until = Until::All) {
  return detail::wait_for_futures(detail::different_ones(futures), until, detail::Deadline::never());
}
template <std::derived_from<AnyFuture> F>
WaitedFutures<F> wait(std::initializer_list<F> futures, Until until = Until::All) {
  return wait(std::span(futures.begin(), futures.size()), until);
}
/// As wait(), but gives up after `timeout`: then some that it waited for are not done. Throws std::invalid_argument for
/// a negative one.
template <detail::FutureRange Range, class Rep, class Period>
[[nodiscard]] WaitedFutures<std::ranges::range_value_t<Range>> wait_for(Range&& futures,
                                                                        std::chrono::duration<Rep, Period> timeout,
                                                                        Until until = Until::All) {
  return detail::wait_for_futures(detail::different_ones(futures), until, detail::Deadline::after(timeout));
}
template <std::derived_from<AnyFuture> F, class Rep, class Period>
[[nodiscard]] WaitedFutures<F> wait_for(std::initializer_list<F> futures, std::chrono::duration<Rep, Period> timeout,
                                        Until until = Until::All) {
  return wait_for(std::span(futures.begin(), futures.size()), timeout, until);
}

/// The futures of a range as they get done, each once, however often it is there. Owner; for one thread.
///
///   for (tandem::Future<int> future : tandem::as_completed(futures)) use(future.get());
///
/// What it has given it keeps no reference to. It is a range that can be gone through once.
template <class F>
class AsCompleted {
 public:
  /// Waits for the next one; empty when all were given. Throws DeadlineExceeded when the time is over, after those that
  /// are done have been given.
  std::optional<F> next() {
    std::optional<F> found;
    if (left_ == 0) return found;
    const std::optional<std::size_t> place = completions_.next(deadline_);
    if (!place) throw DeadlineExceeded(std::to_string(left_) + " futures were not done in time");
    --left_;
    found.emplace(std::move(futures_[*place]));
    return found;
  }
  auto begin() { return detail::NextIterator<AsCompleted>(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

  /// For as_completed().
  AsCompleted(std::vector<F> futures, const detail::Deadline& deadline)
      : futures_(std::move(futures)), deadline_(deadline) {
    for (; left_ < futures_.size(); ++left_) completions_.watch(futures_[left_].state(), left_);
  }

 private:
  std::vector<F> futures_;
  detail::Deadline deadline_;
  std::size_t left_ = 0;
  detail::Completions completions_;
};

template <detail::FutureRange Range>
AsCompleted<std::ranges::range_value_t<Range>> as_completed(Range&& futures) {
  return {detail::different_ones(futures), detail::Deadline::never()};
}
/// The time counts from the call, for all of them together. Throws std::invalid_argument for a negative one.
template <detail::FutureRange Range, class Rep, class Period>
AsCompleted<std::ranges::range_value_t<Range>> as_completed(Range&& futures,
                                                            std::chrono::duration<Rep, Period> timeout) {
  return {detail::different_ones(futures), detail::Deadline::after(timeout)};
}

}  // namespace tandem

#include <tandem/detail/future_continuations.hpp>
