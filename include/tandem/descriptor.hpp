/// Open file descriptors as arguments of processes.
#pragma once

#include <memory>

namespace tandem {
namespace detail {
class Decoder;
class Encoder;
}  // namespace detail

/// An open file descriptor that can be passed to a process. Handle: copies in one process refer to one descriptor,
/// which is closed with the last of them.
///
///   tandem::Process p(copy_to, tandem::Descriptor(open("log", O_WRONLY | O_CLOEXEC)));   // void copy_to(Descriptor)
///
/// In the process that receives it, it is a descriptor of its own for the same open file, as after fork(). It can be
/// an argument of a Process and part of a message through a Pipe, not an item of a queue (WireError): nobody would
/// close it if it were never taken.
/// Threads: as std::shared_ptr.
class Descriptor {
 public:
  /// None.
  Descriptor() noexcept = default;
  /// Takes `fd` over: it is closed with the last copy. Throws std::invalid_argument if it is not open.
  explicit Descriptor(int fd);
  /// A new descriptor for the open file behind `fd`, which stays the caller's. Throws std::invalid_argument if it is
  /// not open, std::system_error if there are too many.
  [[nodiscard]] static Descriptor duplicate(int fd);

  /// The descriptor; -1 if there is none.
  [[nodiscard]] int get() const noexcept { return open_ ? open_->fd : -1; }
  explicit operator bool() const noexcept { return open_ != nullptr; }
  /// Lets go of it; closes it if no other copy is left.
  void reset() noexcept { open_.reset(); }

  // For the wire.
  void save(detail::Encoder& encoder) const;
  void load(detail::Decoder& decoder);

 private:
  struct Open {
    explicit Open(int number) noexcept : fd(number) {}
    ~Open();
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
    const int fd;
  };
  std::shared_ptr<const Open> open_;
};

}  // namespace tandem
