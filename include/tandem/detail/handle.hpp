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
  static constexpr ObjectKind kind() {
    return H::kObjectKind;
  }
  template <class H>
  static const SharedObjectPtr& object(const H& handle) {
    return handle.shared_object();
  }
  template <class H>
  static H make(SharedObjectPtr object) {
    return H(std::move(object));
  }
};

template <class T>
concept Handle = HandleAccess::kIsHandle<T>;

}  // namespace tandem::detail
