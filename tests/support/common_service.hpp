/// Processes that all tests of a program use.
#pragma once

#include <sys/types.h>

namespace tandem::testing {

/// From now on no test counts a child of this process, or what that starts, among what it may leave behind.
void leave_out_service(pid_t child);

}  // namespace tandem::testing
