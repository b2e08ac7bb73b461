#include <fmt/format.h>

#include <chrono>
#include <tandem/queue.hpp>

#include "number.hpp"
#include "range.hpp"
#include "work.hpp"

namespace tandem::tool {
namespace {

constexpr std::uint64_t kLongestMs = 60'000;
constexpr std::uint64_t kMostWaits = 1'000'000;

struct Waits {
  std::uint64_t count = 0;
  std::uint64_t ms = 0;
};

/// Waits as work that asks a disk or another machine does: for something that takes its time, without computing.
std::uint64_t wait_all(const Waits& waits) {
  Queue<int> answers;
  std::uint64_t done = 0;
  for (; done < waits.count; ++done) {
    // Nobody answers. The wait is Tandem's own, so it gives up a Gil as every wait in Tandem does.
    if (answers.get_for(std::chrono::milliseconds(waits.ms))) break;
  }
  return done;
}

class WaitWork final : public Work {
 public:
  std::string name() const override { return "wait"; }
  std::string usage() const override { return "wait --ms M --count K"; }
  std::string description() const override {
    return "Waits K times for M milliseconds: only waits, as work that asks a disk or a server.";
  }
  void add_options(CLI::App& app) override {
    app.add_option("--ms", ms_, fmt::format("length of one wait in milliseconds, 1 to {}", kLongestMs))
        ->required()
        ->type_name("M");
    app.add_option("--count", count_, fmt::format("number of waits, 1 to {}", kMostWaits))->required()->type_name("K");
  }
  Workload make() const override {
    const std::uint64_t ms = parse_number("--ms", ms_, 1, kLongestMs);
    const std::uint64_t count = parse_number("--count", count_, 1, kMostWaits);
    Workload work = workload(
        name(),
        [ms, count](std::size_t workers) {
          std::vector<Waits> tasks;
          for (const Range& range : split_range({0, count}, workers)) tasks.push_back({range.end - range.begin, ms});
          return tasks;
        },
        &wait_all,
        [ms](const std::vector<std::uint64_t>& parts) {
          std::uint64_t done = 0;
          for (const std::uint64_t part : parts) done += part;
          return fmt::format("{} waits of {} ms", done, ms);
        });
    work.set_inputs(fmt::format("--ms {} --count {}", ms, count));
    return work;
  }

 private:
  std::string ms_;
  std::string count_;
};

}  // namespace

std::unique_ptr<Work> wait_work() {
  return std::make_unique<WaitWork>();
}

}  // namespace tandem::tool
