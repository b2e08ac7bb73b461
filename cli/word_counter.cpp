#include "word_counter.hpp"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <utility>

namespace tandem::tool {
namespace {

/// Each ASCII letter's lower case; 0 for all other bytes.
constexpr std::array<char, 256> kAsciiLetters = [] {
  std::array<char, 256> letters{};
  for (char c = 'a'; c <= 'z'; ++c) {
    letters[static_cast<unsigned char>(c)] = c;
    letters[static_cast<unsigned char>(c - 'a' + 'A')] = c;
  }
  return letters;
}();

bool is_ascii(char byte) {
  return static_cast<unsigned char>(byte) < 0x80;
}

/// How many bytes at the end of the text are the beginning of a character whose rest is still to come; 0 to 3.
std::size_t cut_bytes(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<std::uint8_t>(text[text.size() - back]);
    if (U8_IS_SINGLE(byte)) return 0;
    if (U8_IS_LEAD(byte)) return static_cast<std::size_t>(U8_COUNT_TRAIL_BYTES(byte)) >= back ? back : 0;
  }
  return 0;
}

}  // namespace

bool WordCounter::separates(char byte) {
  return is_ascii(byte) && kAsciiLetters[static_cast<unsigned char>(byte)] == 0;
}

void WordCounter::add(std::span<const char> bytes) {
  std::string_view text(bytes.data(), bytes.size());
  // Completes the character that the last block cut: with the bytes that follow it, until it is whole or broken.
  while (!cut_character_.empty() && !text.empty()) {
    cut_character_ += text.front();
    text.remove_prefix(1);
    const std::size_t whole = cut_character_.size() - cut_bytes(cut_character_);
    add_whole(std::string_view(cut_character_).substr(0, whole));
    cut_character_.erase(0, whole);
  }
  const std::size_t cut = cut_bytes(text);
  if (cut != 0) {
    cut_character_ = text.substr(text.size() - cut);
    text.remove_suffix(cut);
  }
  add_whole(text);
}

void WordCounter::end_text() {
  add_whole(std::exchange(cut_character_, {}));
  end_word();
}

void WordCounter::add_whole(std::string_view text) {
  const auto size = static_cast<std::int32_t>(text.size());
  for (std::int32_t at = 0; at < size;) {
    const char byte = text[static_cast<std::size_t>(at)];
    if (is_ascii(byte)) {
      ++at;
      if (const char letter = kAsciiLetters[static_cast<unsigned char>(byte)]; letter != 0) {
        word_ += letter;
      } else {
        end_word();
      }
      continue;
    }
    UChar32 character = 0;
    U8_NEXT(text.data(), at, size, character);
    const std::uint32_t category = character < 0 ? 0 : U_GET_GC_MASK(character);
    if ((category & U_GC_L_MASK) != 0 || ((category & U_GC_M_MASK) != 0 && !word_.empty())) {
      std::array<char, U8_MAX_LENGTH> folded{};
      std::int32_t length = 0;
      const UChar32 same = u_foldCase(character, U_FOLD_CASE_DEFAULT);
      U8_APPEND_UNSAFE(folded.data(), length, same);
      word_.append(folded.data(), static_cast<std::size_t>(length));
    } else {
      end_word();
    }
  }
}

void WordCounter::end_word() {
  if (word_.empty()) return;
  ++total_;
  const auto found = counts_.find(std::string_view(word_));
  if (found != counts_.end()) {
    ++found->second;
  } else {
    counts_.emplace(word_, 1);
  }
  word_.clear();
}

}  // namespace tandem::tool
