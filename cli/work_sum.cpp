#include <fmt/format.h>

#include <tandem/gil.hpp>

#include "number.hpp"
#include "range.hpp"
#include "work.hpp"

namespace tandem::tool {
namespace {

// The largest N for which the sum of 0 to N - 1 fits in 64 bits.
constexpr std::uint64_t kLargestTo = 6'074'001'000;
// Additions between two checkpoints: some 20 to 60 us, so that a Gil's switch interval of 5 ms is kept and the
// checkpoint, one load, costs nothing that can be measured.
constexpr std::uint64_t kBlock = std::uint64_t{1} << 16;

}  // namespace

// Adds the numbers from `begin` to before `end`, one after the other on the CPU. The empty statement says that it reads
// and changes `total`, so each addition must be done, in a register, after the one before: the compiler can neither put
// the closed form n(n-1)/2 in place of the loop nor add several numbers at once in a vector. A test looks at the
// machine code. Not in the unnamed namespace, so that it finds it by name.
[[gnu::noinline]] std::uint64_t add_one_by_one(std::uint64_t total, std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t i = begin; i < end; ++i) {
    total += i;
    asm volatile("" : "+r"(total));
  }
  return total;
}

namespace {

std::uint64_t sum_of(const Range& range) {
  std::uint64_t total = 0;
  for (std::uint64_t begin = range.begin; begin < range.end;) {
    const std::uint64_t end = std::min(range.end, begin + kBlock);
    total = add_one_by_one(total, begin, end);
    begin = end;
    checkpoint();
  }
  return total;
}

class SumWork final : public Work {
 public:
  std::string name() const override { return "sum"; }
  std::string usage() const override { return "sum --to N"; }
  std::string description() const override {
    return "Adds 0 to N - 1 one by one: only computes, as one chain of dependent additions.";
  }
  void add_options(CLI::App& app) override {
    app.add_option("--to", to_, fmt::format("the first number that is not added, 0 to {}", kLargestTo))
        ->required()
        ->type_name("N");
  }
  Workload make() const override {
    const std::uint64_t to = parse_number("--to", to_, 0, kLargestTo);
    Workload work = workload(
        name(), [to](std::size_t workers) { return split_range({0, to}, workers); }, &sum_of,
        [](const std::vector<std::uint64_t>& parts) {
          std::uint64_t total = 0;
          for (const std::uint64_t part : parts) total += part;
          return std::to_string(total);
        });
    work.set_inputs(fmt::format("--to {}", to));
    return work;
  }

 private:
  std::string to_;
};

}  // namespace

std::unique_ptr<Work> sum_work() {
  return std::make_unique<SumWork>();
}

}  // namespace tandem::tool
