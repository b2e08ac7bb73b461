// What every engine must keep, with all of it alive: src/cluster/engine.hpp. Outages and deaths are in
// engine_outage_test.cpp and engine_agent_death_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "cluster/engine_host.hpp"
#include "cluster/engine_records.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

class EngineContractTest : public EngineTest {
 protected:
  ClientRecord record_;
  AgentRecord agent_record_;
  AgentRecord other_record_;
};

TEST_P(EngineContractTest, TaskReachesAnAgentAndItsResultTheClient) {
  const auto client = this->client(record_);
  const auto agent = this->agent("node-a", agent_record_);
  const ClusterTaskId id = submit_stored(*client, record_, 7, "six times seven");
  const TaskLease lease = lease_one(*agent);
  EXPECT_EQ(lease.id, id);
  EXPECT_EQ(text_of(lease.payload), "six times seven");
  EXPECT_EQ(lease.deliveries, 1U);
  agent->finish(lease, bytes_of("42"));
  ASSERT_TRUE(record_.wait_results(1));
  const ClientRecord::Result result = record_.told().results.front();
  EXPECT_EQ(result.id, id);
  EXPECT_EQ(result.node, "node-a");
  EXPECT_EQ(result.text, "42");
  EXPECT_TRUE(agent->drain(kPatience));
  EXPECT_TRUE(census_becomes(*client, [](const Census& census) { return census.tasks + census.results == 0; }));
}

TEST_P(EngineContractTest, PayloadsArriveWholeOfWhateverSize) {
  const auto client = this->client(record_);
  const auto agent = this->agent("node-a", agent_record_);
  std::size_t number = 0;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1} << 20, std::size_t{40} << 20}) {
    std::string payload(size, 'x');
    for (std::size_t i = 0; i < size; i += 997) payload[i] = static_cast<char>('a' + i % 26);
    submit_stored(*client, record_, ++number, payload);
    TaskLease lease = lease_one(*agent);
    EXPECT_TRUE(text_of(lease.payload) == payload) << size;
    agent->finish(lease, lease.payload);
    ASSERT_TRUE(record_.wait_results(number));
    EXPECT_TRUE(record_.told().results.back().text == payload) << size;
  }
}

TEST_P(EngineContractTest, LeaseThatIsNotRenewedEndsAndTheTaskGoesToAnother) {
  const auto client = this->client(record_);
  const auto agent = this->agent("node-a", agent_record_);
  const auto other = this->agent("node-b", other_record_);
  submit_stored(*client, record_, 1, "task");
  const auto leased_at = Clock::now();
  const TaskLease first = lease_one(*agent);
  const auto received_at = Clock::now();
  const TaskLease second = lease_one(*other);
  EXPECT_GE(Clock::now() - leased_at, milliseconds(900));
  EXPECT_EQ(second.id, first.id);
  EXPECT_GE(second.deliveries, 2U);
  // The agent knows only when the task came to it, which may be long after it was sent.
  while (Clock::now() - received_at < options().lease_time) {
    static_cast<void>(other->renew(second));
    static_cast<void>(other->lease(1, milliseconds(50)));
  }
  // It stays lost, though the task is leased to somebody; to this agent again if the other one is too slow to renew it.
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(agent->renew(first));
    static_cast<void>(other->renew(second));
    static_cast<void>(agent->lease(1, milliseconds(100)));
  }
  // Both ran it: the client hears of it once or twice.
  agent->finish(first, bytes_of("from a"));
  other->finish(second, bytes_of("from b"));
  EXPECT_TRUE(record_.wait_results(1));
}

TEST_P(EngineContractTest, TaskLongerThanItsLeaseRunsOnceIfItIsRenewed) {
  const auto client = this->client(record_);
  EngineOptions patient = options();
  patient.lease_time = seconds(4);
  const auto agent = connect_agent(GetParam(), patient, "node-a", agent_record_);
  const auto other = connect_agent(GetParam(), patient, "node-b", other_record_);
  submit_stored(*client, record_, 1, "task");
  const TaskLease lease = lease_one(*agent);
  // Twice as long as a lease lasts. The other agent asks for tasks all the time, and is the clock as well.
  const auto end = Clock::now() + 2 * patient.lease_time;
  while (Clock::now() < end) {
    EXPECT_TRUE(agent->renew(lease));
    EXPECT_TRUE(other->lease(1, milliseconds(200)).empty());
  }
  agent->finish(lease, bytes_of("done"));
  EXPECT_FALSE(agent->renew(lease)) << "it is over";
  EXPECT_TRUE(record_.wait_results(1));
  EXPECT_TRUE(agent_record_.wait_finished(1));
  EXPECT_EQ(agent_record_.finished().front(), lease.id);
  EXPECT_TRUE(census_becomes(*client, [](const Census& census) { return census.tasks + census.results == 0; }));
  EXPECT_EQ(record_.told().results.size(), 1U);
}

