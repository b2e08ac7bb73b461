#include <tandem/progress.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <string_view>

#include "core/mutex.hpp"
#include "core/progress_text.hpp"
#include "core/terminal_row.hpp"

namespace tandem {
namespace {

using Clock = std::chrono::steady_clock;

// Often enough to look alive.
constexpr std::chrono::milliseconds kBetweenLooks{100};
// How much of the rate as of late is the newest.
constexpr double kNewest = 0.2;

bool wants_colours() {
  const char* const none = std::getenv("NO_COLOR");
  return none == nullptr || *none == '\0';
}
bool has_blocks() {
  for (const char* const name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* const value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view text = value;
    return text.find("UTF-8") != text.npos || text.find("utf8") != text.npos;
  }
  return false;
}

}  // namespace

struct ProgressBar::Inside {
  explicit Inside(ProgressOptions options)
      : state{.label = std::move(options.label), .unit = std::move(options.unit), .total = options.total},
        process(::getpid()) {}

  void show(std::uint64_t done, Clock::time_point now) {
    const std::chrono::duration<double> since = now - shown;
    const double latest = static_cast<double>(done - state.done) / std::max(since.count(), 1e-9);
    state.per_second = state.done == 0 ? latest : state.per_second + (latest - state.per_second) * kNewest;
    state.done = done;
    state.elapsed = now - begun;
    shown = now;
    row.look_at_size();
    look.columns = row.columns();
    row.show(detail::progress_line(state, look));
  }

  const Clock::time_point begun = Clock::now();
  std::atomic<Clock::rep> next_look{begun.time_since_epoch().count()};
  detail::Mutex mutex;
  detail::ProgressState state;
  detail::ProgressLook look;
  detail::TerminalRow row;
  Clock::time_point shown = begun;
  bool is_shown = false;
  const pid_t process;  // A forked child has a copy, which shows nothing.
};

ProgressBar::ProgressBar(ProgressOptions options) : inside_(std::make_unique<Inside>(std::move(options))) {
  inside_->look.colours = wants_colours();
  inside_->look.blocks = has_blocks();
  inside_->is_shown = inside_->row.take();
}

ProgressBar::~ProgressBar() {
  Inside& inside = *inside_;
  if (inside.process != ::getpid()) return;
  inside.state.done = done();
  inside.state.elapsed = Clock::now() - inside.begun;
  // The row is given back first: the line is one of the program's output.
  std::destroy_at(&inside.row);
  std::construct_at(&inside.row);
  try {
    detail::write_to_stderr(detail::progress_summary(inside.state) + '\n');
  } catch (const std::bad_alloc&) {
    // One line less.
  }
}

void ProgressBar::show_if_due() noexcept {
  Inside& inside = *inside_;
  if (!inside.is_shown) return;
  const Clock::time_point now = Clock::now();
  Clock::rep next = inside.next_look.load(std::memory_order_relaxed);
  // Whoever moves the time of the next look on is the one who shows it.
  if (now.time_since_epoch().count() < next ||
      !inside.next_look.compare_exchange_strong(next, (now + kBetweenLooks).time_since_epoch().count(),
                                                std::memory_order_relaxed))
    return;
  if (inside.process != ::getpid()) return;
  try {
    detail::MutexGuard guard(inside.mutex);
    inside.show(done(), now);
  } catch (const std::exception&) {
    // Shown the next time.
  }
}

}  // namespace tandem
