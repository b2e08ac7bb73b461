/// What hangs on a Future: callbacks, continuations, coroutines. Included by future.hpp, of which it is the second
/// half.
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include <tandem/detail/future_state.hpp>
#include <tandem/future.hpp>

namespace tandem::detail {

template <class R>
Future<R> adopt_future(ResultState<R>* counted) noexcept {
  return Future<R>(counted);
}

/// A Future made of a state inside of the library; `state` is really one of a result of type R.
template <class R>
Future<R> future_of(FutureState& state) noexcept {
  state.add_reference();
  return adopt_future(static_cast<ResultState<R>*>(&state));
}

/// Reports an exception that left a callback, as one that leaves a thread is.
void report_callback(const std::exception_ptr& exception) noexcept;

template <class R, class Callback>
class CallbackContinuation final : public Continuation {
 public:
  template <class Given>
  explicit CallbackContinuation(Given&& callback) : callback_(std::forward<Given>(callback)) {}
  void run(FutureState& state) noexcept override {
    try {
      const Future<R> future = future_of<R>(state);
      std::invoke(callback_, future);
    } catch (...) {
      report_callback(std::current_exception());
    }
  }
  bool before_waiters() const noexcept override { return true; }

 private:
  Callback callback_;
};

template <class R, class F>
struct ThenResult : std::invoke_result<F, const R&> {};
template <class F>
struct ThenResult<void, F> : std::invoke_result<F> {};

/// The result of a function of another result.
template <class R, class F>
class ThenState final : public ResultState<typename ThenResult<R, F>::type> {
 public:
  using Result = typename ThenResult<R, F>::type;
  template <class Given>
  ThenState(Future<R> source, Given&& fn) : source_(std::move(source)), fn_(std::forward<Given>(fn)) {}

  void attach() {
    FutureState& source = source_.state();  // Kept by who calls.
    source.add(std::make_unique<Step>(*this));
  }
  StatePtr<FutureState> source() noexcept override {
    const std::lock_guard guard(mutex_);
    return source_.valid() ? StatePtr<FutureState>(&source_.state()) : StatePtr<FutureState>();
  }

 private:
  struct Step final : Continuation {
    explicit Step(ThenState& then) : state(&then) {}
    void run(FutureState&) noexcept override { state->go_on(); }
    StatePtr<ThenState> state;
  };
  ~ThenState() override = default;

  void go_on() noexcept {
    Future<R> source;
    {
      // Nothing is kept of the source behind this: many may hang on each other.
      const std::lock_guard guard(mutex_);
      source = std::exchange(source_, Future<R>());
    }
    if (!this->start()) return;  // Cancelled.
    if (source.cancelled()) {
      if (this->claim()) this->settle(FutureState::Outcome::Cancelled);
      return;
    }
    try {
      if constexpr (std::is_void_v<Result>) {
        call(source);
        if (this->claim()) this->settle(this->store());
      } else {
        Result result = call(source);
        if (this->claim()) this->settle(this->store(std::move(result)));
      }
    } catch (...) {
      if (this->claim()) this->settle_error(error_of_call());
    }
  }
  Result call(const Future<R>& source) {
    F fn = std::move(*fn_);
    fn_.reset();
    if constexpr (std::is_void_v<R>) {
      source.get();
      return std::invoke(std::move(fn));
    } else {
      return std::invoke(std::move(fn), source.get());
    }
  }

  std::mutex mutex_;
  Future<R> source_;
  std::optional<F> fn_;  // Only used by the one who started this.
};

/// What co_await waits with. `Given` is what it gives.
template <class R, class Given>
class FutureAwaiter {
 public:
  explicit FutureAwaiter(Future<R> future) : future_(std::move(future)) {}

  bool await_ready() const { return future_.done(); }
  void await_suspend(std::coroutine_handle<> coroutine) const {
    // The coroutine may be resumed, and this object destroyed, before add() returns: nothing of it is used then.
    const Future<R> future = future_;
    future.state().add(std::make_unique<Resume>(coroutine));
  }
  Given await_resume() {
    if constexpr (std::is_reference_v<Given>) {
      return std::as_const(future_).get();
    } else {
      return std::move(future_).get();
    }
  }

 private:
  struct Resume final : Continuation {
    explicit Resume(std::coroutine_handle<> to_resume) : coroutine(to_resume) {}
    void run(FutureState&) noexcept override { coroutine.resume(); }
    std::coroutine_handle<> coroutine;
  };
  Future<R> future_;
};

}  // namespace tandem::detail
