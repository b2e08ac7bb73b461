/// A comparison as a table for people.
#pragma once

#include <string>
#include <tandem/compare.hpp>

namespace tandem::tool {

/// At most 80 columns wide, apart from results that cannot be broken.
std::string to_table(const Comparison& comparison);

}  // namespace tandem::tool
