/// One run of the work in one place.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <tandem/compare.hpp>

namespace tandem::detail {

struct Measurement {
  double wall_s = 0;
  double cpu_s = 0;
  double start_s = 0;
  double crowded_s = 0;
  /// 0 unless asked for.
  std::uint64_t peak_memory_bytes = 0;
  std::string result;
};

enum class Memory { Ignore, Sample };

/// Runs the work once. Throws WorkerFailed if a part has no result, CompareStopped once `options.stop` says so.
Measurement measure(const Workload& work, Where where, std::size_t workers, const CompareOptions& options,
                    Memory memory);

}  // namespace tandem::detail
