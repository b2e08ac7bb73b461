/// Where cpu_count() and physical_core_count() look; tests give them other places.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace tandem::detail {

struct CpuSources {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
  /// False where the system call is refused, as some sandboxes do: the mask is then read from `proc`.
  bool affinity_call = true;
  /// The CPUs of the machine; read from the system if empty.
  std::optional<std::size_t> online;
  /// Counts the physical cores; 0 or less: not known. Null: hwloc.
  int (*count_cores)() = nullptr;
};

/// The same as their public namesakes, from these sources. The environment variable counts in any case.
std::size_t cpu_count(const CpuSources& sources);
std::size_t physical_core_count(const CpuSources& sources);

}  // namespace tandem::detail
