/// Programs that end with the process that started them.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include <tandem/crash_report.hpp>

#include "core/system.hpp"

namespace tandem::detail {

/// A process of another program, or of this one started again, in a process group of its own: what a terminal sends
/// does not reach it. The kernel kills it when the thread that started it is gone: that must be the main one. Owner:
/// kills it.
class BoundProgram {
 public:
  BoundProgram() = default;
  /// `words`: the command line; `environment`: "NAME=value". `output_fd` becomes its standard output and error unless
  /// -1. Throws std::system_error.
  BoundProgram(const std::string& path, std::vector<std::string> words, std::vector<std::string> environment,
               int output_fd);
  BoundProgram(BoundProgram&& other) noexcept;
  BoundProgram& operator=(BoundProgram&& other) noexcept;
  ~BoundProgram();

  /// -1 once it was reaped.
  pid_t pid() const noexcept { return pid_; }
  /// Readable once it has ended.
  int pidfd() const noexcept { return pidfd_.get(); }
  /// Whether it has ended; then nothing is left of it but how it did.
  bool reap() noexcept;
  /// Of one that was reaped.
  ExitStatus end() const noexcept { return end_; }
  void kill() noexcept;

 private:
  pid_t pid_ = -1;
  Fd pidfd_;
  ExitStatus end_ = ExitStatus::exited(0);
};

/// The command line of this process.
std::vector<std::string> own_command_line();

}  // namespace tandem::detail
