// Agents that are killed at a point of their way: each task is told once all the same.
#include <fcntl.h>
#include <nats/nats.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <latch>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <tandem/cluster.hpp>
#include <tandem/process.hpp>

#include "cluster/private_server.hpp"
#include "core/kill_point.hpp"
#include "core/system.hpp"
#include "support/leak_checked_test.hpp"
#include "support/temporary_directory.hpp"

namespace tandem::testing {
namespace {

constexpr const char* kDieAt = "TANDEM_TEST_AGENT_DIES_AT";
constexpr int kTasksOfALife = 3;

/// In each agent, which is this program again: it dies when it comes to the point for the third time.
[[maybe_unused]] const bool dies = [] {
  if (std::getenv("TANDEM_AGENT") == nullptr || std::getenv(kDieAt) == nullptr) return false;
  static const std::string point = std::getenv(kDieAt);
  static std::atomic<int> passes{0};
  detail::kill_point_hook = [](const char* name) {
    if (name == point && ++passes == kTasksOfALife) ::kill(::getpid(), SIGKILL);
  };
  return true;
}();

constexpr const char* kKeeperDies = "TANDEM_TEST_KEEPER_DIES";

/// In the fork server, whose child a keeper is: the keeper dies when its server runs and nobody knows of it yet.
[[maybe_unused]] const bool keeper_dies = [] {
  if (std::getenv(kKeeperDies) == nullptr) return false;
  detail::kill_point_hook = [](const char* name) {
    if (std::string_view(name) == "cluster.server") ::kill(::getpid(), SIGKILL);
  };
  return true;
}();

struct Told {
  int value = 0;
  int agent = 0;
};
Told double_and_say_where(int value) {
  return {2 * value, parent_process().value().pid};
}

class ClusterKillTest : public LeakCheckedTestWith<const char*> {
 protected:
  void SetUp() override {
    nats_Open(-1);  // The threads that its library keeps until the program ends.
    LeakCheckedTestWith::SetUp();
    ::setenv("TMPDIR", directory_->path().c_str(), 1);
    ::setenv(kDieAt, GetParam(), 1);
  }
  void TearDown() override {
    ::unsetenv(kDieAt);
    ::unsetenv("TMPDIR");
    directory_.reset();
    LeakCheckedTestWith::TearDown();
  }
  std::chrono::seconds time_limit() const override { return std::chrono::seconds(120); }

 private:
  std::optional<TemporaryDirectory> directory_{std::in_place, "cluster_kill"};
};

TEST_P(ClusterKillTest, EachTaskIsToldOnce) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "built without kill points";
  ClusterExecutor executor(
      local_cluster(LocalClusterOptions{.agents = 2, .slots = 1, .lease_time = std::chrono::milliseconds(500)}),
      ClusterOptions{.most_deliveries = 1000});
  std::vector<Future<Told>> futures;
  std::vector<std::atomic<int>> told(3 * kTasksOfALife);
  for (std::size_t task = 0; task < told.size(); ++task) {
    futures.push_back(executor.submit(double_and_say_where, static_cast<int>(task)));
    futures.back().add_done_callback([&told, task](const Future<Told>&) { ++told[task]; });
  }
  std::set<int> agents;
  for (std::size_t task = 0; task < told.size(); ++task) {
    const Told result = futures[task].get();
    EXPECT_EQ(result.value, 2 * static_cast<int>(task));
    agents.insert(result.agent);
  }
  executor.shutdown();
  for (const std::atomic<int>& times : told) EXPECT_EQ(times, 1);
  // Two agents, of which each life runs less than three: nine tasks need more lives than two.
  EXPECT_GT(agents.size(), 2u);
}

INSTANTIATE_TEST_SUITE_P(Points, ClusterKillTest, ::testing::Values("agent.begin", "agent.result"),
                         [](const auto& test) {
                           std::string name(test.param);
                           name[name.find('.')] = '_';
                           return name;
                         });

int start_in_vain() {
  try {
    static_cast<void>(local_cluster(1));
  } catch (const ClusterError&) {
    return 0;
  }
  return 1;
}

class KeeperKillTest : public LeakCheckedTest {};

TEST_F(KeeperKillTest, NothingIsLeftOfAClusterThatDidNotComeUp) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "built without kill points";
  const TemporaryDirectory directory("keeper_kill");
  ProcessOptions options;
  options.start_method = StartMethod::Spawn;  // So that its fork server is a new one.
  options.environment[kKeeperDies] = "1";
  options.environment["TMPDIR"] = directory.path().string();
  Process client(options, start_in_vain);
  client.start();
  client.join();
  EXPECT_EQ(client.exitcode(), 0);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

// As the server does that is killed with its keeper, while the client removes the folder. Many times: a file must come
// between the last look into the folder and its removal.
TEST_F(KeeperKillTest, FolderGoesThoughSomebodyStillPutsFilesThere) {
  const TemporaryDirectory directory("keeper_kill");
  for (int round = 0; round < 20; ++round) {
    const std::filesystem::path folder = directory.path() / std::to_string(round);
    ASSERT_TRUE(std::filesystem::create_directory(folder));
    std::latch busy(1);
    std::thread dying([&] {
      const detail::Fd in(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      const auto dead = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
      int at = 0;
      do {
        const std::string name = std::to_string(at);
        if (!detail::Fd(::openat(in.get(), name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600))) break;
        if (at == 0) busy.count_down();
        ++at;
      } while (std::chrono::steady_clock::now() < dead);
    });
    busy.wait();
    detail::remove_folder_of_the_dying(folder);
    dying.join();
    EXPECT_FALSE(std::filesystem::exists(folder));
  }
}

}  // namespace
}  // namespace tandem::testing
