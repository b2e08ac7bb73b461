/// Numbers on the command line.
#pragma once

#include <cstdint>
#include <string>

namespace tandem::tool {

/// Reads a whole number between two bounds, both included. Throws BadInput that names the option and the bounds.
std::uint64_t parse_number(const std::string& option, const std::string& text, std::uint64_t least, std::uint64_t most);

}  // namespace tandem::tool
