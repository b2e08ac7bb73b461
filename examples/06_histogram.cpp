// Fills one histogram from several processes: how many steps the numbers below a million take to reach 1, if an even
// one is halved and an odd one tripled and raised by 1.
#include <tandem/tandem.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <mutex>
#include <vector>

constexpr std::size_t kBins = 11, kStepsInABin = 50;

void count(std::uint64_t begin, std::uint64_t end, tandem::Array<int> histogram, tandem::Value<std::size_t> longest) {
  std::array<int, kBins> mine{};
  std::size_t most = 0;
  for (std::uint64_t number = begin; number < end; ++number) {
    std::size_t steps = 0;
    for (std::uint64_t now = number; now != 1; ++steps) now = now % 2 == 0 ? now / 2 : 3 * now + 1;
    ++mine[steps / kStepsInABin];
    most = std::max(most, steps);
  }
  const std::scoped_lock guard(histogram);  // Once for all bins: the others see all of this part or nothing.
  for (std::size_t bin = 0; bin < kBins; ++bin) histogram[bin] += mine[bin];
  longest.update([most](std::size_t so_far) { return std::max(so_far, most); });
}

int main() {
  tandem::init();
  constexpr std::uint64_t count_of_processes = 4, numbers = 1'000'000;

  tandem::Array<int> histogram(kBins);
  tandem::Value<std::size_t> longest;
  std::vector<tandem::Process> workers;
  for (std::uint64_t i = 0; i < count_of_processes; ++i)
    workers.emplace_back(count, 1 + numbers * i / count_of_processes, 1 + numbers * (i + 1) / count_of_processes,
                         histogram, longest);
  for (auto& worker : workers) worker.start();
  for (auto& worker : workers) worker.join();

  for (std::size_t bin = 0; bin < kBins; ++bin)
    std::cout << bin * kStepsInABin << " to " << (bin + 1) * kStepsInABin - 1 << " steps: " << histogram[bin] << '\n';
  std::cout << "longest: " << longest << '\n';
}
