/// The thin layer over system calls: retries after a signal, and errors that name the action and the object.
#pragma once

#include <cerrno>
#include <string>
#include <utility>

namespace tandem::detail {

/// Throws std::system_error for `error` (an errno value) with a text such as "cannot map arena (1 TiB reserved)".
[[noreturn]] void throw_system_error(int error, const std::string& what);
/// The same for the current errno.
[[noreturn]] void throw_errno(const std::string& what);

/// Calls `call()` again for as long as a signal interrupts it. Not for close(), which is never retried.
template <class Call>
auto retry_on_signal(Call&& call) {
  for (;;) {
    auto result = call();
    if (result != static_cast<decltype(result)>(-1) || errno != EINTR) return result;
  }
}

/// An open file descriptor. Owner: move-only, closes in its destructor.
class Fd {
 public:
  Fd() noexcept = default;
  explicit Fd(int fd) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset() noexcept;

 private:
  int fd_ = -1;
};

/// Reads a whole small file, such as one of /proc. Empty if it cannot be read.
std::string read_small_file(const std::string& path);

}  // namespace tandem::detail
