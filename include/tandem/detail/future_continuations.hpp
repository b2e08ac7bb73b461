/// What hangs on a Future: callbacks, continuations, coroutines. Included by future.hpp, of which it is the second
/// half.
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

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
  state.add_handle();
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

  void attach() { source_.state().add(std::make_unique<Step>(*this)); }
  FutureState* source() const noexcept override { return source_.valid() ? &source_.state() : nullptr; }

 private:
  struct Step final : Continuation {
    explicit Step(ThenState& then) : state(&then) {}
    void run(FutureState&) noexcept override { state->go_on(); }
    StatePtr<ThenState> state;
  };
  ~ThenState() override = default;

  void go_on() noexcept {
    if (!this->start()) return;  // Cancelled.
    try {
      if constexpr (std::is_void_v<Result>) {
        call();
        if (this->claim()) this->settle(this->store());
      } else {
        Result result = call();
        if (this->claim()) this->settle(this->store(std::move(result)));
      }
    } catch (...) {
      if (this->claim()) this->settle_error(std::current_exception());
    }
  }
  Result call() {
    if constexpr (std::is_void_v<R>) {
      source_.get();
      return std::invoke(std::move(fn_));
    } else {
      return std::invoke(std::move(fn_), source_.get());
    }
  }

  Future<R> source_;
  F fn_;
};

template <class R>
class FutureAwaiter {
 public:
  explicit FutureAwaiter(Future<R> future) : future_(std::move(future)) {}

  bool await_ready() const { return future_.done(); }
  void await_suspend(std::coroutine_handle<> coroutine) const {
    // The coroutine may be resumed, and this object destroyed, before add() returns: nothing of it is used then.
    future_.state().add(std::make_unique<Resume>(coroutine));
  }
  R await_resume() { return std::move(future_).get(); }

 private:
  struct Resume final : Continuation {
    explicit Resume(std::coroutine_handle<> to_resume) : coroutine(to_resume) {}
    void run(FutureState&) noexcept override { coroutine.resume(); }
    std::coroutine_handle<> coroutine;
  };
  Future<R> future_;
};

}  // namespace tandem::detail
