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

/// Moves a descriptor out of the way of standard input, output and error: in a program that has closed one of these,
/// the kernel hands out its number again, and what is meant for it would go there. Empty, with errno, if there is no
/// number left, or if `fd` is empty.
Fd above_standard(Fd fd) noexcept;

/// Opens a file that no child inherits, out of the way of the standard streams. Empty, with errno, if it cannot.
Fd open_file(const std::string& path, int flags, unsigned mode = 0) noexcept;

/// Reads a whole small file, such as one of /proc. Empty if it cannot be read.
std::string read_small_file(const std::string& path);

}  // namespace tandem::detail
