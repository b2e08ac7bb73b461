#include "executor/worker_usage.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <sstream>
#include <string>

#include "core/system.hpp"

namespace tandem::detail {
namespace {

/// User and system time out of a line "pid (name) state ...", where the name may hold anything.
std::chrono::nanoseconds cpu_time_of(const std::string& stat) {
  const std::size_t close = stat.rfind(')');
  if (close == stat.npos) return {};
  std::istringstream rest(stat.substr(close + 1));
  std::string skipped;
  for (int field = 0; field < 11; ++field) rest >> skipped;
  std::int64_t user = 0, system = 0;
  rest >> user >> system;
  return std::chrono::nanoseconds((user + system) * (1'000'000'000 / ::sysconf(_SC_CLK_TCK)));
}

}  // namespace

void add_usage(WorkerInfo& worker) {
  const std::string process = "/proc/" + std::to_string(worker.pid);
  if (worker.native_id == worker.pid) {
    worker.cpu_time = cpu_time_of(read_small_file(process + "/stat"));
  } else {
    // To the nanosecond, but for one thread only.
    std::int64_t nanoseconds = 0;
    std::istringstream(read_small_file(process + "/task/" + std::to_string(worker.native_id) + "/schedstat")) >>
        nanoseconds;
    worker.cpu_time = std::chrono::nanoseconds(nanoseconds);
  }
  std::uint64_t size_pages = 0, resident_pages = 0;
  std::istringstream(read_small_file(process + "/statm")) >> size_pages >> resident_pages;
  worker.memory_bytes = resident_pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace tandem::detail
