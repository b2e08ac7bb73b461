/// How many workers this process can usefully run at once.
#pragma once

#include <cstddef>

namespace tandem {

/// Counts the CPUs that this process may use: the least of
///  - those that the machine has online,
///  - those that the scheduler lets the calling thread run on (affinity mask, cpuset),
///  - what the container's CPU quota allows (cgroup version 2 or 1, of the process's group and those above it), rounded
///  up,
///  - the environment variable TANDEM_CPU_LIMIT, if it is set and not empty.
/// At least 1. Asked anew at each call, since each of these may change.
/// Errors: std::invalid_argument if TANDEM_CPU_LIMIT is not a whole number from 1 on.
/// Cost: some files of /proc and /sys are read, about 50 us.
std::size_t cpu_count();

/// Counts the physical cores, of which several CPUs may be one by simultaneous multithreading; never more than
/// cpu_count(), so every limit counts here too. Where the machine does not say, this is cpu_count(), and a line on the
/// standard error stream says so once.
/// Errors: as cpu_count().
/// Cost: tens of milliseconds for the first call in a process.
std::size_t physical_core_count();

}  // namespace tandem
