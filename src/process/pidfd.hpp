/// Processes by descriptor: a pid may be another process's by the time that it is used, a pidfd never is.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <optional>

#include <tandem/crash_report.hpp>

#include "core/system.hpp"

namespace tandem::detail {

/// Throws std::system_error.
Fd open_pidfd(pid_t pid);
/// The same for a child of this process that was just started; if it cannot be had, the child is killed.
Fd open_new_child(pid_t pid);
/// Kills a child of this process and takes its exit status, whatever that is.
void kill_new_child(int pidfd) noexcept;
/// Sends a signal. Returns an errno value: ESRCH if the process is gone, 0 if it was sent.
int send_signal(int pidfd, int signum) noexcept;
/// Whether the process has ended; looks, does not wait.
bool has_ended(int pidfd) noexcept;

/// What the kernel says of a process that has ended.
struct Ending {
  ExitStatus status;
  std::optional<ProcessUsage> usage;
};

/// Takes the exit status of a child that has ended from the kernel, for good. Empty if it has not ended, or is not (or
/// no longer) a child of this process; errno is then 0 or ECHILD.
std::optional<Ending> reap(int pidfd) noexcept;
/// The same for any child; gives its pid. With `keep`, the status is only looked at.
std::optional<Ending> reap_any(pid_t& pid, bool keep) noexcept;
/// Takes away the status of a child that reap_any() has looked at.
void discard(pid_t pid) noexcept;

/// How a process ended whose exit status is another one's to take (that of the process that has become its parent).
struct Hearsay {
  std::optional<ExitStatus> status;
  /// It will be told when the other one has taken it: the pidfd then has POLLHUP. Never true before Linux 6.15.
  bool later = false;

  /// What is known of it, without what it used.
  std::optional<Ending> ending() const { return status ? std::optional(Ending{*status, std::nullopt}) : std::nullopt; }
};
Hearsay ask_about_end(int pidfd) noexcept;

}  // namespace tandem::detail
