/// What Value and RawValue have in common: which changes are one step for which type, and what they make of a value.
#pragma once

#include <concepts>
#include <functional>
#include <type_traits>

namespace tandem::detail {

/// Adds and subtracts as std::atomic does: numbers without a fraction wrap around.
template <class T>
T sum_of(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<std::make_unsigned_t<T>>(a) + static_cast<std::make_unsigned_t<T>>(b));
  } else {
    return a + b;
  }
}
template <class T>
T difference_of(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<std::make_unsigned_t<T>>(a) - static_cast<std::make_unsigned_t<T>>(b));
  } else {
    return a - b;
  }
}

template <class T>
concept UseUpdateSinceItIsNoNumber = std::is_arithmetic_v<T> && !std::same_as<T, bool>;
template <class T>
concept UseUpdateSinceItIsNoInteger = std::integral<T> && !std::same_as<T, bool>;
template <class T>
concept UseAValueWithALockSinceItIsLargerThanAWord =
    (sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);

/// What `change` makes of a value: it returns the new one, or changes the one it is given.
template <class T, class Change>
T changed(const T& value, Change& change) {
  T next(value);
  if constexpr (std::is_void_v<std::invoke_result_t<Change&, T&>>) {
    std::invoke(change, next);
    return next;
  } else {
    return static_cast<T>(std::invoke(change, next));
  }
}

}  // namespace tandem::detail
