#include "process/pidfd.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <string>

namespace tandem::detail {
namespace {

// From linux/pidfd.h of Linux 6.15, which Debian 12 does not have; the layout is the kernel's contract.
struct PidfdInfo {
  std::uint64_t mask;
  std::uint64_t cgroup;
  std::uint32_t ids[11];  // pid, tgid, ppid, and eight user and group ids
  std::int32_t exit_code;
};
static_assert(sizeof(PidfdInfo) == 64, "the size that the kernel calls PIDFD_INFO_SIZE_VER0");
constexpr unsigned long kGetInfo = _IOWR(0xFF, 11, PidfdInfo);
constexpr std::uint64_t kInfoExit = 1u << 3;

std::chrono::nanoseconds duration_of(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

std::optional<Ending> wait_for(idtype_t type, id_t id, int options, pid_t& pid) noexcept {
  siginfo_t info{};
  rusage usage{};
  // glibc's waitid() does not pass the fifth argument, the usage.
  const long result =
      retry_on_signal([&] { return ::syscall(SYS_waitid, type, id, &info, WEXITED | WNOHANG | options, &usage); });
  if (result != 0) return std::nullopt;
  errno = 0;
  if (info.si_pid == 0) return std::nullopt;
  pid = info.si_pid;
  ProcessUsage used;
  used.user_time = duration_of(usage.ru_utime);
  used.system_time = duration_of(usage.ru_stime);
  used.peak_memory_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  const auto status =
      info.si_code == CLD_EXITED ? ExitStatus::exited(info.si_status) : ExitStatus::killed(info.si_status);
  return Ending{status, used};
}

}  // namespace

Fd open_pidfd(pid_t pid) {
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) throw_errno("cannot open process " + std::to_string(pid));
  return fd;
}

Fd open_new_child(pid_t pid) {
  try {
    return open_pidfd(pid);
  } catch (...) {
    ::kill(pid, SIGKILL);
    retry_on_signal([&] { return ::waitpid(pid, nullptr, 0); });
    throw;
  }
}

void kill_new_child(int pidfd) noexcept {
  send_signal(pidfd, SIGKILL);
  pollfd end{pidfd, POLLIN, 0};
  retry_on_signal([&] { return ::poll(&end, 1, -1); });
  static_cast<void>(reap(pidfd));
}

int send_signal(int pidfd, int signum) noexcept {
  return ::syscall(SYS_pidfd_send_signal, pidfd, signum, nullptr, 0) == 0 ? 0 : errno;
}

bool has_ended(int pidfd) noexcept {
  pollfd look{pidfd, POLLIN, 0};
  return retry_on_signal([&] { return ::poll(&look, 1, 0); }) == 1;
}

std::optional<Ending> reap(int pidfd) noexcept {
  pid_t pid = 0;
  return wait_for(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), 0, pid);
}

std::optional<Ending> reap_any(pid_t& pid, bool keep) noexcept {
  return wait_for(P_ALL, 0, keep ? WNOWAIT : 0, pid);
}

void discard(pid_t pid) noexcept {
  pid_t same = 0;
  static_cast<void>(wait_for(P_PID, static_cast<id_t>(pid), 0, same));
}

Hearsay ask_about_end(int pidfd) noexcept {
  PidfdInfo info{};
  info.mask = kInfoExit;
  // ESRCH: gone, and the kernel has forgotten how.
  if (::ioctl(pidfd, kGetInfo, &info) != 0) return {};
  if ((info.mask & kInfoExit) == 0) return {std::nullopt, /*later=*/true};
  const int status = info.exit_code;
  return {WIFSIGNALED(status) ? ExitStatus::killed(WTERMSIG(status)) : ExitStatus::exited(WEXITSTATUS(status)), false};
}

}  // namespace tandem::detail
