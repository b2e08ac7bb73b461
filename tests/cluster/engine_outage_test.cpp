// What every engine must keep while its servers are killed, and lose what they had.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "cluster/agent_process.hpp"
#include "cluster/engine_host.hpp"
#include "cluster/keeping_client.hpp"

namespace tandem::testing {
namespace {

using detail::EngineError;
using std::chrono::milliseconds;

using EngineOutageTest = EngineTest;

TEST_P(EngineOutageTest, NoTaskIsLostIfTheServerIsKilledAndStartedAgain) {
  KeepingClient client(GetParam(), options());
  const AgentProcess agent(GetParam(), options(), "node-a");
  client.add(400, "nap");
  for (int round = 1; round <= 2; ++round) {
    EXPECT_TRUE(client.run_until(100 * static_cast<std::uint64_t>(round)));
    host().kill();
    host().start();
  }
  EXPECT_TRUE(client.run());
  EXPECT_EQ(client.results().size(), 400U);
}

TEST_P(EngineOutageTest, NoTaskIsLostIfTheStoreIsDeleted) {
  KeepingClient client(GetParam(), options());
  AgentProcess agent(GetParam(), options(), "node-a");
  client.add(400, "nap");
  EXPECT_TRUE(client.run_until(30));
  const Census before = census_of(client.engine());
  host().kill();
  host().delete_store();
  host().start();
  EXPECT_TRUE(client.run());
  EXPECT_EQ(client.results().size(), 400U);
  EXPECT_TRUE(
      census_becomes(client.engine(), [&](const Census& census) { return census.generation != before.generation; }));
}

TEST_P(EngineOutageTest, NoTaskIsLostIfTheStoreIsRolledBack) {
  KeepingClient client(GetParam(), options());
  client.add(20, "echo");
  ASSERT_TRUE(client.run_until_stored());
  const Census before = census_of(client.engine());
  host().kill();
  host().save_store();
  host().start();
  client.add(50, "echo");
  ASSERT_TRUE(client.run_until_stored());
  host().kill();
  host().roll_store_back();
  host().start();
  // The engine can tell only before it has taken more than it lost.
  EXPECT_TRUE(
      census_becomes(client.engine(), [&](const Census& census) { return census.generation != before.generation; }));
  const AgentProcess agent(GetParam(), options(), "node-a");
  EXPECT_TRUE(client.run());
  EXPECT_EQ(client.results().size(), 70U);
  EXPECT_GE(client.recoveries(), 1);
}

TEST_P(EngineOutageTest, ResultThatIsFinishedDuringAnOutageIsStoredAfterIt) {
  ClientRecord record;
  AgentRecord agent_record;
  const auto client = this->client(record);
  const auto agent = this->agent("node-a", agent_record);
  submit_stored(*client, record, 1, "task");
  const TaskLease lease = lease_one(*agent);
  host().kill();
  agent->finish(lease, bytes_of("done in the dark"));
  EXPECT_FALSE(agent->drain(milliseconds(0)));
  EXPECT_TRUE(agent_record.finished().empty());
  host().start();
  EXPECT_TRUE(agent->drain(kPatience));
  EXPECT_TRUE(agent_record.wait_finished(1));
  ASSERT_TRUE(record.wait_results(1));
  EXPECT_EQ(record.told().results.front().text, "done in the dark");
}

TEST_P(EngineOutageTest, LeaseThatCannotBeRenewedForSoLongIsLost) {
  ClientRecord record;
  AgentRecord agent_record;
  const auto client = this->client(record);
  const auto agent = this->agent("node-a", agent_record);
  submit_stored(*client, record, 1, "task");
  const TaskLease lease = lease_one(*agent);
  const auto leased_at = std::chrono::steady_clock::now();
  host().kill();
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  // The wait for a task that cannot come is the clock.
  while (agent->renew(lease) && !deadline.passed()) EXPECT_TRUE(agent->lease(1, milliseconds(50)).empty());
  EXPECT_FALSE(deadline.passed());
  EXPECT_GE(std::chrono::steady_clock::now() - leased_at, milliseconds(900));
}

TEST_P(EngineOutageTest, CallsGiveUpInTimeDuringAnOutageAndWorkAfterIt) {
  ClientRecord record;
  AgentRecord agent_record;
  const auto client = this->client(record);
  const auto agent = this->agent("node-a", agent_record);
  host().kill();
  // Until the loss is noticed a task may still be handed over, and is then told to be an error.
  const ClusterTaskId id{"client-1", 1, 1};
  while (client->submit(id, bytes_of("task"), {}, milliseconds(10)))
    ASSERT_TRUE(record.wait([](const ClientRecord::Told& told) { return !told.errors.empty(); }));
  EXPECT_TRUE(becomes_away(*client));
  EXPECT_FALSE(client->census());
  EXPECT_TRUE(agent->lease(1, milliseconds(10)).empty());
  EXPECT_THROW(client->ensure(), EngineError);
  host().start();
  EXPECT_TRUE(client->submit(id, bytes_of("task"), {}, kPatience));
  EXPECT_EQ(lease_one(*agent).id, id);
  EXPECT_TRUE(record.wait_stored(1));
}

TEST_P(EngineOutageTest, ServerThatIsNotThereIsAnErrorThatNamesIt) {
  ClientRecord record;
  EngineOptions impatient = options();
  impatient.connect_wait = milliseconds(200);
  host().kill();
  try {
    connect_client(GetParam(), impatient, "client-1", record);
    FAIL() << "connected to nothing";
  } catch (const EngineError& error) {
    EXPECT_NE(std::string(error.what()).find(impatient.url), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find(impatient.token), std::string::npos) << error.what();
  }
}

TANDEM_TEST_ON_ENGINES(EngineOutageTest);

}  // namespace
}  // namespace tandem::testing
