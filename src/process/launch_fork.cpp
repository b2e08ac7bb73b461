#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <utility>

#include "core/kill_point.hpp"
#include "core/log.hpp"
#include "core/thread_sanitizer.hpp"
#include "ipc/family.hpp"
#include "process/child_main.hpp"
#include "process/children.hpp"
#include "process/descriptors.hpp"
#include "process/launch.hpp"

namespace tandem::detail {
namespace {

#ifdef TANDEM_THREAD_SANITIZER
constexpr int kSanitizerThreads = 1;
#else
constexpr int kSanitizerThreads = 0;
#endif

// Threads of this process that a forked child would miss; 0 if the system does not tell.
int count_other_threads() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/task"), ::closedir);
  if (!folder) return 0;
  int threads = 0;
  while (const dirent* entry = ::readdir(folder.get()))
    threads += std::isdigit(static_cast<unsigned char>(entry->d_name[0])) ? 1 : 0;
  return std::max(0,
                  threads - 1 - kSanitizerThreads - Children::instance().own_threads.load(std::memory_order_relaxed));
}

// Text that is still in a buffer would be in the child's copy of it too, and be written twice.
void flush_before_fork(bool alone) {
  std::cout.flush();
  std::cerr.flush();
  std::clog.flush();
  if (alone) {
    std::fflush(nullptr);
  } else {
    // Not all: that would wait for a thread which reads from a stream, standard input perhaps.
    std::fflush(stdout);
    std::fflush(stderr);
  }
}

void set_environment(const std::map<std::string, std::optional<std::string>>& changes) {
  for (const auto& [name, value] : changes) {
    if (value)
      ::setenv(name.c_str(), value->c_str(), 1);
    else
      ::unsetenv(name.c_str());
  }
}

[[noreturn]] void begin_life(Launch& launch, Fd lifeline) {
  try {
    hold_lifeline(std::move(lifeline));
    TANDEM_KILL_POINT("process.child.forked");
    if (launch.stderr_fd >= 0) {
      if (retry_on_signal([&] { return ::dup2(launch.stderr_fd, STDERR_FILENO); }) < 0)
        throw_errno("cannot set up the standard error of this child process");
      ::close(launch.stderr_fd);
    }
    set_environment(launch.options.environment);
  } catch (const std::exception& exception) {
    log_line(LogLevel::Error, "a child process cannot begin: {}", exception.what());
    ::_exit(1);
  }
  run_forked_child(launch.setup, launch.record, launch.body);
}

}  // namespace

void check_threads_before_fork(const std::string& child_name) {
  const ForkThreadPolicy policy = fork_thread_policy();
  if (policy == ForkThreadPolicy::Allow) return;
  const int others = count_other_threads();
  if (others == 0) return;
  const std::string text = child_name + " is to be forked off a process with " + std::to_string(others) +
                           (others == 1 ? " other thread" : " other threads") +
                           ": the child may wait for ever for a lock that one of them holds; start it by forkserver or "
                           "spawn, or before the threads";
  if (policy == ForkThreadPolicy::Refuse) throw StateError(text);
  static std::atomic<bool> warned{false};
  if (!warned.exchange(true)) log_line(LogLevel::Warning, "{}", text);
}

Launched launch_by_fork(Launch& launch) {
  // A copy: what the registry has open is closed in the child by its own handler of fork().
  Fd lifeline = duplicate(launch.lifeline_fd, "the lifeline");
  flush_before_fork(count_other_threads() == 0);
  TANDEM_KILL_POINT("process.start.forking");
  const pid_t pid = fork_member();
  if (pid == 0) begin_life(launch, std::move(lifeline));
  if (pid < 0) throw_errno("cannot fork process " + launch.setup.name);
  TANDEM_KILL_POINT("process.start.forked");
  Launched launched;
  launched.pid = pid;
  launched.pidfd = open_new_child(pid);
  return launched;
}

}  // namespace tandem::detail
