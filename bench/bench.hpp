/// What every benchmark is made of: rows that set one way of doing something beside others.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <regex>
#include <string>
#include <vector>

namespace tandem::bench {

enum class Better { Lower, Higher };

/// Where a row is in one of the plots that bench/plots.py draws. Value.
struct Point {
  std::string plot;  ///< Empty: in none.
  std::string line;  ///< What ours is called there; the peers go by their names.
  double at = 0;
};

/// What a row measures. Value.
struct Measure {
  std::string name;  ///< "Lock, alone": what is done, and where.
  std::string unit;
  Better better = Better::Lower;
  Point point = {};
  int most_rounds = 1000;  ///< Fewer than others where one round takes long.
};

/// Something that Tandem is measured beside. Value.
struct Peer {
  std::string name;
  /// Does it once and returns one figure, in the measure's unit; empty if the peer is not installed here.
  std::function<double()> sample;
  /// How many times better than the peer Tandem is meant to be; 0.5 is "within 2 times", 0 asks for nothing.
  double reach = 0;
};

/// Measures and prints rows: one line of JSON for each peer, in which bench/run reads them.
///
///   table.compare({"Lock, alone", "ns"}, ours, {{"std::mutex", theirs, 0.5}});
///
/// Ours and every peer are measured by turns, in an order that changes from round to round, for what a core is worth
/// changes from second to second on a shared machine. The ratio is the median of the rounds' ratios: those of figures
/// that were taken side by side.
class Table {
 public:
  /// Only rows whose names contain `only` are measured.
  Table(std::regex only, int rounds) : only_(std::move(only)), rounds_(rounds) {}
  void compare(const Measure& measure, const std::function<double()>& ours, const std::vector<Peer>& peers);
  /// Whether any row with one of these names is wanted: for what is costly to prepare.
  bool wants(const std::string& name) const { return std::regex_search(name, only_); }

 private:
  std::regex only_;
  int rounds_;
};

/// What the command line of a benchmark says besides. Value.
struct Options {
  bool large = false;  ///< Also what needs several GiB of memory.
};

/// The main() of a benchmark: reads the command line (--only REGEX, --rounds N, --large), calls `measure`, and returns
/// the exit code. To be called after tandem::init().
int run(int argc, char** argv, const std::function<void(Table&, const Options&)>& measure);

/// Keeps the compiler from seeing through memory: what was stored is stored, what is read is read.
inline void clobber_memory() {
  asm volatile("" : : : "memory");
}

/// Keeps the compiler from leaving out the computation of `value`.
template <class T>
void keep(T& value) {
  asm volatile("" : "+m"(value) : : "memory");
}

inline double microseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values);

/// Nanoseconds that one call of `operation` takes: the median of short runs, so that those in which another program had
/// the core do not count.
template <int kRuns = 15, int kCalls = 20'000, class Operation>
double nanoseconds_each(Operation operation) {
  std::vector<double> runs;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    for (int call = 0; call < kCalls; ++call) {
      operation();
      clobber_memory();
    }
    runs.push_back(microseconds_since(start) * 1000 / kCalls);
  }
  return median(std::move(runs));
}

/// The median of how many microseconds one call of `operation` takes, of `calls`.
template <class Operation>
double median_microseconds(int calls, Operation operation) {
  std::vector<double> times;
  for (int call = 0; call < calls; ++call) {
    const auto start = std::chrono::steady_clock::now();
    operation();
    times.push_back(microseconds_since(start));
  }
  return median(std::move(times));
}

}  // namespace tandem::bench
