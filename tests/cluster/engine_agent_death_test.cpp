// What every engine must keep while agents are killed and stopped.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "cluster/agent_process.hpp"
#include "cluster/engine_host.hpp"
#include "cluster/keeping_client.hpp"

namespace tandem::testing {
namespace {

using EngineAgentDeathTest = EngineTest;

TEST_P(EngineAgentDeathTest, TaskOfAKilledAgentGoesToAnother) {
  KeepingClient client(GetParam(), options());
  AgentProcess doomed(GetParam(), options(), "node-a");
  client.add(1, "hold");
  ASSERT_TRUE(client.run_until_stored());
  doomed.wait_for("has 0");
  doomed.kill();
  AgentRecord record;
  const auto agent = this->agent("node-b", record);
  const TaskLease lease = lease_one(*agent);
  EXPECT_GE(lease.deliveries, 2U);
  agent->finish(lease, bytes_of("0"));
  EXPECT_TRUE(client.run());
  EXPECT_EQ(client.recoveries(), 0);
}

TEST_P(EngineAgentDeathTest, EveryTaskIsRunThoughAgentsAreKilledAllTheTime) {
  KeepingClient client(GetParam(), options());
  AgentProcess steady(GetParam(), options(), "node-s");
  client.add(400, "nap");
  for (int round = 0; round < 4; ++round) {
    AgentProcess doomed(GetParam(), options(), "node-d");
    EXPECT_TRUE(client.run_until(client.results().size() + 40));
    doomed.kill();
  }
  EXPECT_TRUE(client.run());
  EXPECT_EQ(client.results().size(), 400U);
}

TEST_P(EngineAgentDeathTest, TaskOfAStoppedAgentGoesToAnotherAndItsLateResultDoesNoHarm) {
  KeepingClient client(GetParam(), options());
  AgentProcess agent(GetParam(), options(), "node-a");
  client.add(200, "nap");
  EXPECT_TRUE(client.run_until(10));
  agent.pause();
  {
    const AgentProcess other(GetParam(), options(), "node-b");
    EXPECT_TRUE(client.run());
  }
  agent.go_on();
  client.add(1, "echo");
  EXPECT_TRUE(client.run());
  EXPECT_EQ(client.results().size(), 201U);
}

TANDEM_TEST_ON_ENGINES(EngineAgentDeathTest);

}  // namespace
}  // namespace tandem::testing
