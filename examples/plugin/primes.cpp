// A plugin: work of your own for `tandem compare plugin LIB.so`. This one counts primes: primes.so 1000000
#include <tandem/gil.hpp>
#include <tandem/plugin.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

/// Every `step`-th odd number from `first` to below `to`: the workers take turns, since large numbers take longer.
struct Numbers {
  std::uint64_t first;
  std::uint64_t to;
  std::uint64_t step;
};

bool is_prime(std::uint64_t number) {
  for (std::uint64_t divisor = 3; divisor * divisor <= number; divisor += 2)
    if (number % divisor == 0) return false;
  return number > 1;
}

// One worker's part. It runs in this process or in another: all that it needs is in its argument.
std::uint64_t count_primes(const Numbers& numbers) {
  std::uint64_t count = 0;
  for (std::uint64_t number = numbers.first; number < numbers.to; number += numbers.step) {
    count += is_prime(number) ? 1 : 0;
    tandem::checkpoint();  // Lets the threads take turns when they run under a Gil.
  }
  return count;
}

}  // namespace

tandem::Workload tandem::plugin(const std::vector<std::string>& arguments) {
  if (arguments.size() != 1 || arguments.front().find_first_not_of("0123456789") != std::string::npos)
    throw std::invalid_argument("give one number: primes below it are counted");
  const std::uint64_t to = std::stoull(arguments.front());
  auto split = [to](std::size_t workers) {
    std::vector<Numbers> tasks;
    for (std::size_t i = 0; i < workers; ++i) tasks.push_back({2 * i + 1, to, 2 * workers});
    return tasks;
  };
  auto add_up = [to](const std::vector<std::uint64_t>& counts) {
    std::uint64_t total = to > 2 ? 1 : 0;  // 2 itself.
    for (std::uint64_t count : counts) total += count;
    return std::to_string(total);
  };
  return tandem::workload("primes", split, count_primes, add_up);
}
