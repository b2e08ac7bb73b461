/// Which callables can be run in another process, and how a call travels there.
#pragma once

#include <concepts>
#include <functional>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

#include <tandem/wire.hpp>

namespace tandem {

/// Whether a callable can travel: a function, a capture-less lambda or other object without state, or a class that is
/// Portable. A capturing lambda cannot: what it captures cannot be seen. Pass values as arguments, or use tandem::fork.
template <class F>
concept PortableCallable =
    (std::is_class_v<std::decay_t<F>> || std::is_function_v<std::remove_pointer_t<std::decay_t<F>>>) &&
    Portable<std::decay_t<F>>;

namespace detail {

/// Whether `F` is called with a std::stop_token in front of its arguments, as std::jthread does.
template <class F, class... Args>
inline constexpr bool kTakesStopToken = std::is_invocable_v<F, std::stop_token, Args...>;

/// Fails to compile, with a message that names the mend, unless a call of `F` with copies of these arguments can
/// travel; for use inside of static_assert. The types may be those of a forwarding reference.
template <class F, class... Args>
consteval bool require_portable_call() {
  using Callable = std::decay_t<F>;
  if constexpr (require_portable<Callable>() && (require_portable<std::decay_t<Args>>() && ...)) {
    if constexpr (PortableCallable<F> && (Portable<std::decay_t<Args>> && ...)) {
      static_assert(
          kTakesStopToken<Callable, std::decay_t<Args>...> || std::is_invocable_v<Callable, std::decay_t<Args>...>,
          "the callable cannot be called with copies of these arguments: their number or types differ, or a "
          "parameter is a non-const reference, which a copy cannot be bound to: take it by value, and send "
          "results through a tandem::Queue");
    } else if constexpr (Portable<Callable>) {
      static_assert(PortableCallable<F>, "the first argument is a value that cannot be called");
    }
  }
  return true;
}

/// Runs in the process that received the call; one for each type of call, found there by its CodeAddress.
using CallEntry = int (*)(Decoder& decoder, std::stop_token stop_token, const std::function<void()>& arrived);

/// The exit code that a callable's result stands for: an int, or a bool as 0 or 1; anything else is ignored.
template <class Invoke>
int exit_code_of(Invoke&& invoke) {
  using Result = std::remove_cvref_t<decltype(invoke())>;
  if constexpr (std::same_as<Result, int> || std::same_as<Result, bool>) {
    return invoke();
  } else {
    invoke();
    return 0;
  }
}

template <class F, class... Args>
int enter_call(Decoder& decoder, std::stop_token stop_token, const std::function<void()>& arrived) {
  // Braces: decoded in this order, which is that in which they were encoded.
  std::tuple<F, Args...> call{decode<F>(decoder), decode<Args>(decoder)...};
  decoder.expect_end();
  if (arrived) arrived();
  return std::apply(
      [&](F& callable, Args&... arguments) {
        return exit_code_of([&]() -> decltype(auto) {
          if constexpr (kTakesStopToken<F, Args...>)
            return std::invoke(std::move(callable), std::move(stop_token), std::move(arguments)...);
          else
            return std::invoke(std::move(callable), std::move(arguments)...);
        });
      },
      call);
}

/// Appends a call of `callable` with copies of `arguments`. Given explicitly, `F` and `Args` may be references.
template <class F, class... Args>
void encode_call(Encoder& encoder, const std::decay_t<F>& callable, const std::decay_t<Args>&... arguments) {
  static_assert(require_portable_call<F, Args...>());
  if constexpr (PortableCallable<F> && (Portable<std::decay_t<Args>> && ...)) {
    const CallEntry entry = &enter_call<std::decay_t<F>, std::decay_t<Args>...>;
    encoder.write_code(reinterpret_cast<const void*>(entry));
    encoder(callable, arguments...);
  }
}

/// Reads a call and makes it, with `stop_token` in front of the arguments if the callable takes one. Returns the exit
/// code that its result stands for. Throws WireError if it is no call of this program; what the callable throws passes.
/// `arrived` is called when everything is decoded and the bytes are no longer needed.
int run_call(Decoder& decoder, std::stop_token stop_token = {}, const std::function<void()>& arrived = {});

}  // namespace detail
}  // namespace tandem
