#include "table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "text.hpp"

namespace tandem::tool {
namespace {

constexpr std::size_t kWidth = 80;
constexpr std::size_t kIndent = 10;
constexpr std::size_t kSpreadWidth = 14;

/// "51.9-53.0": in the unit that time_text() gives the median.
std::string spread_text(const Spread& spread) {
  const std::string median = time_text(spread.median);
  const double unit = median.ends_with(" us") ? 1e6 : median.ends_with(" ms") ? 1e3 : 1;
  const std::size_t point = median.find('.');
  const std::size_t digits = point == std::string::npos ? 0 : median.find(' ') - point - 1;
  const std::string text = fmt::format("{:.{}f}-{:.{}f}", spread.min * unit, digits, spread.max * unit, digits);
  // Far apart, their fractions say nothing and would not fit.
  return text.size() < kSpreadWidth ? text : fmt::format("{:.0f}-{:.0f}", spread.min * unit, spread.max * unit);
}

/// "label     text", broken into lines that are indented alike.
std::string paragraph(std::string_view label, std::string_view text) {
  std::string result;
  for (const std::string& line : wrap(text, kWidth - kIndent)) {
    result += fmt::format("{:<{}}{}\n", label, kIndent, line);
    label = "";
  }
  return result;
}

std::string title(const Comparison& found) {
  return paragraph("work", fmt::format("{} {}", found.work, found.inputs)) +
         paragraph("workers", fmt::format("{}; {} runs after a warm-up", found.workers, found.runs)) +
         paragraph("machine",
                   fmt::format("{} cores, {}, {}", found.machine.cores, found.machine.kernel, found.machine.compiler)) +
         paragraph("limit", fmt::format("{:.2f}x: what {} bare processes got out of it meanwhile", found.machine.limit,
                                        found.workers));
}

std::string row_text(const ComparisonRow& row) {
  return fmt::format("{:<9}{:>9}{:>14}{:>10}{:>10}{:>9}{:>9}{:>10}\n", to_string(row.where),
                     time_text(row.wall_s.median), spread_text(row.wall_s), fmt::format("{:.2f}x", row.speedup),
                     row.where == Where::Cluster ? "-" : fmt::format("{:.0f}%", row.of_limit * 100),
                     time_text(row.cpu_s.median),
                     row.where == Where::Serial || row.where == Where::Cluster ? "-" : time_text(row.start_s.median),
                     memory_text(row.peak_memory_bytes));
}

/// The lines of a result, all but the first few left out if there are many.
std::string result_text(const Comparison& found) {
  constexpr std::size_t kMostLines = 12;
  std::string text;
  std::string_view rest = found.rows.front().result;
  std::string_view label = "result";
  for (std::size_t line = 0; !rest.empty() || line == 0; ++line) {
    if (line == kMostLines) {
      const auto left = std::count(rest.begin(), rest.end(), '\n') + 1;
      return text + paragraph("", fmt::format("... and {} lines more: all of them with --json", left));
    }
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    text += paragraph(label, printable(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    label = "";
  }
  return text;
}

}  // namespace

std::string to_table(const Comparison& found) {
  std::string text = title(found);
  text += fmt::format("\n{:<9}{:>9}{:>14}{:>10}{:>10}{:>9}{:>9}{:>10}\n", "where", "wall", "min-max", "speed-up",
                      "of limit", "cpu", "start", "memory");
  for (const ComparisonRow& row : found.rows) text += row_text(row);
  text += "\n" + result_text(found);
  text += paragraph(
      "agree", found.agree ? "yes: every run in every place gave this result" : "NO: " + printable(found.difference));
  text += "\n" + paragraph("advice", to_string(found.advice.where));
  for (const std::string& reason : found.advice.reasons) text += paragraph("", reason);
  return text;
}

}  // namespace tandem::tool
