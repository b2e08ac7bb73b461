/// Standard output and standard error of the tool.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace tandem::tool {

/// Standard output takes no more: a closed pipe, a full disk.
class OutputFailed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Opens the standard descriptors that the caller left closed, so that no other file gets their numbers, and makes
/// writing into a closed pipe an error instead of a signal. Call it before anything else is opened.
void prepare_output();

/// Writes all of the text to standard output. Throws OutputFailed.
void print(std::string_view text);
/// Throws OutputFailed if print() is known to fail: asked before hours of work.
void check_output();

/// Writes "tandem: <text>" as one line to standard error, over a progress bar if there is one.
void print_error(std::string_view text);

/// Whether standard error is a terminal: only then is there a progress bar.
bool error_is_terminal();

}  // namespace tandem::tool
