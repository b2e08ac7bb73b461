/// Programs that the tool becomes or starts.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "interruption.hpp"

namespace tandem::tool {

/// Changes of the environment: empty takes a variable away.
using Environment = std::map<std::string, std::optional<std::string>>;

/// Where a program is: a name without '/' is looked up in the search path and then in `more`. Throws BadInput that
/// names it if it is not there or cannot be executed.
std::string find_program(const std::string& name, const std::vector<std::string>& more = {});

/// Makes this process that program, with the signals as they were when the tool started. Throws BadInput.
[[noreturn]] void become(const std::vector<std::string>& words, const Environment& environment,
                         Interruption& interruption);

/// A descriptor. Owner.
class OwnFd {
 public:
  OwnFd() = default;
  explicit OwnFd(int fd) noexcept : fd_(fd) {}
  OwnFd(OwnFd&& other) noexcept : fd_(other.release()) {}
  OwnFd& operator=(OwnFd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~OwnFd() { reset(); }
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset(int fd = -1) noexcept;
  int release() noexcept;

 private:
  int fd_ = -1;
};

/// Throws std::system_error. Both ends are closed on execution.
struct PipeEnds {
  PipeEnds();
  OwnFd read;
  OwnFd write;
};

/// Writes all of it; false if nobody reads.
bool write_all(int fd, const std::string& text) noexcept;
/// A file that is for this user alone; replaces another one at once. Throws std::system_error.
void write_private_file(const std::string& path, const std::string& text);
/// All of a file. Throws BadInput that names it.
std::string read_text_file(const std::string& path);

/// How a child is started.
struct ChildSetup {
  std::vector<std::string> words{};
  Environment environment{};
  /// Its standard input, output and error: -1 for /dev/null.
  int in_fd = -1;
  int out_fd = -1;
  int err_fd = -1;
  /// Stays open in it under its own number; -1 for none.
  int kept_fd = -1;
  /// It is killed when the calling thread is gone.
  bool bound = false;
  /// In a session of its own: no terminal's signals reach it.
  bool own_session = false;
};
/// Starts it; with `bound` in a process of one thread only. Throws std::system_error, and BadInput if there is no such
/// program.
pid_t start_child(const ChildSetup& setup);
/// How a child ended, by what waitpid() says: "it ended with 1", "it was ended by SIGKILL".
std::string status_text(int status);

/// Random hexadecimal digits from the kernel, 8 for each of `words`.
std::string random_digits(int words);

}  // namespace tandem::tool
