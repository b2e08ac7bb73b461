#include <fmt/format.h>

#include <algorithm>

#include <tandem/gil.hpp>

#include "number.hpp"
#include "range.hpp"
#include "work.hpp"

namespace tandem::tool {
namespace {

// Trial division: some minutes.
constexpr std::uint64_t kLargestTo = 1'000'000'000;
// So many parts for each worker that the last ones, which take longest, do not leave the others idle for long.
constexpr std::size_t kPartsForEach = 16;
// Numbers between two checkpoints: at the largest some 30 us each, mostly far less.
constexpr std::uint64_t kBlock = 64;

bool is_prime(std::uint64_t number) {
  if (number < 4) return number > 1;
  if (number % 2 == 0) return false;
  for (std::uint64_t divisor = 3; divisor * divisor <= number; divisor += 2)
    if (number % divisor == 0) return false;
  return true;
}

std::uint64_t primes_in(const Range& range) {
  std::uint64_t count = 0;
  for (std::uint64_t number = range.begin; number < range.end; ++number) {
    if (is_prime(number)) ++count;
    if (number % kBlock == 0) checkpoint();
  }
  return count;
}

class PrimesWork final : public Work {
 public:
  std::string name() const override { return "primes"; }
  std::string usage() const override { return "primes --to N"; }
  std::string description() const override {
    return "Counts the primes below N by trial division: only computes, uneven, so a pool hands out parts.";
  }
  void add_options(CLI::App& app) override {
    app.add_option("--to", to_, fmt::format("the first number that is not looked at, 0 to {}", kLargestTo))
        ->required()
        ->type_name("N");
  }
  Workload make() const override {
    const std::uint64_t to = parse_number("--to", to_, 0, kLargestTo);
    Workload work = workload(
        name(),
        [to](std::size_t workers) {
          // Of equal length, so that the later ones take longer.
          return split_range({0, to}, workers == 1 ? 1 : workers * kPartsForEach);
        },
        &primes_in,
        [](const std::vector<std::uint64_t>& counts) {
          std::uint64_t total = 0;
          for (const std::uint64_t count : counts) total += count;
          return std::to_string(total);
        });
    work.set_inputs(fmt::format("--to {}", to));
    return work;
  }

 private:
  std::string to_;
};

}  // namespace

std::unique_ptr<Work> primes_work() {
  return std::make_unique<PrimesWork>();
}

}  // namespace tandem::tool
