/// The last row of the terminal on standard error, kept free from what the program prints.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tandem::detail {

/// Takes the last row out of the region that scrolls. One at a time. Owner.
///
/// If a signal ends the program, its handler gives the row back first; a signal that is handled or ignored already is
/// handled as before behind that. So does std::exit().
class TerminalRow {
 public:
  /// Whether standard error is a terminal that can do this.
  static bool is_possible() noexcept;
  /// False if there is another one, or it is not possible.
  [[nodiscard]] bool take();
  /// Gives it back, cleared.
  ~TerminalRow();
  TerminalRow() = default;
  TerminalRow(const TerminalRow&) = delete;
  TerminalRow& operator=(const TerminalRow&) = delete;

  /// Of the terminal now.
  std::size_t columns() const noexcept { return columns_; }
  /// Looks at the size of the terminal, and follows it.
  void look_at_size();
  /// Writes a text that is no wider into the row.
  void show(std::string_view text);

 private:
  bool taken_ = false;
  std::size_t columns_ = 0, rows_ = 0;
};

/// Writes all of it to standard error; what cannot be written is lost.
void write_to_stderr(std::string_view text) noexcept;

}  // namespace tandem::detail
