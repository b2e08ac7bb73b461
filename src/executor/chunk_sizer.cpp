#include <algorithm>
#include <stdexcept>

#include <tandem/detail/map_run.hpp>

namespace tandem::detail {
namespace {

// So that one measurement that came out much too small does not put all the rest into one task.
constexpr std::size_t kMostGrowth = 8;
// Tasks for each worker: one that runs, one that waits behind it, and one that the reader is busy with.
constexpr std::size_t kTasksForEach = 3;

}  // namespace

ChunkSizer::ChunkSizer(const MapOptions& options, std::size_t workers, std::chrono::nanoseconds task_time)
    : given_(options.chunk_size), window_items_(options.window_items), workers_(workers), task_time_(task_time) {
  if (given_ == std::size_t{0}) throw std::invalid_argument("a chunk of 0 items does nothing: it must have at least 1");
  if (window_items_ == std::size_t{0})
    throw std::invalid_argument("a window of 0 items lets nothing through: it must have at least 1");
}

std::size_t ChunkSizer::next(std::size_t tasks_in_flight, std::size_t items_in_flight,
                             std::optional<std::size_t> left) const {
  if (!window_items_ && tasks_in_flight >= kTasksForEach * workers_) return 0;
  std::size_t size = given_.value_or(found_);
  if (!given_ && left) size = std::min(size, std::max<std::size_t>(1, *left / (2 * workers_)));
  if (!window_items_) return size;
  if (items_in_flight >= *window_items_) return 0;
  // Several tasks share the window, or all but one worker would stand still.
  if (!given_) size = std::min(size, std::max<std::size_t>(1, *window_items_ / (2 * workers_)));
  return std::min(size, *window_items_ - items_in_flight);
}

void ChunkSizer::measured(std::size_t items, std::chrono::nanoseconds time) {
  const double each = std::max(1.0, static_cast<double>(time.count())) / static_cast<double>(items);
  const double wanted =
      std::clamp(static_cast<double>(task_time_.count()) / each, 1.0, static_cast<double>(items * kMostGrowth));
  found_ = static_cast<std::size_t>(wanted);
}

}  // namespace tandem::detail
