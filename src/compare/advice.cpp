#include <fmt/format.h>

#include <algorithm>
#include <tandem/compare.hpp>

namespace tandem {
namespace {

// Two places closer than this are as good as each other: medians of a few runs on a shared machine differ by as much.
constexpr double kNoise = 1.05;
// Below this gain a second worker is not worth its trouble.
constexpr double kWorthwhile = 1.10;
// What takes this share of the serial run, or more, is named as a reason.
constexpr double kNoticeable = 0.1;
// From this share of waiting on, what the work needs is overlap and not cores.
constexpr double kMostlyWaiting = 0.5;

std::string time_text(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.3g} ms", seconds * 1e3);
  return fmt::format("{:.3g} s", seconds);
}

std::string memory_text(double bytes) {
  return fmt::format("{:.1f} MiB", bytes / (1024 * 1024));
}

/// The rows of a comparison and what follows from them.
class Findings {
 public:
  explicit Findings(const Comparison& found)
      : found_(found),
        serial_(found.row(Where::Serial)),
        threads_(found.row(Where::Threads)),
        gil_(found.row(Where::Gil)),
        processes_(found.row(Where::Processes)),
        cluster_(found.row(Where::Cluster)) {}

  Advice advice() const {
    Advice advice;
    advice.where = best();
    if (serial_ != nullptr) advice.reasons.push_back(kind_of_work());
    if (const std::string gains = what_was_gained(); !gains.empty()) advice.reasons.push_back(gains);
    if (processes_ != nullptr) advice.reasons.push_back(cost_of_processes());
    if (cluster_ != nullptr) advice.reasons.push_back(cost_of_cluster());
    return advice;
  }

 private:
  /// A Gil only ever takes from what threads reach: it wins by chance, and counts only where nothing else was measured.
  const ComparisonRow* fastest() const {
    const ComparisonRow* fastest = serial_;
    for (const ComparisonRow* row : {threads_, processes_, cluster_})
      if (row != nullptr && (fastest == nullptr || row->wall_s.median < fastest->wall_s.median)) fastest = row;
    const bool only_gil = threads_ == nullptr && processes_ == nullptr && cluster_ == nullptr && gil_ != nullptr;
    if (only_gil && (fastest == nullptr || gil_->wall_s.median < fastest->wall_s.median)) fastest = gil_;
    return fastest;
  }

  Where best() const {
    const ComparisonRow* const fastest_row = fastest();
    if (fastest_row == nullptr || fastest_row->speedup < kWorthwhile) return Where::Serial;
    // Threads cost least, then processes: what costs more has to be faster by more than chance.
    for (const ComparisonRow* row : {threads_, processes_})
      if (row != nullptr && row->wall_s.median <= fastest_row->wall_s.median * kNoise) return row->where;
    return fastest_row->where;
  }

  /// The share of serial's time in which it neither computed nor was ready to.
  double waiting_share() const {
    const double busy_s = serial_->cpu_s.median + serial_->crowded_s;
    return std::clamp(1 - busy_s / serial_->wall_s.median, 0.0, 1.0);
  }
  bool mostly_waits() const { return serial_ != nullptr && waiting_share() > kMostlyWaiting; }

  std::string kind_of_work() const {
    const double crowded = std::clamp(serial_->crowded_s / serial_->wall_s.median, 0.0, 1.0);
    std::string shares =
        fmt::format("Of the {} that one worker took, {:.0f}% was CPU and {:.0f}% waiting",
                    time_text(serial_->wall_s.median), (1 - waiting_share() - crowded) * 100, waiting_share() * 100);
    if (crowded > kNoticeable) shares += fmt::format(" ({:.0f}% other programs had the cores)", crowded * 100);
    if (mostly_waits())
      return shares +
             ": waits overlap wherever the workers run, and the machine's limit, which is about computing, does not "
             "bound them.";
    return fmt::format("{}: only more cores help, and {} workers got {:.2f}x out of this machine at best.", shares,
                       found_.workers, found_.machine.limit);
  }

  static void add_gain(std::string& text, const ComparisonRow* row, const char* name) {
    if (row == nullptr) return;
    text += fmt::format("{}{} {:.2f}x", text.empty() ? "" : ", ", name, row->speedup);
  }

  std::string what_was_gained() const {
    std::string text;
    add_gain(text, threads_, "threads");
    add_gain(text, processes_, "processes");
    add_gain(text, cluster_, "cluster");
    add_gain(text, gil_, "threads under one Gil");
    if (text.empty()) return text;
    const ComparisonRow* const fastest_row = fastest();
    if (fastest_row->speedup < kWorthwhile) return fmt::format("Gained: {}: {}.", text, why_not_worth_it());
    // The limit is of this machine alone.
    if (mostly_waits() || fastest_row == cluster_) return fmt::format("Gained: {}.", text);
    return fmt::format("Gained: {}; the best is {:.0f}% of the machine's limit.", text, fastest_row->of_limit * 100);
  }

  std::string why_not_worth_it() const {
    if (found_.machine.limit < kWorthwhile) return "the machine had no second core to give";
    double start_s = 0;
    for (const ComparisonRow* row : {threads_, gil_, processes_})
      if (row != nullptr) start_s = std::max(start_s, row->start_s.median);
    if (serial_ != nullptr && start_s > serial_->wall_s.median * kNoticeable)
      return fmt::format("not worth it, starting the workers alone took up to {}", time_text(start_s));
    return "not worth a second worker";
  }

  std::string cost_of_processes() const {
    const std::string cost =
        fmt::format("Processes cost {} to start and {} of memory", time_text(processes_->start_s.median),
                    memory_text(static_cast<double>(processes_->peak_memory_bytes)));
    return cost +
           "; for that, a part that crashes, leaks or uses a library that is not thread-safe costs itself, not the "
           "program.";
  }

  std::string cost_of_cluster() const {
    return fmt::format(
        "In the cluster it took {}, the way of each part through the server included; for that, its agents may be on "
        "more machines, and one that dies costs time, not the work.",
        time_text(cluster_->wall_s.median));
  }

  const Comparison& found_;
  const ComparisonRow* const serial_;
  const ComparisonRow* const threads_;
  const ComparisonRow* const gil_;
  const ComparisonRow* const processes_;
  const ComparisonRow* const cluster_;
};

}  // namespace

Advice advise(const Comparison& comparison) {
  return Findings(comparison).advice();
}

}  // namespace tandem
