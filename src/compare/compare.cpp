#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <stdexcept>
#include <tandem/compare.hpp>
#include <tandem/cpu.hpp>

#include "compare/machine_limit.hpp"
#include "compare/measurement.hpp"

namespace tandem {
namespace {

constexpr std::size_t kMostWorkers = 4096;

std::string kernel_name() {
  utsname name{};
  ::uname(&name);
  return fmt::format("{} {}", name.sysname, name.release);
}

std::string compiler_name() {
#if defined(__clang__)
  return fmt::format("clang++ {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  return fmt::format("g++ {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Spread spread(const std::vector<detail::Measurement>& runs, double detail::Measurement::* figure) {
  std::vector<double> values;
  for (const detail::Measurement& run : runs) values.push_back(run.*figure);
  const auto [min, max] = std::minmax_element(values.begin(), values.end());
  return {*min, median(values), *max};
}

/// Enough of a result to tell it from another.
std::string excerpt(const std::string& text) {
  constexpr std::size_t kLongest = 200;
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

/// One call of compare().
class Session {
 public:
  Session(const Workload& work, const CompareOptions& options)
      : work_(work),
        options_(options),
        workers_(options.workers != 0 ? options.workers : std::max<std::size_t>(2, cpu_count())),
        limit_(workers_, options.stop) {
    if (options.runs == 0) throw std::invalid_argument("compare(): runs must be at least 1");
    if (workers_ > kMostWorkers)
      throw std::invalid_argument(fmt::format("compare(): {} workers; the most are {}", workers_, kMostWorkers));
    if (is_asked_for(Where::Cluster) && !options.cluster)
      throw std::invalid_argument("compare(): where is the cluster? CompareOptions::cluster says so");
    if (options.where.empty()) throw std::invalid_argument("compare(): no place to measure");
    for (const Where where : {Where::Serial, Where::Threads, Where::Gil, Where::Processes, Where::Cluster})
      if (where == Where::Serial || is_asked_for(where)) places_.push_back({where, {}, 0});
  }

  Comparison run() {
    warm_up();
    for (std::size_t round = 0; round < options_.runs; ++round) measure_round(round);
    progress("");
    Comparison found = comparison();
    found.advice = advise(found);  // By all that was measured; only then is hidden what was not asked for.
    std::erase_if(found.rows, [&](const ComparisonRow& row) { return !is_asked_for(row.where); });
    return found;
  }

 private:
  struct Place {
    Where where;
    std::vector<detail::Measurement> runs;
    std::uint64_t peak_memory_bytes;
  };

  bool is_asked_for(Where where) const {
    return std::find(options_.where.begin(), options_.where.end(), where) != options_.where.end();
  }

  void progress(std::string_view what) {
    if (options_.on_progress) options_.on_progress(done_, (options_.runs + 1) * (places_.size() + 1), what);
    ++done_;
  }

  void warm_up() {
    for (Place& place : places_) {
      progress(to_string(place.where));
      const detail::Measurement run = measure(place, detail::Memory::Sample);
      place.peak_memory_bytes = run.peak_memory_bytes;
      if (place.where == Where::Serial) limit_.calibrate(run.wall_s);
    }
    progress("limit");
    limit_.measure();
  }

  void measure_round(std::size_t round) {
    for (std::size_t turn = 0; turn <= places_.size(); ++turn) {
      const std::size_t which = (round + turn) % (places_.size() + 1);
      if (which == places_.size()) {
        progress("limit");
        limits_.push_back(limit_.measure());
      } else {
        progress(to_string(places_[which].where));
        places_[which].runs.push_back(measure(places_[which], detail::Memory::Ignore));
      }
    }
  }

  detail::Measurement measure(const Place& place, detail::Memory memory) {
    detail::Measurement run = detail::measure(work_, place.where, workers_, options_, memory);
    if (!result_) {
      result_ = run.result;
      result_of_ = place.where;
    } else if (run.result != *result_ && difference_.empty()) {
      difference_ = fmt::format("{} gave {} where {} gave {}", to_string(place.where), excerpt(run.result),
                                to_string(result_of_), excerpt(*result_));
    }
    return run;
  }

  Comparison comparison() const {
    Comparison found;
    found.work = work_.name();
    found.inputs = work_.inputs();
    found.machine = {cpu_count(), kernel_name(), compiler_name(), median(limits_)};
    found.workers = workers_;
    found.runs = options_.runs;
    for (const Place& place : places_) {
      ComparisonRow row;
      row.where = place.where;
      row.wall_s = spread(place.runs, &detail::Measurement::wall_s);
      row.cpu_s = spread(place.runs, &detail::Measurement::cpu_s);
      row.start_s = spread(place.runs, &detail::Measurement::start_s);
      row.crowded_s = spread(place.runs, &detail::Measurement::crowded_s).median;
      const double serial_s = found.rows.empty() ? row.wall_s.median : found.rows.front().wall_s.median;
      row.speedup = serial_s / row.wall_s.median;
      if (place.where != Where::Cluster) row.of_limit = row.speedup / found.machine.limit;
      row.peak_memory_bytes = place.peak_memory_bytes;
      row.result = place.runs.back().result;
      found.rows.push_back(std::move(row));
    }
    found.agree = difference_.empty();
    found.difference = difference_;
    return found;
  }

  const Workload& work_;
  const CompareOptions& options_;
  const std::size_t workers_;
  std::vector<Place> places_;  // Serial first.
  detail::MachineLimit limit_;
  std::vector<double> limits_;
  std::size_t done_ = 0;
  std::optional<std::string> result_;
  Where result_of_ = Where::Serial;
  std::string difference_;
};

}  // namespace

std::unique_ptr<detail::SplitWork> Workload::split(std::size_t workers) const {
  return split_(workers);
}

const ComparisonRow* Comparison::row(Where where) const noexcept {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const ComparisonRow& row) { return row.where == where; });
  return found == rows.end() ? nullptr : &*found;
}

Comparison compare(const Workload& work, const CompareOptions& options) {
  return Session(work, options).run();
}

}  // namespace tandem
