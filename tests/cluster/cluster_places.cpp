#include "cluster/cluster_places.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <tandem/cpu.hpp>
#include <tandem/process.hpp>

#include "core/system.hpp"
#include "support/temporary_directory.hpp"

namespace tandem::testing {
namespace {

std::optional<LocalCluster>& cluster() {
  static std::optional<LocalCluster> made;
  return made;
}

std::string& gates() {
  static std::string made;
  return made;
}

/// Says which agent it ran in.
int pause_in_agent(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  return parent_process().value().pid;
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  const std::string task = "/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children";
  std::istringstream text(detail::read_small_file(task));
  for (pid_t child = 0; text >> child;) children.push_back(child);
  return children;
}

/// Whether all are there that were started by its fork server, and the one that this keeps ready and makes when it has
/// nothing else to do.
bool is_complete(pid_t process, std::size_t started) {
  std::size_t all = 0;
  for (const pid_t child : children_of(process)) all += children_of(child).size();
  return all > started;
}

class ClusterEnvironment final : public ::testing::Environment {
 public:
  void SetUp() override {
    // Others that run at the same time would take its files for left behind by them.
    ::setenv("TMPDIR", directory_.path().c_str(), 1);
    gates() = directory_.path().string();
    cluster().emplace(local_cluster(LocalClusterOptions{.agents = 1, .slots = cpu_count()}));
    // Every worker of the agent is started by tasks that run at once; on a busy machine they may not, and then again.
    ClusterExecutor executor(*cluster());
    const std::size_t workers = executor.worker_limit();
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (bool complete = false; !complete && std::chrono::steady_clock::now() < give_up;) {
      std::vector<Future<int>> futures;
      for (std::size_t at = 0; at < workers; ++at) futures.push_back(executor.submit(pause_in_agent, 300));
      pid_t agent = 0;
      for (const Future<int>& future : futures) agent = future.get();
      const auto look_again = std::chrono::steady_clock::now() + std::chrono::seconds(2);
      while (!complete && std::chrono::steady_clock::now() < look_again) {
        complete = is_complete(agent, workers) && is_complete(::getpid(), 1);
        if (!complete) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    ::unsetenv("TMPDIR");
  }
  void TearDown() override { cluster().reset(); }

 private:
  const TemporaryDirectory directory_{"cluster_places"};
};

// gtest owns it.
[[maybe_unused]] const auto* const environment = ::testing::AddGlobalTestEnvironment(new ClusterEnvironment);

}  // namespace

PipeGate::PipeGate() : pipe_(std::make_shared<Pipe>()) {
  static std::atomic<int> made{0};
  pipe_->path = gates() + "/gate-" + std::to_string(++made);
  pipe_->is_own = true;
  if (::mkfifo(pipe_->path.c_str(), 0600) != 0) detail::throw_errno("cannot make the pipe " + pipe_->path);
}

PipeGate::Pipe::~Pipe() {
  if (writer >= 0) ::close(writer);
  if (is_own) ::unlink(path.c_str());
}

void PipeGate::set() {
  if (pipe_->writer >= 0) return;
  // Both ways, so that it does not wait for the other side.
  pipe_->writer = ::open(pipe_->path.c_str(), O_RDWR | O_CLOEXEC);
  if (pipe_->writer < 0 && !pipe_->is_own && errno == ENOENT) return;  // Nobody waits for it.
  if (pipe_->writer < 0) detail::throw_errno("cannot open the pipe " + pipe_->path);
}

void PipeGate::wait() const {
  const detail::Fd fd(detail::retry_on_signal([&] { return ::open(pipe_->path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!fd) detail::throw_errno("cannot open the pipe " + pipe_->path);
}

const LocalCluster& common_cluster() {
  return *cluster();
}

}  // namespace tandem::testing
