/// The fixtures of tests of processes, and what several of them need.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <tandem/process.hpp>
#include <tandem/queue.hpp>

#include "core/system.hpp"
#include "process/pidfd.hpp"
#include "support/leak_checked_test.hpp"
#include "support/where.hpp"

namespace tandem::testing {

/// A test body that runs once for each start method.
using ProcessesTest = LeakCheckedTestWith<Where>;

/// Options for the start method of a place.
inline ProcessOptions options_for(Where where) {
  ProcessOptions options;
  options.start_method = start_method_of(where);
  return options;
}

/// A process that is started by the method of a place.
template <class F, class... Args>
Process process_in(Where where, F&& fn, Args&&... args) {
  return Process(options_for(where), std::forward<F>(fn), std::forward<Args>(args)...);
}

/// Runs a process to its end.
template <class F, class... Args>
int exitcode_of(Where where, F&& fn, Args&&... args) {
  Process process = process_in(where, std::forward<F>(fn), std::forward<Args>(args)...);
  process.start();
  process.join();
  return process.exitcode().value();
}

/// Waits for ever: until it is killed.
inline void wait_for_ever() {
  for (;;) ::pause();
}

/// Waits for the end of any process, for at most `limit`; whether it has ended. It need not be a child.
inline bool ends_within(const detail::Fd& pidfd, std::chrono::milliseconds limit) {
  pollfd end{pidfd.get(), POLLIN, 0};
  return detail::retry_on_signal([&] { return ::poll(&end, 1, static_cast<int>(limit.count())); }) == 1;
}

/// The pids of the children of `parent` as the system knows them.
inline std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (!std::isdigit(static_cast<unsigned char>(name[0]))) continue;
    const std::string stat = detail::read_small_file("/proc/" + name + "/stat");
    const std::size_t name_end = stat.rfind(')');
    if (name_end == std::string::npos) continue;
    char state = '?';
    pid_t its_parent = 0;
    std::istringstream(stat.substr(name_end + 1)) >> state >> its_parent;
    if (its_parent == parent) found.push_back(static_cast<pid_t>(std::stoi(name)));
  }
  return found;
}

/// The fork server of the calling process, which must have been started: the child that is no Process.
inline std::optional<pid_t> server_pid() {
  for (const pid_t pid : children_of(::getpid())) {
    const std::vector<ProcessInfo> known = active_children();
    if (std::none_of(known.begin(), known.end(), [pid](const ProcessInfo& info) { return info.pid == pid; }))
      return pid;
  }
  return std::nullopt;
}

/// The open descriptors of the calling process, with what they refer to.
inline std::vector<std::string> open_descriptors() {
  std::vector<std::string> found;
  for (int fd = 0; fd < 1024; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0) continue;
    std::error_code error;
    found.push_back(std::to_string(fd) + " " +
                    std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error).string());
  }
  return found;
}

}  // namespace tandem::testing
