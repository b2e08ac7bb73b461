// A parameter sweep: the same model for many parameters, on every core. ThreadExecutor -> ProcessExecutor: nothing else
// changes.
#include <tandem/tandem.hpp>

#include <algorithm>
#include <iostream>
#include <vector>

struct Parameters {
  int spread = 0;    // Percent of contacts that infect.
  int recovery = 0;  // Percent of the infected that recover each day.
};

struct Outcome {
  Parameters parameters;
  long peak = 0;  // The most who are infected at once.
  int days = 0;   // Until fewer than one in a million is.
};

/// An epidemic among a million, in integers so that every machine prints the same.
Outcome simulate(const Parameters& parameters) {
  constexpr long kPeople = 1'000'000;
  Outcome outcome{parameters};
  long healthy = kPeople - 100, infected = 100;
  for (; infected > 0; ++outcome.days) {
    const long caught = std::min(healthy, infected * parameters.spread * healthy / kPeople / 100);
    const long recovered = (infected * parameters.recovery + 99) / 100;
    healthy -= caught;
    infected += caught - recovered;
    outcome.peak = std::max(outcome.peak, infected);
  }
  return outcome;
}

int main() {
  tandem::init();
  std::vector<Parameters> grid;
  for (int spread = 5; spread <= 60; ++spread)
    for (int recovery = 5; recovery <= 30; recovery += 5) grid.push_back({spread, recovery});

  tandem::ThreadExecutor executor;
  Outcome highest, longest;
  for (const Outcome& outcome : executor.map(simulate, grid)) {  // in the order of the grid, whoever is faster
    if (outcome.peak > highest.peak) highest = outcome;
    if (outcome.days > longest.days) longest = outcome;
  }
  std::cout << grid.size() << " runs\n"
            << "highest peak: " << highest.peak << " with spread " << highest.parameters.spread << "%, recovery "
            << highest.parameters.recovery << "%\n"
            << "longest: " << longest.days << " days with spread " << longest.parameters.spread << "%, recovery "
            << longest.parameters.recovery << "%\n";
}
