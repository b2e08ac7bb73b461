/// What a worker has used of the machine.
#pragma once

#include <tandem/executor_options.hpp>

namespace tandem::detail {

/// Adds CPU time and memory, as the kernel tells them now; leaves 0 if the worker is gone.
void add_usage(WorkerInfo& worker);

}  // namespace tandem::detail
