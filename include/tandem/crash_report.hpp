/// How processes end.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tandem {

/// How a process ended: with an exit code, or killed by a signal. Value.
class ExitStatus {
 public:
  [[nodiscard]] static ExitStatus exited(int code) noexcept { return ExitStatus(code, 0); }
  [[nodiscard]] static ExitStatus killed(int signal) noexcept { return ExitStatus(0, signal); }

  /// Whether it left with exit code 0.
  [[nodiscard]] bool success() const noexcept { return signal_ == 0 && code_ == 0; }
  /// The exit code, 0 to 255; empty if a signal killed it.
  [[nodiscard]] std::optional<int> code() const noexcept { return signal_ == 0 ? std::optional(code_) : std::nullopt; }
  /// The signal that killed it; empty if it left with an exit code.
  [[nodiscard]] std::optional<int> signal() const noexcept {
    return signal_ != 0 ? std::optional(signal_) : std::nullopt;
  }
  /// Python's convention: the exit code, or minus the signal.
  [[nodiscard]] int exitcode() const noexcept { return signal_ != 0 ? -signal_ : code_; }
  /// For people: "exit code 3", "killed by SIGSEGV (Segmentation fault)".
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;

 private:
  ExitStatus(int code, int signal) noexcept : code_(code), signal_(signal) {}
  int code_;
  int signal_;
};

/// What a process used in its life. Value.
struct ProcessUsage {
  std::chrono::nanoseconds user_time{};    ///< CPU time of the program itself, all threads together, and
  std::chrono::nanoseconds system_time{};  ///< of the kernel on its behalf.
  std::uint64_t peak_memory_bytes = 0;     ///< Most memory that was resident at once, shared memory included.
};

/// What is known about a process that did not leave with exit code 0. Value.
struct CrashReport {
  std::string name;
  pid_t pid = 0;
  int signal = 0;     ///< The signal that killed it; 0 if it left by itself.
  int exit_code = 0;  ///< Python's convention: the exit code, or minus the signal.

  /// The exception that nobody caught; empty if there was none.
  std::string exception_type;
  std::string exception_text;
  /// Where the exception was thrown or the signal struck, one line for each call; empty if that is not known, as after
  /// SIGKILL, which leaves no time to look.
  std::string stack;
  /// The last lines that it wrote on standard error, at most 20 and 8 KiB.
  std::vector<std::string> stderr_tail;

  std::uint64_t peak_memory_bytes = 0;
  std::chrono::nanoseconds cpu_time{};
  /// An uncaught std::bad_alloc; or a SIGKILL that this process did not send while the kernel counted a process that
  /// it killed for lack of memory (/proc/vmstat, oom_kill), which may have been another one.
  bool probably_out_of_memory = false;

  /// All of it, for people; several lines, the last without a line end.
  [[nodiscard]] std::string to_string() const;
};

}  // namespace tandem
