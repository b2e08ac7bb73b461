/// For broken invariants of our own: over shared memory that we do not trust, going on is worse than stopping.
#pragma once

#include <cstdint>

namespace tandem::detail {

/// Prints file, line, the condition and two values, then aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition, std::uint64_t a, std::uint64_t b);

}  // namespace tandem::detail

/// Aborts unless `condition` holds; `a` and `b` are the values to print.
#define TANDEM_CHECK(condition, a, b)                                                               \
  do {                                                                                              \
    if (!(condition)) [[unlikely]]                                                                  \
      ::tandem::detail::check_failed(__FILE__, __LINE__, #condition, static_cast<std::uint64_t>(a), \
                                     static_cast<std::uint64_t>(b));                                \
  } while (false)
