/// A comparison as JSON.
#pragma once

#include <string>
#include <tandem/compare.hpp>

namespace tandem::tool {

/// One object; its names are a contract, see docs/reference/cli.md. Ends with a line end.
std::string to_json(const Comparison& comparison);

}  // namespace tandem::tool
