/// Text as it may go to a terminal, and figures as a person reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tandem::tool {

/// The text with control characters, which could hide in a file's name, and bytes that are no UTF-8, as \xNN.
std::string printable(std::string_view text);

/// "41.2 us", "52.1 ms", "1.38 s".
std::string time_text(double seconds);
/// "5.1 MiB".
std::string memory_text(std::uint64_t bytes);

/// Breaks a text at spaces into lines of at most `width` columns.
std::vector<std::string> wrap(std::string_view text, std::size_t width);
/// Columns that a UTF-8 text takes, if each character takes one.
std::size_t columns(std::string_view text);

}  // namespace tandem::tool
