#include "cluster/task_pace.hpp"

#include <algorithm>

namespace tandem::detail {
namespace {

// For shorter tasks more are out than there are slots, for about so long a work of each.
constexpr double kShortNanoseconds = 5e6, kNanosecondsAhead = 1e7;
constexpr std::size_t kMostAhead = 128;
// As much work goes into one message, and so many tasks.
constexpr double kBatchNanoseconds = 4e6;
constexpr std::size_t kMostInBatch = 128;
// What a task counts for that made others wait until their agent sent them back.
constexpr double kLongNanoseconds = 2e7;

}  // namespace

std::atomic<std::int64_t> assumed_call_nanoseconds{0};

void TaskPace::note(std::int64_t nanoseconds) {
  if (const std::int64_t assumed = assumed_call_nanoseconds.load(std::memory_order_relaxed)) nanoseconds = assumed;
  const auto now = static_cast<double>(std::max<std::int64_t>(nanoseconds, 1));
  // Long ones count more: what is handed out behind one waits for it.
  const double share = nanoseconds_ == 0 ? 1 : now > nanoseconds_ ? 0.5 : 0.125;
  nanoseconds_ += (now - nanoseconds_) * share;
}

void TaskPace::note_long() {
  nanoseconds_ = std::max(nanoseconds_, kLongNanoseconds);
}

bool TaskPace::is_short() const noexcept {
  return nanoseconds_ > 0 && nanoseconds_ <= kShortNanoseconds;
}

std::size_t TaskPace::ahead() const {
  const auto ahead = static_cast<std::size_t>(kNanosecondsAhead / std::max(nanoseconds_, 1.0));
  return std::clamp<std::size_t>(ahead, 1, kMostAhead);
}

std::size_t TaskPace::most_in_batch() const {
  if (!is_short()) return 1;
  return std::clamp<std::size_t>(static_cast<std::size_t>(kBatchNanoseconds / nanoseconds_), 1, kMostInBatch);
}

}  // namespace tandem::detail
