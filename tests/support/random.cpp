#include "support/random.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace tandem::testing {

std::uint64_t seed() {
  static const std::uint64_t value = [] {
    if (const char* text = std::getenv("TANDEM_TEST_SEED")) return std::strtoull(text, nullptr, 10);
    std::random_device device;
    return static_cast<unsigned long long>(device());
  }();
  return value;
}

void print_seed() {
  const std::string text = std::to_string(seed());
  ::setenv("TANDEM_TEST_SEED", text.c_str(), 1);
  std::printf("TANDEM_TEST_SEED=%s\n", text.c_str());
  // A forked child must not print it again.
  std::fflush(stdout);
}

std::mt19937_64 random_engine(std::uint64_t stream) {
  const std::array<std::uint32_t, 4> parts = {
      static_cast<std::uint32_t>(seed()), static_cast<std::uint32_t>(seed() >> 32), static_cast<std::uint32_t>(stream),
      static_cast<std::uint32_t>(stream >> 32)};
  std::seed_seq sequence(parts.begin(), parts.end());
  return std::mt19937_64(sequence);
}

}  // namespace tandem::testing
