#include "output.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "text.hpp"

namespace tandem::tool {
namespace {

bool output_was_closed = false;

/// The error, or 0.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

}  // namespace

void prepare_output() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    if (fd == STDOUT_FILENO) output_was_closed = true;
    // The lowest free number is taken, and those below are open by now.
    static_cast<void>(::open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY));
  }
  ::signal(SIGPIPE, SIG_IGN);
}

void check_output() {
  if (output_was_closed) throw OutputFailed("standard output is closed");
}

void print(std::string_view text) {
  check_output();
  if (const int error = write_all(STDOUT_FILENO, text); error != 0)
    throw OutputFailed(fmt::format("cannot write to standard output: {}", std::strerror(error)));
}

void print_error(std::string_view text) {
  // A result that differs or an exception's text may have several lines; this is one.
  static_cast<void>(
      write_all(STDERR_FILENO, fmt::format("{}tandem: {}\n", error_is_terminal() ? "\r\x1b[K" : "", printable(text))));
}

bool error_is_terminal() {
  return ::isatty(STDERR_FILENO) == 1;
}

}  // namespace tandem::tool
