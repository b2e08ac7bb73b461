/// Clusters of this machine for one test each, and what tests and their tasks say to each other.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nats/nats.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <tandem/cluster.hpp>
#include <tandem/detail/deadline.hpp>
#include <tandem/process.hpp>

#include "core/system.hpp"
#include "support/leak_checked_test.hpp"
#include "support/temporary_directory.hpp"

namespace tandem::testing {

// What goes between a test and its tasks: handles do not travel, but a name of a file does. Opening waits for the other
// side.

/// Says something to who listens at the pipe.
inline void say(const std::string& pipe, const std::string& text) {
  const detail::Fd fd(detail::retry_on_signal([&] { return ::open(pipe.c_str(), O_WRONLY | O_CLOEXEC); }));
  if (!fd || ::write(fd.get(), text.data(), text.size()) < 0) detail::throw_errno("cannot write to " + pipe);
}
/// Waits for what somebody says, and until that one has let go of the pipe: the next one to listen would hear the end.
inline std::string hear(const std::string& pipe) {
  const detail::Fd fd(detail::retry_on_signal([&] { return ::open(pipe.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!fd) detail::throw_errno("cannot open " + pipe);
  std::string all;
  for (std::array<char, 256> part{};;) {
    const ssize_t size = detail::retry_on_signal([&] { return ::read(fd.get(), part.data(), part.size()); });
    if (size <= 0) return all;
    all.append(part.data(), static_cast<std::size_t>(size));
  }
}

inline int agent_pid() {
  return parent_process().value().pid;
}
/// Says the pid of its agent, waits until it may go on, and returns the value.
inline int say_and_hold(const std::string& begun, const std::string& go, int value) {
  say(begun, std::to_string(parent_process().value().pid));
  hear(go);
  return value;
}
inline int die(int signum) {
  ::raise(signum);
  return 0;
}
inline int hold_for_ever() {
  for (;;) ::pause();
}

inline std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  const std::string task = "/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children";
  std::istringstream text(detail::read_small_file(task));
  for (pid_t child = 0; text >> child;) children.push_back(child);
  return children;
}
inline pid_t keeper_pid() {
  for (const ProcessInfo& child : active_children())
    if (child.name == "tandem-local-cluster") return child.pid;
  return -1;
}
inline pid_t server_of(pid_t keeper) {
  for (const pid_t child : children_of(keeper))
    if (detail::read_small_file("/proc/" + std::to_string(child) + "/comm") == "nats-server\n") return child;
  return -1;
}
/// Of any process. Empty if it is gone already.
inline detail::Fd pidfd_of(pid_t pid) {
  return detail::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}
inline void wait_for_end(const detail::Fd& pidfd) {
  pollfd wait{pidfd.get(), POLLIN, 0};
  if (pidfd) detail::retry_on_signal([&] { return ::poll(&wait, 1, -1); });
}

class ClusterFixture : public LeakCheckedTest {
 protected:
  void SetUp() override {
    // The threads that its library keeps until the program ends. That SIGPIPE is ignored then is not the program's own
    // will: see nats_link.cpp.
    struct sigaction broken_pipe{};
    ::sigaction(SIGPIPE, nullptr, &broken_pipe);
    nats_Open(-1);
    ::sigaction(SIGPIPE, &broken_pipe, nullptr);
    LeakCheckedTest::SetUp();
    // Others that run at the same time would take its files for left behind by them.
    ::setenv("TMPDIR", directory_->path().c_str(), 1);
    for (const char* name : {"begun", "go"})
      if (::mkfifo(pipe(name).c_str(), 0600) != 0) detail::throw_errno("cannot make a pipe");
  }
  void TearDown() override {
    ::unsetenv("TMPDIR");
    // An executor that gave up does not wait for the end of its cluster.
    for (pid_t keeper = 0; (keeper = keeper_pid()) > 0;) wait_for_end(pidfd_of(keeper));
    for (const auto& file : std::filesystem::directory_iterator(directory_->path()))
      EXPECT_FALSE(file.is_directory()) << "left behind: " << file;
    directory_.reset();
    LeakCheckedTest::TearDown();
  }

  std::chrono::seconds time_limit() const override {
    return std::chrono::seconds(std::getenv("TANDEM_SOAK") != nullptr ? 3600 : 120);
  }
  std::string pipe(const std::string& name) const { return (directory_->path() / name).string(); }
  static LocalCluster cluster(std::size_t agents, std::size_t slots,
                              std::chrono::milliseconds lease_time = std::chrono::milliseconds(1000)) {
    return local_cluster(LocalClusterOptions{.agents = agents, .slots = slots, .lease_time = lease_time});
  }
  /// Looks until so many nodes are known, which may be later than an executor waits for them when it is made. The last
  /// look.
  static std::vector<WorkerInfo> wait_for_workers(const ClusterExecutor& executor, std::size_t count) {
    const detail::Deadline deadline = detail::Deadline::after(std::chrono::seconds(60));
    for (;;) {
      std::vector<WorkerInfo> workers = executor.workers();
      if (workers.size() == count || deadline.passed()) return workers;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

 private:
  std::optional<TemporaryDirectory> directory_{std::in_place, "cluster_executor"};
};

}  // namespace tandem::testing
