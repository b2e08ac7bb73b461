#include "cluster/cluster_places.hpp"

#include <unistd.h>

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

const LocalCluster& common_cluster() {
  return *cluster();
}

}  // namespace tandem::testing