TEST_P(EngineContractTest, TaskThatIsGivenBackGoesToAnotherAtOnce) {
  const auto client = this->client(record_);
  EngineOptions patient = options();
  patient.lease_time = std::chrono::hours(1);
  const auto agent = connect_agent(GetParam(), patient, "node-a", agent_record_);
  const auto other = connect_agent(GetParam(), patient, "node-b", other_record_);
  submit_stored(*client, record_, 1, "task");
  const TaskLease first = lease_one(*agent);
  EXPECT_TRUE(agent->renew(first));
  agent->give_back(first);
  EXPECT_FALSE(agent->renew(first));
  EXPECT_EQ(lease_one(*other).id, first.id);
}

TEST_P(EngineContractTest, LeaseGivesNoMoreThanIsAskedFor) {
  const auto client = this->client(record_);
  EngineOptions patient = options();
  patient.lease_time = std::chrono::hours(1);
  const auto agent = connect_agent(GetParam(), patient, "node-a", agent_record_);
  for (std::uint64_t number = 1; number <= 10; ++number) submit_stored(*client, record_, number, "task");
  submit_stored(*client, record_, 11, "task", {TaskTarget::Kind::OneNode, "node-a"});
  std::set<std::uint64_t> seen;
  while (seen.size() < 11) {
    const std::vector<TaskLease> leases = agent->lease(3, kPatience);
    ASSERT_FALSE(leases.empty());
    EXPECT_LE(leases.size(), 3U);
    for (const TaskLease& lease : leases) seen.insert(lease.id.number);
  }
  EXPECT_TRUE(agent->lease(0, milliseconds(0)).empty());
  EXPECT_TRUE(agent->lease(3, milliseconds(0)).empty());
}

TEST_P(EngineContractTest, LeaseSendsNothingBack) {
  const auto client = this->client(record_);
  EngineOptions patient = options();
  patient.lease_time = std::chrono::hours(1);
  const auto agent = connect_agent(GetParam(), patient, "node-a", agent_record_);
  for (std::uint64_t number = 0; number < 10; ++number) {
    const bool for_one = number % 2 == 0;
    submit_stored(*client, record_, number, "task",
                  for_one ? TaskTarget{TaskTarget::Kind::OneNode, "node-a"} : TaskTarget{});
  }
  for (int i = 0; i < 10; ++i) EXPECT_EQ(lease_one(*agent).deliveries, 1U);
}

TEST_P(EngineContractTest, BuildsAndNodesWhoseNamesJoinToTheSameAreDifferent) {
  EngineOptions first = options();
  EngineOptions second = options();
  first.build_id = "a_b";
  second.build_id = "a";
  const auto client = connect_client(GetParam(), first, "client-1", record_);
  const auto agent = connect_agent(GetParam(), first, "c", agent_record_);
  const auto stranger = connect_agent(GetParam(), second, "b_c", other_record_);
  submit_stored(*client, record_, 1, "task", {TaskTarget::Kind::OneNode, "c"});
  EXPECT_TRUE(stranger->lease(1, milliseconds(200)).empty());
  EXPECT_EQ(lease_one(*agent).id.number, 1U);
}

TEST_P(EngineContractTest, AgentThatJoinsLaterGetsWhatWaits) {
  const auto client = this->client(record_);
  submit_stored(*client, record_, 1, "early");
  const auto agent = this->agent("node-a", agent_record_);
  EXPECT_EQ(text_of(lease_one(*agent).payload), "early");
}

TEST_P(EngineContractTest, AgentThatWaitsIsWokenByATask) {
  const auto client = this->client(record_);
  const auto agent = this->agent("node-a", agent_record_);
  std::vector<TaskLease> leases;
  std::thread waits([&] { leases = agent->lease(4, kPatience); });
  submit_stored(*client, record_, 1, "task");
  waits.join();
  EXPECT_EQ(leases.size(), 1U);
}

TEST_P(EngineContractTest, StopEndsALease) {
  const auto agent = this->agent("node-a", agent_record_);
  std::thread waits([&] { EXPECT_TRUE(agent->lease(1, std::chrono::hours(1)).empty()); });
  agent->stop();
  waits.join();
  EXPECT_TRUE(agent->lease(1, std::chrono::hours(1)).empty());
}

