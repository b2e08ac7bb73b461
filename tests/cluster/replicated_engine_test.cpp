// Three servers that keep everything three times, and the one that leads is killed.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "cluster/agent_process.hpp"
#include "cluster/engine_records.hpp"
#include "cluster/keeping_client.hpp"
#include "cluster/server_group.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem::testing {
namespace {

class ReplicatedEngineTest : public LeakCheckedTestWith<const char*> {
 protected:
  void SetUp() override {
    prepare_engine(EngineKind::Nats);
    LeakCheckedTestWith::SetUp();
    servers_.emplace();
    options_.url = servers_->url();
    options_.token = servers_->token();
    options_.build_id = "build-1";
    options_.lease_time = std::chrono::seconds(1);
    options_.connect_wait = kPatience;
    options_.store_bytes = std::size_t{1} << 30;
  }
  void TearDown() override {
    servers_.reset();
    LeakCheckedTestWith::TearDown();
  }
  std::chrono::seconds time_limit() const override { return std::chrono::seconds(180); }

  std::optional<ServerGroup> servers_;
  EngineOptions options_;
};

// Elections take five seconds and more.
TEST_P(ReplicatedEngineTest, NoTaskIsLostIfTheLeaderIsKilled) {
  constexpr std::uint64_t kTasks = 300;
  options_.replicas = 3;
  KeepingClient client(EngineKind::Nats, options_);
  const AgentProcess agent(EngineKind::Nats, options_, "node-a");
  client.add(kTasks, "nap");
  EXPECT_TRUE(client.run_until(50));
  EXPECT_EQ(servers_->replicas_of(GetParam()), 3U);
  const std::size_t killed = servers_->kill_leader_of(GetParam());
  EXPECT_TRUE(client.run());
  EXPECT_EQ(client.results().size(), kTasks);
  // It comes back, and all are well again.
  servers_->server(killed).start();
  client.add(20, "nap");
  EXPECT_TRUE(client.run());
  EXPECT_EQ(client.results().size(), kTasks + 20);
}

INSTANTIATE_TEST_SUITE_P(Streams, ReplicatedEngineTest,
                         ::testing::Values("tandem_tasks_default", "tandem_results_default"),
                         [](const auto& test) { return std::string(test.param); });

using ReplicasTest = ReplicatedEngineTest;

TEST_P(ReplicasTest, QueuesThatAreThereAreKeptOnMoreServersIfThatIsAskedFor) {
  {
    const KeepingClient client(EngineKind::Nats, options_);
    EXPECT_EQ(servers_->replicas_of(GetParam()), 1U);
  }
  options_.replicas = 3;
  KeepingClient client(EngineKind::Nats, options_);
  EXPECT_EQ(servers_->replicas_of(GetParam()), 3U);
  const AgentProcess agent(EngineKind::Nats, options_, "node-a");
  client.add(20, "echo");
  EXPECT_TRUE(client.run());
}

INSTANTIATE_TEST_SUITE_P(Streams, ReplicasTest, ::testing::Values("tandem_tasks_default"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace tandem::testing
