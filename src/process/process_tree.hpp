/// All the descendants of a process.
#pragma once

#include <sys/types.h>

namespace tandem::detail {

/// Kills a process and all of its descendants; none can escape by starting another meanwhile. `pidfd` is the process's.
void kill_process_tree(pid_t root, int pidfd);

}  // namespace tandem::detail
