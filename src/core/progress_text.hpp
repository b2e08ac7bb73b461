/// What a progress bar says.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace tandem::detail {

struct ProgressState {
  std::string label{};
  std::string unit{};
  std::uint64_t done = 0;
  std::optional<std::uint64_t> total{};
  std::chrono::duration<double> elapsed{};
  double per_second = 0;  ///< As of late; for the time that is left.
};

/// How it is drawn.
struct ProgressLook {
  std::size_t columns = 80;
  bool colours = false;
  bool blocks = false;  ///< Characters beyond ASCII.
};

/// "sweep  45% ########--- 450/1000 [0:12 < 0:15, 36.2 items/s]": never wider than there are columns.
std::string progress_line(const ProgressState& state, const ProgressLook& look);
/// "sweep: 1000 items in 27.6 s (36.2 items/s)".
std::string progress_summary(const ProgressState& state);

}  // namespace tandem::detail
