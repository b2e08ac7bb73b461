#include "number.hpp"

#include <fmt/format.h>

#include <charconv>

#include "bad_input.hpp"
#include "text.hpp"

namespace tandem::tool {

std::uint64_t parse_number(const std::string& option, const std::string& text, std::uint64_t least,
                           std::uint64_t most) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < least || value > most)
    throw BadInput(fmt::format("{} {}: must be a whole number from {} to {}", option, printable(text), least, most));
  return value;
}

}  // namespace tandem::tool