TEST_P(EngineContractTest, TaskForOneNodeGoesToThatNode) {
  const auto client = this->client(record_);
  const auto agent = this->agent("node-a", agent_record_);
  const auto other = this->agent("node-b", other_record_);
  submit_stored(*client, record_, 1, "for b", {TaskTarget::Kind::OneNode, "node-b"});
  EXPECT_TRUE(agent->lease(1, milliseconds(100)).empty());
  EXPECT_EQ(text_of(lease_one(*other).payload), "for b");
  EXPECT_THROW(client->submit({"client-1", 2, 1}, {}, {TaskTarget::Kind::OneNode, "b.>"}, seconds(1)),
               std::invalid_argument);
}

TEST_P(EngineContractTest, TaskForAllNodesGoesToEachOnce) {
  const auto client = this->client(record_);
  const TaskTarget all{TaskTarget::Kind::AllNodes, {}};
  EXPECT_FALSE(client->submit({"client-1", 1, 1}, {}, all, milliseconds(0))) << "no node is known";
  const auto agent = this->agent("node-a", agent_record_);
  const auto other = this->agent("node-b", other_record_);
  agent->announce({});
  other->announce({});
  ASSERT_TRUE(record_.wait([](const ClientRecord::Told& told) { return told.nodes.size() == 2; }));
  // Large, because its pieces are one and the same for all.
  const std::string payload(std::size_t{9} << 20, 'p');
  submit_stored(*client, record_, 1, payload, all);
  EXPECT_EQ(record_.told().stored.front().second, (std::vector<std::string>{"node-a", "node-b"}));
  for (const auto* one : {&agent, &other}) {
    const TaskLease lease = lease_one(**one);
    EXPECT_TRUE(text_of(lease.payload) == payload);
    (*one)->finish(lease, bytes_of("done"));
  }
  ASSERT_TRUE(record_.wait_results(2));
  std::set<std::string> nodes;
  for (const ClientRecord::Result& result : record_.told().results) nodes.insert(result.node);
  EXPECT_EQ(nodes, (std::set<std::string>{"node-a", "node-b"}));
}

TEST_P(EngineContractTest, CancelReachesTheAgents) {
  const auto client = this->client(record_);
  const auto agent = this->agent("node-a", agent_record_);
  const auto other = this->agent("node-b", other_record_);
  // A hint that is sent before the server knows who listens is lost; a task that has come shows that it does.
  submit_stored(*client, record_, 1, "a", {TaskTarget::Kind::OneNode, "node-a"});
  submit_stored(*client, record_, 2, "b", {TaskTarget::Kind::OneNode, "node-b"});
  const ClusterTaskId of_a = lease_one(*agent).id;
  const ClusterTaskId of_b = lease_one(*other).id;
  client->cancel(of_b, "node-b");
  client->cancel(of_a, "");
  ASSERT_TRUE(agent_record_.wait_cancels(1));
  ASSERT_TRUE(other_record_.wait_cancels(2));
  EXPECT_EQ(agent_record_.cancels(), std::vector<ClusterTaskId>{of_a});
  EXPECT_THAT(other_record_.cancels(), ::testing::UnorderedElementsAre(of_a, of_b));
}

TEST_P(EngineContractTest, AnnouncementsTellOfNodes) {
  const auto client = this->client(record_);
  const auto agent = this->agent("node-a", agent_record_);
  NodeInfo info;
  info.host = "a host";
  info.slots = 8;
  info.leaving = true;
  info.running = {{"client-1", 3, 1}, {"client-2", 4, 2}};
  agent->announce(info);
  ASSERT_TRUE(record_.wait([](const ClientRecord::Told& told) { return !told.nodes.empty(); }));
  const NodeInfo heard = record_.told().nodes.at("node-a");
  EXPECT_EQ(heard.host, "a host");
  EXPECT_EQ(heard.build_id, "build-1");
  EXPECT_EQ(heard.slots, 8U);
  EXPECT_TRUE(heard.leaving);
  EXPECT_EQ(heard.running, info.running);
  EXPECT_EQ(client->nodes().size(), 1U);
}

