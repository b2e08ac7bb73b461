/// A reference to a callable, for the length of one call.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace tandem::detail {

template <class Signature>
class FunctionRef;

/// Refers to a callable without owning it: a parameter type, as the standard's function_ref will be.
template <class Result, class... Arguments>
class FunctionRef<Result(Arguments...)> {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> && std::is_invocable_r_v<Result, F&, Arguments...>)
  FunctionRef(F&& function)  // NOLINT(google-explicit-constructor): so that a lambda is passed as it stands
      : self_(const_cast<void*>(static_cast<const void*>(std::addressof(function)))),
        call_([](void* self, Arguments... arguments) -> Result {
          return (*static_cast<std::remove_reference_t<F>*>(self))(std::forward<Arguments>(arguments)...);
        }) {}
  Result operator()(Arguments... arguments) const { return call_(self_, std::forward<Arguments>(arguments)...); }

 private:
  void* self_;
  Result (*call_)(void*, Arguments...);
};

}  // namespace tandem::detail
