/// What the thread part guards with locks that must be sane in a forked process.
#pragma once

#include "core/mutex.hpp"

namespace tandem::detail {

// Held while the process forks, in this order and before the registry's.
Mutex& exit_hooks_mutex();
Mutex& excepthook_mutex();

/// Arranges for fork(), once: all of the thread part's locks are held while the process forks, so that the child finds
/// whole data and locks that nobody holds.
void arm_fork_handlers();

}  // namespace tandem::detail
