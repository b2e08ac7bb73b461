#include "support/leftovers.hpp"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

#include <tandem/arena.hpp>

#include "support/common_service.hpp"

namespace tandem::testing {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream file(path);
  // Unlike an istreambuf_iterator this does not throw when the thread that the file tells of has just ended.
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string first_line(const fs::path& path) {
  const std::string text = read(path);
  return text.substr(0, text.find('\n'));
}

/// Names in a folder; what vanishes meanwhile is left out.
std::vector<std::string> entries(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename());
  return names;
}

constexpr char kArenaBytes[] = "arena bytes in use";

struct ProcessLine {
  pid_t pid = 0;
  pid_t parent = 0;
  std::string name;
  char state = '?';
};

std::vector<ProcessLine> all_processes() {
  std::vector<ProcessLine> processes;
  for (const std::string& entry : entries("/proc")) {
    if (!std::isdigit(static_cast<unsigned char>(entry[0]))) continue;
    // "pid (name) state parent ...": the name may hold anything, also brackets.
    const std::string stat = read(fs::path("/proc") / entry / "stat");
    const auto open = stat.find('('), close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos) continue;
    ProcessLine process;
    process.pid = std::stoi(entry);
    process.name = stat.substr(open + 1, close - open - 1);
    std::istringstream(stat.substr(close + 1)) >> process.state >> process.parent;
    processes.push_back(process);
  }
  return processes;
}

std::set<pid_t>& left_out() {
  static std::set<pid_t> services;
  return services;
}

// See unique_name() of support/shared_memory_fixture.hpp.
bool is_of_another_test(const std::string& name) {
  constexpr std::string_view kBegin = "tandem.memory.test-";
  return name.starts_with(kBegin) && !name.starts_with(std::string(kBegin) + std::to_string(::getpid()) + "-");
}

}  // namespace

bool has_grandchild() {
  const std::vector<ProcessLine> processes = all_processes();
  std::set<pid_t> children;
  for (const ProcessLine& process : processes)
    if (process.parent == ::getpid() && !left_out().contains(process.pid)) children.insert(process.pid);
  return std::any_of(processes.begin(), processes.end(), [&](const ProcessLine& process) {
    return process.state != 'Z' && process.state != 'X' && children.contains(process.parent) &&
           !left_out().contains(process.pid);
  });
}

void leave_out_service(pid_t child) {
  left_out().insert(child);
}

Inventory Inventory::take() {
  Inventory inventory;
  // First, because the first look makes the arena.
  inventory.add(kArenaBytes, "", arena_usage().in_use_bytes);
  inventory.add_descriptors();
  inventory.add_descendants();
  inventory.add_threads();
  inventory.add_names("/dev/shm");
  inventory.add_names("/tmp");
  return inventory;
}

std::string Inventory::more_than(const Inventory& before) const {
  std::ostringstream text;
  for (const auto& [what, count] : counts_) {
    const auto it = before.counts_.find(what);
    const std::size_t was = it == before.counts_.end() ? 0 : it->second.number;
    // A block may be 16 bytes larger than what it is for, and another one of the same kind not: those of the child that
    // the server keeps ready are others after each start. The smallest thing that could be left has 48.
    const std::size_t slack = what == kArenaBytes ? 47 : 0;
    if (count.number > was + slack)
      text << "  " << what << ": " << was << " before, " << count.number << " now" << count.details << '\n';
  }
  return text.str();
}

std::string Inventory::left_since(const Inventory& before) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  std::string left = take().more_than(before);
  for (std::chrono::milliseconds pause(1); !left.empty() && std::chrono::steady_clock::now() < give_up;
       pause = std::min(pause * 2, std::chrono::milliseconds(100))) {
    std::this_thread::sleep_for(pause);
    left = take().more_than(before);
  }
  return left;
}

void Inventory::add(const std::string& what, const std::string& detail, std::size_t number) {
  Count& count = counts_[what];
  count.number += number;
  if (!detail.empty()) count.details += " [" + detail + "]";
}

void Inventory::add_descendants() {
  const std::vector<ProcessLine> processes = all_processes();
  std::set<pid_t> family = {::getpid()};
  for (bool grown = true; grown;) {
    grown = false;
    for (const ProcessLine& process : processes) {
      if (!family.contains(process.parent) || left_out().contains(process.pid) || !family.insert(process.pid).second)
        continue;
      grown = true;
      add("child process " + process.name, "pid " + std::to_string(process.pid) + " state " + process.state);
    }
  }
}

void Inventory::add_threads() {
  for (const std::string& tid : entries("/proc/self/task")) {
    if (tid == std::to_string(::getpid())) continue;
    add("thread " + first_line(fs::path("/proc/self/task") / tid / "comm"), "tid " + tid);
  }
}

void Inventory::add_descriptors() {
  for (const std::string& fd : entries("/proc/self/fd")) {
    std::error_code error;
    const std::string target = fs::read_symlink(fs::path("/proc/self/fd") / fd, error);
    // The descriptor that read the folder is gone again.
    if (error || target.ends_with("/fd")) continue;
    // Separate debug information, where it is installed, stays open once a stack has been shown with it.
    if (target.starts_with("/usr/lib/debug/")) continue;
    add("descriptor " + target.substr(0, target.find(":[")), fd + " " + target);
  }
}

void Inventory::add_names(const std::string& folder) {
  // Others work on this machine too: what Tandem makes has its name. Temporary files of tests themselves are called
  // tandem_test_*, and their shared memory has the test's pid in its name. The folders of local clusters are those of
  // any program that runs now: tests of these have a temporary folder of their own to look at.
  for (const std::string& name : entries(folder))
    if (name.find("tandem") != std::string::npos && !name.starts_with("tandem_test_") &&
        !name.starts_with("tandem-cluster-") && !is_of_another_test(name))
      add("file " + folder + "/" + name, "");
}

}  // namespace tandem::testing
