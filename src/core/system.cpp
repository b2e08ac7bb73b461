#include "core/system.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <system_error>

namespace tandem::detail {

void throw_system_error(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), what);
}

void throw_errno(const std::string& what) {
  throw_system_error(errno, what);
}

void Fd::reset() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Fd above_standard(Fd fd) noexcept {
  if (!fd || fd.get() > STDERR_FILENO) return fd;
  return Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

Fd open_file(const std::string& path, int flags, unsigned mode) noexcept {
  return above_standard(Fd(retry_on_signal([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); })));
}

std::string read_small_file(const std::string& path) {
  std::string text;
  const Fd file = open_file(path, O_RDONLY);
  if (!file) return text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = retry_on_signal([&] { return ::read(file.get(), buffer, sizeof buffer); });
    if (n <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(n));
  }
}

}  // namespace tandem::detail
