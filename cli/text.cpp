#include "text.hpp"

#include <fmt/format.h>
#include <unicode/utf8.h>

namespace tandem::tool {
namespace {

void append_escaped(std::string& to, std::string_view bytes) {
  for (const char byte : bytes) to += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result;
  const auto size = static_cast<std::int32_t>(text.size());
  for (std::int32_t at = 0; at < size;) {
    const std::int32_t begin = at;
    UChar32 character = 0;
    U8_NEXT(text.data(), at, size, character);
    const std::string_view bytes = text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(at - begin));
    // C1 controls (0x80 to 0x9f) move a terminal's cursor as the C0 ones do.
    const bool control = character < 0x20 || (character >= 0x7f && character < 0xa0);
    if (control) {
      append_escaped(result, bytes);
    } else {
      result += bytes;
    }
  }
  return result;
}

std::string time_text(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.1f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.{}f} ms", seconds * 1e3, seconds < 0.1 ? 1 : 0);
  return fmt::format("{:.2f} s", seconds);
}

std::string memory_text(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1024 * 1024));
}

std::size_t columns(std::string_view text) {
  std::size_t count = 0;
  for (const char byte : text)
    if ((static_cast<unsigned char>(byte) & 0xc0) != 0x80) ++count;
  return count;
}

std::vector<std::string> wrap(std::string_view text, std::size_t width) {
  std::vector<std::string> lines(1);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!lines.back().empty() && columns(lines.back()) + 1 + columns(word) > width) lines.emplace_back();
    if (!lines.back().empty()) lines.back() += ' ';
    lines.back() += word;
  }
  return lines;
}

}  // namespace tandem::tool
