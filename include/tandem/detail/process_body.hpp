/// What a process runs: a callable and its arguments behind virtual calls, so that the rest of Process is no template.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

#include <tandem/callable.hpp>

namespace tandem::detail {

class ProcessBody {
 public:
  virtual ~ProcessBody() = default;
  /// Calls the callable, in a forked child. Returns the exit code.
  virtual int run(std::stop_token stop) = 0;
  /// Whether the callable wants a stop token.
  virtual bool takes_stop_token() const noexcept = 0;
  /// Whether encode() may be called.
  virtual bool portable() const noexcept = 0;
  /// Writes the call, for run_call() in the child.
  virtual void encode(Encoder& encoder) const = 0;
};

template <bool kPortable, class F, class... Args>
class BoundProcessBody final : public ProcessBody {
 public:
  template <class G, class... Given>
  explicit BoundProcessBody(std::in_place_t, G&& fn, Given&&... args)
      : fn_(std::forward<G>(fn)), args_(std::forward<Given>(args)...) {}

  int run(std::stop_token stop) override {
    return std::apply(
        [&](Args&&... args) {
          return exit_code_of([&]() -> decltype(auto) {
            if constexpr (kTakesStopToken<F, Args...>) {
              return std::invoke(std::move(fn_), std::move(stop), std::move(args)...);
            } else {
              return std::invoke(std::move(fn_), std::move(args)...);
            }
          });
        },
        std::move(args_));
  }
  bool takes_stop_token() const noexcept override { return kTakesStopToken<F, Args...>; }
  bool portable() const noexcept override { return kPortable; }
  void encode([[maybe_unused]] Encoder& encoder) const override {
    if constexpr (kPortable)
      std::apply([&](const Args&... args) { encode_call<F, Args...>(encoder, fn_, args...); }, args_);
  }

 private:
  F fn_;
  std::tuple<Args...> args_;
};

/// A body that can travel, or fails to compile with a message that names the mend.
template <class F, class... Args>
std::unique_ptr<ProcessBody> make_portable_body(F&& fn, Args&&... args) {
  static_assert(require_portable_call<F, Args...>());
  if constexpr (PortableCallable<F> && (Portable<std::decay_t<Args>> && ...)) {
    return std::make_unique<BoundProcessBody<true, std::decay_t<F>, std::decay_t<Args>...>>(
        std::in_place, std::forward<F>(fn), std::forward<Args>(args)...);
  } else {
    return nullptr;  // Refused above.
  }
}

/// A body for tandem::fork: anything that can be called.
template <class F, class... Args>
std::unique_ptr<ProcessBody> make_fork_body(F&& fn, Args&&... args) {
  constexpr bool kCallable = kTakesStopToken<std::decay_t<F>, std::decay_t<Args>...> ||
                             std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>;
  static_assert(kCallable,
                "tandem: this callable cannot be called with copies of these arguments; pass what it takes, by value, "
                "or wrap what it is to refer to in std::ref()");
  if constexpr (kCallable) {
    return std::make_unique<BoundProcessBody<false, std::decay_t<F>, std::decay_t<Args>...>>(
        std::in_place, std::forward<F>(fn), std::forward<Args>(args)...);
  } else {
    return nullptr;  // Refused above.
  }
}

}  // namespace tandem::detail
