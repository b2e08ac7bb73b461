/// What the user gave and cannot be used: an argument, a file, a plugin.
#pragma once

#include <stdexcept>

namespace tandem::tool {

/// The text is one line that names the thing. Ends the tool with exit code 2, before anything is printed on stdout.
class BadInput : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace tandem::tool
