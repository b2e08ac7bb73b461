// Inputs that fuzzing has found to reach different code, run again as a test. docs/internals/connection.md says how to
// fuzz.
#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "fuzz/decoder_target.hpp"
#include "fuzz/socket_target.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem::testing {
namespace {

using Input = std::vector<std::byte>;

// The first inputs of fuzzing are files of their own, as it takes them; what it has found is a line of hexadecimal
// numbers each.
std::vector<Input> seeds_of(const std::string& target) {
  const std::string folder = TANDEM_TEST_FUZZ_DIR "/seeds/";
  std::vector<Input> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(folder + target)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const auto bytes = std::as_bytes(std::span(text));
    seeds.emplace_back(bytes.begin(), bytes.end());
  }
  std::ifstream found(folder + target + "_found.hex");
  for (std::string line; std::getline(found, line);) {
    Input& input = seeds.emplace_back();
    for (std::size_t i = 0; i + 1 < line.size(); i += 2)
      input.push_back(static_cast<std::byte>(std::stoi(line.substr(i, 2), nullptr, 16)));
  }
  return seeds;
}

class FuzzSeedsTest : public LeakCheckedTest {
 protected:
  static void run_all(const std::string& target, void (*run)(std::span<const std::byte>)) {
    const std::vector<Input> seeds = seeds_of(target);
    EXPECT_GE(seeds.size(), 100U) << "the seeds are not there";
    // All beginnings too: what is cut short is an error like any other.
    for (const Input& seed : seeds)
      for (std::size_t size = 0; size <= seed.size(); ++size) run(std::span(seed).first(size));
  }
};

TEST_F(FuzzSeedsTest, TheDecoderTakesAll) {
  run_all("decoder", run_decoder_target);
}

TEST_F(FuzzSeedsTest, TheSocketTakesAll) {
  run_all("socket", run_socket_target);
}

}  // namespace
}  // namespace tandem::testing
