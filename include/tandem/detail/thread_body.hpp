/// What a thread runs: a callable and its arguments behind one virtual call, so that the rest of Thread is no template.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace tandem::detail {

/// Runs once; whoever ran it destroys it, and with it the callable and its arguments.
class ThreadBody {
 public:
  virtual ~ThreadBody() = default;
  virtual void run(std::stop_token stop) = 0;
  /// For the default name: the address of the function, null if the callable is an object of `type()`.
  virtual const void* function() const noexcept = 0;
  virtual const std::type_info& type() const noexcept = 0;
};

template <class F, class... Args>
concept ThreadCallable = std::invocable<std::decay_t<F>, std::stop_token, std::decay_t<Args>...> ||
                         std::invocable<std::decay_t<F>, std::decay_t<Args>...>;

template <class F, class... Args>
class BoundBody final : public ThreadBody {
 public:
  template <class G, class... Given>
  explicit BoundBody(std::in_place_t, G&& fn, Given&&... args)
      : fn_(std::forward<G>(fn)), args_(std::forward<Given>(args)...) {}

  void run(std::stop_token stop) override {
    std::apply(
        [&](Args&&... args) {
          if constexpr (std::invocable<F, std::stop_token, Args...>) {
            static_cast<void>(std::invoke(std::move(fn_), std::move(stop), std::move(args)...));
          } else {
            static_cast<void>(std::invoke(std::move(fn_), std::move(args)...));
          }
        },
        std::move(args_));
  }
  const void* function() const noexcept override {
    if constexpr (std::is_pointer_v<F> && std::is_function_v<std::remove_pointer_t<F>>) {
      return reinterpret_cast<const void*>(fn_);
    } else {
      return nullptr;
    }
  }
  const std::type_info& type() const noexcept override { return typeid(F); }

 private:
  F fn_;
  std::tuple<Args...> args_;
};

template <class F, class... Args>
std::unique_ptr<ThreadBody> make_thread_body(F&& fn, Args&&... args) {
  static_assert(ThreadCallable<F, Args...>,
                "tandem: this callable cannot be called with copies of these arguments; pass what it takes, by value, "
                "or wrap what it is to refer to in std::ref()");
  return std::make_unique<BoundBody<std::decay_t<F>, std::decay_t<Args>...>>(std::in_place, std::forward<F>(fn),
                                                                             std::forward<Args>(args)...);
}

}  // namespace tandem::detail
