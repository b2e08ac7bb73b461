#include "core/check.hpp"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

namespace tandem::detail {

void check_failed(const char* file, int line, const char* condition, std::uint64_t a, std::uint64_t b) {
  std::fprintf(stderr, "tandem: invariant broken at %s:%d: %s (values %" PRIu64 ", %" PRIu64 ")\n", file, line,
               condition, a, b);
  std::abort();
}

}  // namespace tandem::detail