TEST_P(EngineContractTest, ValueIsFetchedByWhoeverNeedsItUntilItIsErased) {
  const auto client = this->client(record_);
  const auto agent = this->agent("node-a", agent_record_);
  const auto other = this->agent("node-b", other_record_);
  std::uint64_t number = 0;
  for (const std::size_t size : {std::size_t{1}, std::size_t{1000}, std::size_t{9} << 20}) {
    std::string text(size, 'x');
    for (std::size_t i = 0; i < size; i += 997) text[i] = static_cast<char>('a' + i % 26);
    const detail::ClusterValueId id{"client-1", ++number};
    EXPECT_FALSE(agent->fetch(id, size)) << "nobody has stored it";
    ASSERT_TRUE(client->store_value(number, bytes_of(text), kPatience));
    for (const auto& from : {agent.get(), other.get(), agent.get()}) {
      const auto value = from->fetch(id, size);
      ASSERT_TRUE(value) << size;
      EXPECT_TRUE(text_of(*value) == text) << size;
    }
    EXPECT_FALSE(agent->fetch(id, size + 1)) << "not all of it";
    EXPECT_FALSE(agent->fetch({"client-2", number}, size));
  }
  // Once more, which changes nothing; then it goes, and nothing else of the client does.
  ASSERT_TRUE(client->store_value(1, bytes_of("x"), kPatience));
  EXPECT_TRUE(agent->fetch({"client-1", 1}, 1));
  client->erase_value(1);
  const auto deadline = Clock::now() + kPatience;
  while (agent->fetch({"client-1", 1}, 1) && Clock::now() < deadline) continue;
  EXPECT_FALSE(agent->fetch({"client-1", 1}, 1));
  EXPECT_TRUE(agent->fetch({"client-1", 2}, 1000));
  EXPECT_THROW(static_cast<void>(client->store_value(3, {}, kPatience)), std::invalid_argument);
}

TEST_P(EngineContractTest, AgentOfAnotherBuildGetsNoTasksAndIsSeen) {
  const auto client = this->client(record_);
  EngineOptions foreign = options();
  foreign.build_id = "build-2";
  const auto stranger = connect_agent(GetParam(), foreign, "node-x", other_record_);
  stranger->announce({});
  ASSERT_TRUE(record_.wait([](const ClientRecord::Told& told) { return told.nodes.contains("node-x"); }));
  EXPECT_EQ(record_.told().nodes.at("node-x").build_id, "build-2");
  EXPECT_FALSE(client->submit({"client-1", 1, 1}, {}, {TaskTarget::Kind::AllNodes, {}}, milliseconds(0)));
  submit_stored(*client, record_, 2, "task");
  submit_stored(*client, record_, 3, "task", {TaskTarget::Kind::OneNode, "node-x"});
  EXPECT_TRUE(stranger->lease(8, milliseconds(500)).empty());
  const auto agent = this->agent("node-a", agent_record_);
  EXPECT_EQ(lease_one(*agent).id.number, 2U);
}

TEST_P(EngineContractTest, SameIdIsStoredOnceAndAnotherAttemptIsAnotherTask) {
  const auto client = this->client(record_);
  const ClusterTaskId id = submit_stored(*client, record_, 1, "task");
  submit_stored(*client, record_, 1, "task");
  EXPECT_TRUE(census_becomes(*client, [](const Census& census) { return census.tasks == 1; }));
  ASSERT_TRUE(client->submit({id.client, 1, 2}, bytes_of("task"), {}, kPatience));
  ASSERT_TRUE(record_.wait_stored(3));
  EXPECT_TRUE(census_becomes(*client, [](const Census& census) { return census.tasks == 2; }));
}

TEST_P(EngineContractTest, CensusCountsWhatIsHeldForThisClient) {
  const auto client = this->client(record_);
  ClientRecord of_another;
  const auto another = this->client(of_another, "client-2");
  const auto agent = this->agent("node-a", agent_record_);
  ASSERT_TRUE(another->submit({"client-2", 1, 1}, bytes_of("another"), {}, kPatience));
  ASSERT_TRUE(of_another.wait_stored(1));
  submit_stored(*client, record_, 1, "task");
  submit_stored(*client, record_, 2, "task", {TaskTarget::Kind::OneNode, "node-z"});
  Census before;
  EXPECT_TRUE(census_becomes(*client,
                             [&](const Census& census) {
                               before = census;
                               return census.tasks == 2 && census.queued_in_pool == 2;
                             }))
      << before.tasks << " " << before.queued_in_pool;
  EXPECT_EQ(before.tasks_of_nodes, (std::map<std::string, std::uint64_t>{{"node-z", 1}}));
  EXPECT_EQ(before.leased_in_pool, 0U);
  const TaskLease first = lease_one(*agent);
  EXPECT_TRUE(census_becomes(*client, [](const Census& census) {
    return census.leased_in_pool == 1 && census.queued_in_pool == 1 && census.tasks == 2;
  }));
  EXPECT_EQ(census_of(*client).generation, before.generation);
}

