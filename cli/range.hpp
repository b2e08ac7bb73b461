/// Half-open ranges of numbers, cut evenly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tandem::tool {

struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  friend bool operator==(const Range&, const Range&) = default;
};

/// Cuts a range into `parts` ranges whose lengths differ by at most one; some are empty if there is less than one each.
inline std::vector<Range> split_range(Range whole, std::size_t parts) {
  std::vector<Range> ranges;
  const std::uint64_t length = whole.end - whole.begin;
  std::uint64_t begin = whole.begin;
  for (std::size_t i = 0; i < parts; ++i) {
    const std::uint64_t end = begin + length / parts + (i < length % parts ? 1 : 0);
    ranges.push_back({begin, end});
    begin = end;
  }
  return ranges;
}

}  // namespace tandem::tool
