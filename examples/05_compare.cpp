// Measures work of your own in every place, and says where it should run: here, counting primes.
#include <tandem/tandem.hpp>

#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

// One worker's part: every `step`-th number from `first` on, since large numbers take longer than small ones.
struct Part {
  std::uint64_t first;
  std::uint64_t step;
};

std::uint64_t count_primes(const Part& part) {
  std::uint64_t count = 0;
  for (std::uint64_t number = part.first; number < 100'000; number += part.step) {
    bool prime = number > 1;
    for (std::uint64_t divisor = 2; prime && divisor * divisor <= number; ++divisor) prime = number % divisor != 0;
    count += prime ? 1 : 0;
    tandem::checkpoint();  // Lets threads take turns under a Gil.
  }
  return count;
}

std::vector<Part> split(std::size_t workers) {
  std::vector<Part> parts;
  for (std::size_t i = 0; i < workers; ++i) parts.push_back({i, workers});
  return parts;
}

std::string add_up(const std::vector<std::uint64_t>& counts) {
  std::uint64_t total = 0;
  for (std::uint64_t count : counts) total += count;
  return std::to_string(total);
}

int main() {
  tandem::init();
  tandem::Comparison found = tandem::compare(tandem::workload("primes", split, count_primes, add_up), {.runs = 3});
  for (const tandem::ComparisonRow& row : found.rows)
    std::cout << tandem::to_string(row.where) << ": " << row.wall_s.median << " s, result " << row.result << '\n';
  std::cout << "advice: " << tandem::to_string(found.advice.where) << '\n';
  for (const std::string& reason : found.advice.reasons) std::cout << "  " << reason << '\n';
  return found.agree ? 0 : 3;
}