TEST_P(EngineContractTest, TasksOfAClientThatEndsAreDropped) {
  ClientRecord watching;
  const auto watcher = this->client(watching, "client-2");
  const auto agent = this->agent("node-a", agent_record_);
  {
    const auto client = this->client(record_);
    submit_stored(*client, record_, 1, "task");
    EXPECT_TRUE(census_becomes(*watcher, [](const Census& census) { return census.queued_in_pool == 1; }));
  }
  EXPECT_TRUE(census_becomes(*watcher, [](const Census& census) { return census.queued_in_pool == 0; }));
}

TEST_P(EngineContractTest, ManyTasksOnTwoAgentsEachComeBack) {
  constexpr std::uint64_t kTasks = 2000;
  EngineOptions narrow = options();
  narrow.unstored_items = 16;
  narrow.lease_time = seconds(30);
  const auto client = connect_client(GetParam(), narrow, "client-1", record_);
  const auto agent = connect_agent(GetParam(), narrow, "node-a", agent_record_);
  const auto other = connect_agent(GetParam(), narrow, "node-b", other_record_);
  const auto work = [](EngineAgent& worker) {
    for (;;) {
      const std::vector<TaskLease> leases = worker.lease(8, std::chrono::hours(1));
      if (leases.empty()) return;
      for (const TaskLease& lease : leases) worker.finish(lease, lease.payload);
    }
  };
  std::thread a([&] { work(*agent); });
  std::thread b([&] { work(*other); });
  for (std::uint64_t number = 0; number < kTasks; ++number) {
    const std::string text = std::to_string(number);
    EXPECT_TRUE(client->submit({"client-1", number, 1}, bytes_of(text), {}, kPatience));
  }
  EXPECT_TRUE(submit_again_until(
      *client, record_, [](std::uint64_t number) { return std::to_string(number); },
      [](const ClientRecord::Told& told) {
        return told.results.size() >= kTasks && told.count_of_finished() >= kTasks;
      }));
  agent->stop();
  other->stop();
  a.join();
  b.join();
  std::set<std::uint64_t> seen;
  for (const ClientRecord::Result& result : record_.told().results) {
    EXPECT_EQ(result.text, std::to_string(result.id.number));
    seen.insert(result.id.number);
  }
  EXPECT_EQ(seen.size(), kTasks);
}

TEST_P(EngineContractTest, ManyLargePayloadsAtOnceArriveWhole) {
  constexpr std::uint64_t kTasks = 40;
  EngineOptions patient = options();
  patient.lease_time = std::chrono::minutes(1);
  const auto client = connect_client(GetParam(), patient, "client-1", record_);
  const auto agent = connect_agent(GetParam(), patient, "node-a", agent_record_);
  const std::string payload(std::size_t{3} << 20, 'l');
  for (std::uint64_t number = 0; number < kTasks; ++number)
    EXPECT_TRUE(client->submit({"client-1", number, 1}, bytes_of(payload), {}, kPatience));
  const auto payload_of = [&](std::uint64_t) -> const std::string& { return payload; };
  ASSERT_TRUE(submit_again_until(*client, record_, payload_of,
                                 [](const ClientRecord::Told& told) { return told.stored.size() >= kTasks; }));
  // One whose lease has ended on its way comes again.
  std::set<std::uint64_t> leased;
  while (leased.size() < kTasks) {
    const std::vector<TaskLease> leases = agent->lease(kTasks, kPatience);
    ASSERT_FALSE(leases.empty());
    for (const TaskLease& lease : leases) {
      leased.insert(lease.id.number);
      agent->finish(lease, lease.payload);
    }
  }
  ASSERT_TRUE(record_.wait([](const ClientRecord::Told& told) { return told.count_of_finished() >= kTasks; }));
  for (const ClientRecord::Result& result : record_.told().results) EXPECT_TRUE(result.text == payload);
}

TEST_P(EngineContractTest, NamesThatCannotBeAreRefused) {
  EXPECT_THROW(this->client(record_, "a client"), std::invalid_argument);
  EXPECT_THROW(this->agent("", agent_record_), std::invalid_argument);
  const auto client = this->client(record_);
  EXPECT_THROW(client->submit({"client-2", 1, 1}, {}, {}, seconds(1)), std::invalid_argument);
  EXPECT_THROW(client->cancel({"client-1", 1, 1}, "*"), std::invalid_argument);
}

TANDEM_TEST_ON_ENGINES(EngineContractTest);

}  // namespace
}  // namespace tandem::testing
