/// How a queue ends, and what its members then throw.
#pragma once

#include <cstdint>

#include <tandem/error.hpp>

namespace tandem::detail {

enum Closing : std::uint64_t { kOpen = 0, kDraining = 1, kDiscarded = 2 };

[[noreturn]] inline void throw_put_on_closed() {
  throw QueueClosed("put() on a closed queue");
}
[[noreturn]] inline void throw_get_on_closed() {
  throw QueueClosed("get() on a queue that is closed and drained");
}

}  // namespace tandem::detail
