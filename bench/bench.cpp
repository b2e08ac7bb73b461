#include "bench.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <atomic>
#include <exception>
#include <iostream>
#include <thread>

namespace tandem::bench {
namespace {

nlohmann::json spread(const std::vector<double>& values) {
  if (values.empty()) return nullptr;
  const auto [min, max] = std::minmax_element(values.begin(), values.end());
  return {{"min", *min}, {"median", median(values)}, {"max", *max}};
}

/// How many times better `ours` is.
double ratio(Better better, double ours, double theirs) {
  return better == Better::Lower ? theirs / ours : ours / theirs;
}

nlohmann::json row_of(const Measure& measure, const std::vector<double>& ours, const Peer& peer,
                      const std::vector<double>& theirs) {
  nlohmann::json row = {
      {"name", measure.name}, {"unit", measure.unit}, {"better", measure.better == Better::Lower ? "lower" : "higher"},
      {"ours", spread(ours)}, {"peer", peer.name},    {"peer_value", spread(theirs)},
      {"ratio", nullptr},     {"reach", nullptr}};
  if (peer.reach > 0) row["reach"] = peer.reach;
  if (const Point& point = measure.point; !point.plot.empty())
    row["point"] = {{"plot", point.plot}, {"line", point.line}, {"at", point.at}};
  if (theirs.empty()) return row;
  std::vector<double> ratios;
  for (std::size_t round = 0; round < ours.size(); ++round)
    ratios.push_back(ratio(measure.better, ours[round], theirs[round]));
  row["ratio"] = median(std::move(ratios));
  return row;
}

/// A thread that sleeps all the time. In a program that has only one the C library leaves the atomic operations out of
/// its mutexes, but a program that needs a lock has threads.
class SecondThread {
 public:
  SecondThread() : thread_([this] { ended_.wait(false); }) {}
  ~SecondThread() {
    ended_.store(true);
    ended_.notify_all();
    thread_.join();
  }
  SecondThread(const SecondThread&) = delete;
  SecondThread& operator=(const SecondThread&) = delete;

 private:
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

void Table::compare(const Measure& measure, const std::function<double()>& ours, const std::vector<Peer>& peers) {
  if (!wants(measure.name)) return;
  std::vector<std::function<double()>> samples = {ours};
  for (const Peer& peer : peers) samples.push_back(peer.sample);
  std::vector<std::vector<double>> figures(samples.size());
  const int rounds = std::min(rounds_, measure.most_rounds);
  // Round -1 warms up: memory is touched, code is loaded.
  for (int round = -1; round < rounds; ++round) {
    for (std::size_t turn = 0; turn < samples.size(); ++turn) {
      const std::size_t which = (turn + static_cast<std::size_t>(round + 1)) % samples.size();
      if (!samples[which]) continue;
      const double figure = samples[which]();
      if (round >= 0) figures[which].push_back(figure);
    }
  }
  for (std::size_t i = 0; i < peers.size(); ++i)
    std::cout << row_of(measure, figures[0], peers[i], figures[i + 1]).dump() << std::endl;
}

int run(int argc, char** argv, const std::function<void(Table&, const Options&)>& measure) {
  CLI::App app("Prints a row of JSON for each measure and peer; ./dev bench runs all benchmarks and prints a table.");
  std::string only;
  int rounds = 11;
  Options options;
  app.add_option("--only", only, "Measure only what has a part of its name that matches this regular expression");
  app.add_option("--rounds", rounds, "How often ours and the peers are measured by turns")->check(CLI::Range(1, 1000));
  app.add_flag("--large", options.large, "Also what needs several GiB of memory");
  try {
    app.parse(argc, argv);
    Table table(std::regex(only, std::regex::icase), rounds);
    const SecondThread second_thread;
    measure(table, options);
    return 0;
  } catch (const CLI::Success& wanted) {
    return app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    std::cerr << error.what() << '\n';
    return 2;
  } catch (const std::regex_error&) {
    std::cerr << "--only: not a regular expression: " << only << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << argv[0] << ": " << error.what() << '\n';
    return 1;
  }
}

}  // namespace tandem::bench
