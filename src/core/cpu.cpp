#include <tandem/cpu.hpp>

#include <hwloc.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/cpu_sources.hpp"
#include "core/log.hpp"
#include "core/system.hpp"

namespace tandem::detail {
namespace {

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();
constexpr const char* kLimitVariable = "TANDEM_CPU_LIMIT";

// A whole number that fills all of `text`.
std::optional<long long> parse_number(std::string_view text) {
  long long number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; (at = text.find_first_not_of(separators, at)) != text.npos;) {
    const std::size_t end = std::min(text.find_first_of(separators, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end;
  }
  return parts;
}

std::size_t online_cpus(const CpuSources& sources) {
  if (sources.online) return *sources.online;
  const long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? static_cast<std::size_t>(count) : kNoLimit;
}

std::size_t affinity_by_call() {
  // The kernel refuses a set smaller than its own, whose size it does not tell.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (set == nullptr) return kNoLimit;
    const std::size_t size = CPU_ALLOC_SIZE(cpus);
    const bool known = sched_getaffinity(0, size, set) == 0;
    const int error = errno;
    const int count = known ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (known) return count > 0 ? static_cast<std::size_t>(count) : kNoLimit;
    if (error != EINVAL) return kNoLimit;
  }
  return kNoLimit;
}

// From the line "Cpus_allowed_list: 0-3,8" of the thread's status.
std::size_t affinity_by_status(const std::string& proc) {
  constexpr std::string_view kField = "Cpus_allowed_list:";
  std::string status = read_small_file(proc + "/thread-self/status");
  if (status.empty()) status = read_small_file(proc + "/self/status");
  for (const std::string_view line : split(status, "\n")) {
    if (!line.starts_with(kField)) continue;
    std::size_t count = 0;
    for (const std::string_view range : split(line.substr(kField.size()), ", \t")) {
      const std::size_t dash = range.find('-');
      const auto first = parse_number(range.substr(0, dash));
      const auto last = dash == range.npos ? first : parse_number(range.substr(dash + 1));
      if (!first || !last || *first < 0 || *last < *first) return kNoLimit;
      count += static_cast<std::size_t>(*last - *first) + 1;
    }
    return count > 0 ? count : kNoLimit;
  }
  return kNoLimit;
}

std::size_t affinity_cpus(const CpuSources& sources) {
  const std::size_t count = sources.affinity_call ? affinity_by_call() : kNoLimit;
  return count != kNoLimit ? count : affinity_by_status(sources.proc);
}

// CPUs for a quota of time in each period, in microseconds both. Malformed or unlimited ("max", -1): no limit.
std::size_t quota_cpus(std::string_view quota_text, std::string_view period_text) {
  const auto quota = parse_number(quota_text);
  const auto period = parse_number(period_text);
  if (!quota || !period || *quota <= 0 || *period <= 0) return kNoLimit;
  return static_cast<std::size_t>((*quota - 1) / *period + 1);
}

// cgroup version 2: one file "QUOTA PERIOD".
std::size_t unified_limit(const std::string& group) {
  const std::string text = read_small_file(group + "/cpu.max");
  const auto words = split(text, " \n");
  return words.size() == 2 ? quota_cpus(words[0], words[1]) : kNoLimit;
}

// cgroup version 1: a file for each.
std::size_t legacy_limit(const std::string& group) {
  const std::string quota = read_small_file(group + "/cpu.cfs_quota_us");
  const std::string period = read_small_file(group + "/cpu.cfs_period_us");
  const auto quota_words = split(quota, " \n");
  const auto period_words = split(period, " \n");
  return quota_words.size() == 1 && period_words.size() == 1 ? quota_cpus(quota_words[0], period_words[0]) : kNoLimit;
}

// The least limit of a group and all above it. In a container the path may be one of the host, of which the container
// sees the last part only or nothing: directories that are not there do not limit, and the root always counts.
template <class Limit>
std::size_t least_upwards(const std::string& root, std::string path, Limit limit) {
  if (path.find("..") != path.npos) path.clear();
  std::size_t least = kNoLimit;
  for (;;) {
    while (path.ends_with('/')) path.pop_back();
    least = std::min<std::size_t>(least, limit(root + path));
    if (path.empty()) return least;
    path.resize(std::min(path.rfind('/'), path.size() - 1));
  }
}

std::size_t cgroup_cpus(const CpuSources& sources) {
  std::size_t least = kNoLimit;
  const std::string groups = read_small_file(sources.proc + "/self/cgroup");
  for (const std::string_view line : split(groups, "\n")) {
    // "0::/path" for version 2, "4:cpu,cpuacct:/path" for version 1.
    const std::size_t first = line.find(':');
    const std::size_t second = first == line.npos ? first : line.find(':', first + 1);
    if (second == line.npos) continue;
    const std::string controllers(line.substr(first + 1, second - first - 1));
    const std::string path(line.substr(second + 1));
    if (controllers.empty()) {
      for (const char* mount : {"", "/unified"}) {
        least = std::min(least, least_upwards(sources.cgroup + mount, path, unified_limit));
      }
      continue;
    }
    const auto names = split(controllers, ",");
    if (std::find(names.begin(), names.end(), "cpu") == names.end()) continue;
    for (const std::string& mount : {std::string("cpu"), controllers}) {
      least = std::min(least, least_upwards(sources.cgroup + "/" + mount, path, legacy_limit));
    }
  }
  return least;
}

std::size_t user_limit() {
  const char* text = std::getenv(kLimitVariable);
  if (text == nullptr || text[0] == '\0') return kNoLimit;
  const auto limit = parse_number(text);
  if (!limit || *limit < 1) {
    throw std::invalid_argument(std::string(kLimitVariable) + " must be a whole number from 1 on, not \"" + text +
                                "\"");
  }
  return static_cast<std::size_t>(*limit);
}

int count_cores_by_hwloc() {
  hwloc_topology_t topology;
  if (hwloc_topology_init(&topology) != 0) return 0;
  const int count = hwloc_topology_load(topology) == 0 ? hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) : 0;
  hwloc_topology_destroy(topology);
  return count;
}

void warn_once_about_cores(std::size_t used_instead) {
  static std::atomic<bool> warned{false};
  if (warned.exchange(true)) return;
  log_line(LogLevel::Warning, "cannot count the physical cores of this machine; taking its {} usable CPUs for them",
           used_instead);
}

}  // namespace

std::size_t cpu_count(const CpuSources& sources) {
  const std::size_t limit = user_limit();
  const std::size_t least = std::min({limit, online_cpus(sources), affinity_cpus(sources), cgroup_cpus(sources)});
  return least == kNoLimit ? 1 : std::max<std::size_t>(least, 1);
}

std::size_t physical_core_count(const CpuSources& sources) {
  const std::size_t usable = cpu_count(sources);
  // Cores do not come and go as limits do, and counting them is slow.
  static std::atomic<int> cores_of_machine{-1};
  int cores = sources.count_cores != nullptr ? sources.count_cores() : cores_of_machine.load();
  if (cores < 0 && sources.count_cores == nullptr) {
    cores = count_cores_by_hwloc();
    cores_of_machine.store(std::max(cores, 0));
  }
  if (cores <= 0) {
    warn_once_about_cores(usable);
    return usable;
  }
  return std::min(usable, static_cast<std::size_t>(cores));
}

}  // namespace tandem::detail

namespace tandem {

std::size_t cpu_count() {
  return detail::cpu_count(detail::CpuSources{});
}
std::size_t physical_core_count() {
  return detail::physical_core_count(detail::CpuSources{});
}

}  // namespace tandem
