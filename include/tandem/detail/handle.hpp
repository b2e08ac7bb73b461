/// How the wire recognises a handle and takes it apart, without making those members public.
#pragma once

#include <concepts>
#include <utility>

#include <tandem/detail/shared_object.hpp>

namespace tandem::detail {

/// A handle type names this struct as its friend and has, privately: `static constexpr ObjectKind kObjectKind`,
/// `const SharedObjectPtr& shared_object() const`, and a constructor from SharedObjectPtr.
struct HandleAccess {
  template <class H>
  static constexpr bool kIsHandle = requires(const H& handle) {
    { H::kObjectKind } -> std::convertible_to<ObjectKind>;
    { handle.shared_object() } -> std::convertible_to<const SharedObjectPtr&>;
  };
  template <class H>
  static constexpr bool kHasParts = requires(const H& handle) {
    { handle.parts() } -> std::same_as<typename H::Parts>;
  };
  template <class H>
  static constexpr ObjectKind kind() {
    return H::kObjectKind;
  }
  template <class H>
  static const SharedObjectPtr& object(const H& handle) {
    return handle.shared_object();
  }
  /// The untyped inside of a queue.
  template <class Q>
  static auto core(const Q& queue) -> decltype((queue.core_)) {
    return queue.core_;
  }
  template <class H>
  static H make(SharedObjectPtr object) {
    return H(std::move(object));
  }
  template <class H>
  static auto parts(const H& handle) {
    return handle.parts();
  }
  template <class H>
  static auto get_parts_type() -> typename H::Parts;
  template <class H, class Parts>
  static H make_of(Parts parts) {
    return H(std::move(parts));
  }
};

template <class T>
concept Handle = HandleAccess::kIsHandle<T>;

/// A handle made of several, which travel together: a Condition with its lock. It names HandleAccess as its friend and
/// has, privately: `using Parts = std::tuple<...>` of handles, `Parts parts() const`, and a constructor from Parts.
template <class T>
concept CompositeHandle = HandleAccess::kHasParts<T>;
template <CompositeHandle T>
using PartsOfHandle = decltype(HandleAccess::get_parts_type<T>());

}  // namespace tandem::detail
