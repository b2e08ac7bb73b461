#include "process/process_tree.hpp"

#include <dirent.h>
#include <signal.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "process/pidfd.hpp"

namespace tandem::detail {
namespace {

// The parent of a process, 0 if it is gone. A zombie is gone: it starts nothing and its children have another parent.
pid_t parent_of(pid_t pid) {
  const std::string stat = read_small_file("/proc/" + std::to_string(pid) + "/stat");
  // "pid (name) state parent ...": the name may hold anything, also brackets.
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos || name_end + 4 > stat.size() || stat[name_end + 2] == 'Z') return 0;
  return static_cast<pid_t>(std::strtol(stat.c_str() + name_end + 4, nullptr, 10));
}

std::vector<pid_t> all_pids() {
  std::vector<pid_t> pids;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc"), ::closedir);
  if (!folder) throw_errno("cannot read /proc, which lists the processes");
  while (const dirent* entry = ::readdir(folder.get())) {
    char* end = nullptr;
    const long pid = std::strtol(entry->d_name, &end, 10);
    if (*end == '\0' && pid > 0) pids.push_back(static_cast<pid_t>(pid));
  }
  return pids;
}

}  // namespace

void kill_process_tree(pid_t root, int pidfd) {
  if (send_signal(pidfd, SIGSTOP) != 0) return;
  std::map<pid_t, Fd> stopped;
  // Whoever is stopped starts nothing more, so this ends: each round finds what was started before the last one.
  for (bool grown = true; grown;) {
    grown = false;
    for (const pid_t pid : all_pids()) {
      const pid_t parent = parent_of(pid);
      if (stopped.contains(pid) || (parent != root && !stopped.contains(parent))) continue;
      try {
        Fd child = open_pidfd(pid);
        // Looked at again: the pid may have become another process's before it was opened.
        if (parent_of(pid) != parent) continue;
        if (send_signal(child.get(), SIGSTOP) == 0) grown = stopped.emplace(pid, std::move(child)).second;
      } catch (const std::system_error&) {
        // It is gone.
      }
    }
  }
  for (const auto& [pid, child] : stopped) send_signal(child.get(), SIGKILL);
  send_signal(pidfd, SIGKILL);
}

}  // namespace tandem::detail
