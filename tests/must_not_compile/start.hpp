/// Makes the check of a call that crosses a process boundary, without the rest of it.
#pragma once

#include <utility>

#include <tandem/callable.hpp>

template <class F, class... Args>
void start(F&&, Args&&...) {
  static_assert(tandem::detail::require_portable_call<F, Args...>());
}
