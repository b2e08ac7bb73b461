// What every engine must keep while agents and clients are killed and stopped.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
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
  constexpr std::uint64_t kTasks = 800;
  KeepingClient client(GetParam(), options());
  AgentProcess steady(GetParam(), options(), "node-s");
  client.add(kTasks, "nap");
  for (int round = 0; round < 4; ++round) {
    AgentProcess doomed(GetParam(), options(), "node-d");
    // The other one may have done nearly all by now.
    EXPECT_TRUE(client.run_until(std::min<std::uint64_t>(client.results().size() + 40, kTasks)));
    doomed.kill();
  }
  EXPECT_TRUE(client.run());
  EXPECT_EQ(client.results().size(), kTasks);
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

TEST_P(EngineAgentDeathTest, TaskOfAKilledClientIsDropped) {
  EngineOptions attentive = options();
  attentive.client_silence = std::chrono::seconds(1);
  AgentRecord agent_record;
  const auto agent = connect_agent(GetParam(), attentive, "node-a", agent_record);
  ClientRecord record;
  const auto watcher = connect_client(GetParam(), attentive, "client-2", record);
  tandem::Queue<std::string> told;
  tandem::Process doomed(client_main, GetParam(), attentive.url, attentive.token, told);
  doomed.start();
  EXPECT_EQ(told.get_for(kPatience), "stored");
  doomed.kill();
  doomed.join();
  EXPECT_TRUE(census_becomes(*watcher, [&](const Census& census) {
    for (const TaskLease& lease : agent->lease(1, std::chrono::milliseconds(100))) agent->give_back(lease);
    return census.queued_in_pool + census.leased_in_pool == 0;
  }));
}

TEST_P(EngineAgentDeathTest, TaskOfAClientThatHadNothingToDoForLongIsNotDropped) {
  EngineOptions attentive = options();
  // Far more than a busy machine may keep the client from saying that it is there.
  attentive.client_silence = std::chrono::seconds(5);
  AgentRecord agent_record;
  ClientRecord record;
  const auto agent = connect_agent(GetParam(), attentive, "node-a", agent_record);
  const auto client = connect_client(GetParam(), attentive, "client-1", record);
  EXPECT_TRUE(agent->lease(1, std::chrono::seconds(6)).empty());
  submit_stored(*client, record, 1, "task");
  EXPECT_EQ(lease_one(*agent).id.number, 1U);
}

TANDEM_TEST_ON_ENGINES(EngineAgentDeathTest);

}  // namespace
}  // namespace tandem::testing
