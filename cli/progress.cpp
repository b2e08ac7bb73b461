#include "progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <string>

#include "output.hpp"

namespace tandem::tool {

Progress::Progress() : is_terminal_(error_is_terminal()) {}

void Progress::show(std::size_t done, std::size_t total, std::string_view what) {
  if (!is_terminal_) return;
  constexpr std::size_t kColumns = 40;
  const std::size_t filled = total == 0 ? kColumns : kColumns * done / total;
  const std::string line = done == total ? std::string("\r\x1b[K")
                                         : fmt::format("\r\x1b[K[{}{}] {} of {}: {}", std::string(filled, '#'),
                                                       std::string(kColumns - filled, '.'), done + 1, total, what);
  static_cast<void>(::write(STDERR_FILENO, line.data(), line.size()));
}

}  // namespace tandem::tool
