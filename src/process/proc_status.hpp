/// What the system says of this process in text.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>

#include "core/system.hpp"

namespace tandem::detail {

/// Reads /proc/self/status: an empty text if it cannot be read. Async-signal-safe.
template <std::size_t kSize>
void read_status(char (&text)[kSize]) noexcept {
  text[0] = '\0';
  const int fd = retry_on_signal([] { return ::open("/proc/self/status", O_RDONLY | O_CLOEXEC); });
  if (fd < 0) return;
  const ssize_t size = retry_on_signal([&] { return ::read(fd, text, kSize - 1); });
  ::close(fd);
  text[size > 0 ? size : 0] = '\0';
}

}  // namespace tandem::detail
