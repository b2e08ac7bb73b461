// ClusterExecutors on three servers that keep everything three times, and the one that leads is killed.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <tandem/cluster.hpp>

#include "cluster/engine_host.hpp"
#include "cluster/executed_agents.hpp"
#include "cluster/server_group.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;

class ReplicatedExecutorTest : public LeakCheckedTestWith<const char*> {
 protected:
  void SetUp() override {
    prepare_engine(EngineKind::Nats);
    LeakCheckedTestWith::SetUp();
    servers_.emplace();
  }
  void TearDown() override {
    servers_.reset();
    LeakCheckedTestWith::TearDown();
  }
  std::chrono::seconds time_limit() const override { return std::chrono::seconds(180); }

  std::optional<ServerGroup> servers_;
};

TEST_P(ReplicatedExecutorTest, EachResultIsToldOnceIfTheLeaderIsKilled) {
  constexpr int kTasks = 300;
  ClusterOptions options;
  options.token = servers_->token();
  options.lease_time = milliseconds(1000);
  options.connect_wait = std::chrono::seconds(60);
  options.replicas = 3;
  options.most_deliveries = 1000;
  options.executor.workers = 4;
  ClusterExecutor executor(servers_->url(), options);
  const ExecutedAgents agents(2, 2, servers_->url(), servers_->token());
  while (executor.workers().size() < agents.size()) std::this_thread::sleep_for(milliseconds(10));
  std::vector<std::atomic<int>> told(kTasks);
  std::vector<Future<int>> futures;
  for (int task = 0; task < kTasks; ++task) {
    futures.push_back(executor.submit(nap_and_double, task));
    futures.back().add_done_callback([&told, task](const Future<int>&) { ++told[static_cast<std::size_t>(task)]; });
  }
  for (int task = 0; task < kTasks; ++task) {
    EXPECT_EQ(futures[static_cast<std::size_t>(task)].get(), 2 * task);
    if (task == 50) servers_->kill_leader_of(GetParam());
  }
  executor.shutdown();
  for (const std::atomic<int>& times : told) EXPECT_EQ(times, 1);
  EXPECT_EQ(executor.counters().done, std::uint64_t{kTasks});
}

INSTANTIATE_TEST_SUITE_P(Streams, ReplicatedExecutorTest,
                         ::testing::Values("tandem_tasks_default", "tandem_results_default"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace tandem::testing
