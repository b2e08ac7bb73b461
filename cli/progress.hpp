/// The bar that shows on a terminal how far a comparison is.
#pragma once

#include <cstddef>
#include <string_view>

namespace tandem::tool {

/// Draws over the current line of standard error; does nothing unless that is a terminal.
class Progress {
 public:
  Progress();
  /// Says how much is done and what is measured now; all done clears the line.
  void show(std::size_t done, std::size_t total, std::string_view what);

 private:
  const bool is_terminal_;
};

}  // namespace tandem::tool
