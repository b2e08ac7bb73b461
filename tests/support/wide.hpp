/// A struct that no single store writes, to see whether it is torn.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace tandem::testing {

/// All words are the same unless it is torn. Value.
struct Wide {
  std::array<std::uint64_t, 200> words{};
  bool is(std::uint64_t word) const {
    return std::ranges::all_of(words, [word](std::uint64_t one) { return one == word; });
  }
  bool whole() const { return is(words[0]); }
};
inline Wide wide(std::uint64_t word) {
  Wide all;
  all.words.fill(word);
  return all;
}

}  // namespace tandem::testing
