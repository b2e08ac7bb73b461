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

std::string read_small_file(const std::string& path) {
  std::string text;
  Fd file(retry_on_signal([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!file) return text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = retry_on_signal([&] { return ::read(file.get(), buffer, sizeof buffer); });
    if (n <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(n));
  }
}

}  // namespace tandem::detail
