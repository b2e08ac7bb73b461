#include "core/progress_text.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace tandem::detail {
namespace {

constexpr std::size_t kShortestBar = 8;
constexpr std::size_t kLongestBar = 40;

/// "0:07", "12:30", "3:05:00".
std::string clock_text(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::clamp(seconds, 0.0, 1e9));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string rate_text(double per_second, const std::string& unit) {
  if (per_second > 0 && per_second < 1) return fmt::format("{:.1f} s/{}", 1 / per_second, unit);
  return fmt::format("{:.{}f} {}/s", per_second, per_second < 100 ? 1 : 0, unit);
}

double share_of(const ProgressState& state) {
  if (*state.total == 0) return 1;
  return std::min(1.0, static_cast<double>(state.done) / static_cast<double>(*state.total));
}

std::string bar(double share, std::size_t width, const ProgressLook& look) {
  // Eighths of a character.
  const auto eighths = static_cast<std::size_t>(std::lround(share * static_cast<double>(width) * 8));
  std::string text;
  if (look.blocks) {
    static constexpr const char* kParts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    for (std::size_t full = 0; full < eighths / 8; ++full) text += "█";
    text += kParts[eighths % 8];
    text.append(width - (eighths + 7) / 8, ' ');
    return look.colours ? "\x1b[36m" + text + "\x1b[0m" : text;
  }
  text.append(eighths / 8, '#').append(width - eighths / 8, '-');
  return look.colours ? "\x1b[36m" + text + "\x1b[0m" : text;
}

/// At most so many bytes, without cutting a character of UTF-8.
std::string shortened(const std::string& text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
  return text.substr(0, most);
}

}  // namespace

std::string progress_line(const ProgressState& state, const ProgressLook& look) {
  // The last column stays free: some terminals wrap when it is written.
  const std::size_t columns = look.columns > 0 ? look.columns - 1 : 0;
  const std::string label = state.label.empty() ? "" : state.label + ' ';
  if (!state.total) {
    return shortened(fmt::format("{}{} {} [{}, {}]", label, state.done, state.unit, clock_text(state.elapsed.count()),
                                 rate_text(state.per_second, state.unit)),
                     columns);
  }
  const double share = share_of(state);
  const double left = static_cast<double>(*state.total - std::min(*state.total, state.done));
  const std::string remaining = state.per_second > 0 ? clock_text(left / state.per_second) : left > 0 ? "?" : "0:00";
  // Down, so that 100% is all.
  const std::string front = fmt::format("{}{:3}% ", label, static_cast<int>(share * 100));
  const std::string back =
      fmt::format(" {}/{} [{} < {}, {}]", state.done, *state.total, clock_text(state.elapsed.count()), remaining,
                  rate_text(state.per_second, state.unit));
  if (front.size() + back.size() + kShortestBar > columns) return shortened(front + back.substr(1), columns);
  return front + bar(share, std::min(kLongestBar, columns - front.size() - back.size()), look) + back;
}

std::string progress_summary(const ProgressState& state) {
  const double seconds = state.elapsed.count();
  const double per_second = seconds > 0 ? static_cast<double>(state.done) / seconds : 0;
  const std::string of = state.total && *state.total != state.done ? fmt::format(" of {}", *state.total) : "";
  return fmt::format("{}{}{} {} in {} ({})", state.label.empty() ? "" : state.label + ": ", state.done, of, state.unit,
                     seconds < 60 ? fmt::format("{:.1f} s", seconds) : clock_text(seconds),
                     rate_text(per_second, state.unit));
}

}  // namespace tandem::detail
