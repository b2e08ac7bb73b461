/// Counting words in text of any kind.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

namespace tandem::tool {

/// A word is a letter and the letters and combining marks that follow it, as Unicode has them, without regard to case.
/// Everything else separates words: digits, punctuation, and bytes that are no UTF-8.
class WordCounter {
 public:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Counts = std::unordered_map<std::string, std::uint64_t, Hash, std::equal_to<>>;

  /// Goes on with the next bytes of the text; a word or a character may be cut anywhere.
  void add(std::span<const char> bytes);
  /// Ends the text: what follows is another one.
  void end_text();

  std::uint64_t total() const { return total_; }
  const Counts& counts() const { return counts_; }

  /// Whether a text may be cut behind this byte without changing the words of both halves: ASCII, and no letter.
  static bool separates(char byte);

 private:
  void add_whole(std::string_view text);
  void end_word();

  std::string word_;
  std::string cut_character_;
  std::uint64_t total_ = 0;
  Counts counts_;
};

}  // namespace tandem::tool
