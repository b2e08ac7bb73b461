/// The bounds of a thread's stack.
#pragma once

#include <cstddef>

namespace tandem::detail {

/// Throws std::invalid_argument for a size that no thread can be given.
void check_stack_size(std::size_t bytes);

}  // namespace tandem::detail
