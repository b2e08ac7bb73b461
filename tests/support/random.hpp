/// Randomness that can be had again: every seed comes from one, which each run prints.
#pragma once

#include <cstdint>
#include <random>

namespace tandem::testing {

/// The seed of this run: TANDEM_TEST_SEED if that is set, else new for each run. Children inherit it.
std::uint64_t seed();

/// Says on standard output how to have this run again, and hands the seed to child processes.
void print_seed();

/// An engine that gives the same numbers in each run with the same seed. Engines that work side by side take different
/// values of `stream`.
std::mt19937_64 random_engine(std::uint64_t stream = 0);

}  // namespace tandem::testing
