// What only the engine of NATS has: its streams, and the server's limits.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nats/nats.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "cluster/engine_records.hpp"
#include "cluster/nats_engine_fixture.hpp"
#include "cluster/nats_keeper.hpp"
#include "cluster/nats_link.hpp"
#include "cluster/nats_pull.hpp"
#include "cluster/nats_queues.hpp"
#include "cluster/nats_server.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;

TEST_F(NatsEngineTest, LeaseLastsUntilItsResultIsStored) {
  start();
  // Far more than a busy machine may keep the agent from renewing it.
  options_.lease_time = std::chrono::seconds(4);
  limit_results(1, false);
  const auto client = this->client();
  const auto agent = this->agent();
  submit_stored(*client, record_, 1, "task");
  agent->finish(lease_one(*agent), bytes_of("a result that the store refuses"));
  // Longer than the lease: the agent renews it as long as the result is not stored.
  EXPECT_TRUE(agent->lease(1, milliseconds(6000)).empty());
  EXPECT_FALSE(agent->drain(milliseconds(0)));
  EXPECT_EQ(census_of(*client).tasks, 1U);
  limit_results(-1, true);
  EXPECT_TRUE(agent->drain(kPatience));
  ASSERT_TRUE(record_.wait_results(1));
  EXPECT_EQ(record_.told().results.front().text, "a result that the store refuses");
  EXPECT_TRUE(census_becomes(*client, [](const Census& census) { return census.tasks + census.results == 0; }));
}

TEST_F(NatsEngineTest, PiecesAreErasedOnceNobodyNeedsThem) {
  start();
  const auto client = this->client();
  const auto agent = this->agent();
  const std::string payload(std::size_t{9} << 20, 'p');
  submit_stored(*client, record_, 1, payload);
  EXPECT_EQ(messages("tandem_pieces_default"), 3U);
  // Sent once more, the same task keeps the pieces that it has.
  submit_stored(*client, record_, 1, payload);
  const TaskLease lease = lease_one(*agent);
  EXPECT_TRUE(text_of(lease.payload) == payload);
  agent->finish(lease, lease.payload);
  ASSERT_TRUE(record_.wait_results(1));
  EXPECT_TRUE(record_.told().results.front().text == payload);
  EXPECT_TRUE(agent->drain(kPatience));
  EXPECT_TRUE(census_becomes(*client, [&](const Census&) { return messages("tandem_pieces_default") == 0; }));
}

TEST_F(NatsEngineTest, TaskWhosePiecesAreLostIsDroppedAndMissingInTheCensus) {
  start();
  const auto client = this->client();
  const auto agent = this->agent();
  submit_stored(*client, record_, 1, std::string(std::size_t{9} << 20, 'p'));
  EXPECT_EQ(js_PurgeStream(requests_.get(), "tandem_pieces_default", nullptr, nullptr), NATS_OK);
  EXPECT_TRUE(census_becomes(*client, [&](const Census& census) {
    EXPECT_TRUE(agent->lease(1, milliseconds(100)).empty());
    return census.tasks == 0;
  }));
}

TEST_F(NatsEngineTest, QueuesThatWereMadeWithOtherOptionsAreUsed) {
  start();
  {
    const auto agent = this->agent();
  }
  {
    const auto client = this->client();
  }
  options_.lease_time = std::chrono::hours(1);
  options_.max_age = std::chrono::hours(1);
  options_.in_memory = true;
  const auto client = this->client();
  const auto agent = this->agent();
  submit_stored(*client, record_, 1, "task");
  const TaskLease lease = lease_one(*agent);
  // The new lease time counts, not the old one.
  EXPECT_TRUE(agent->lease(1, milliseconds(2500)).empty());
  agent->finish(lease, {});
  EXPECT_TRUE(record_.wait_results(1));
}

TEST_F(NatsEngineTest, PiecesFitAServerThatTakesLittle) {
  NatsServerSettings settings;
  settings.max_payload = "64KB";
  start(settings);
  const auto client = this->client();
  const auto agent = this->agent();
  const std::string payload(std::size_t{1} << 20, 'p');
  submit_stored(*client, record_, 1, payload);
  const TaskLease lease = lease_one(*agent);
  EXPECT_TRUE(text_of(lease.payload) == payload);
  agent->finish(lease, lease.payload);
  ASSERT_TRUE(record_.wait_results(1));
  EXPECT_TRUE(record_.told().results.front().text == payload);
}

TEST_F(NatsEngineTest, WhatStrangersPutIntoTheQueuesIsDropped) {
  start();
  const auto client = this->client();
  const auto agent = this->agent();
  const auto put = [&](const char* subject) {
    EXPECT_EQ(js_Publish(nullptr, requests_.get(), subject, "x", 1, nullptr, nullptr), NATS_OK);
  };
  put("tandem.default.t.build-1._.client-1");
  put("tandem.default.r.client-1");
  EXPECT_TRUE(link_->publish("tandem.default.n.node-x", "nonsense"));
  EXPECT_TRUE(link_->publish("tandem.default.c.build-1._", "nonsense"));
  EXPECT_TRUE(census_becomes(*client, [&](const Census& census) {
    EXPECT_TRUE(agent->lease(1, milliseconds(100)).empty());
    return census.tasks + census.results == 0;
  }));
  submit_stored(*client, record_, 1, "task");
  agent->finish(lease_one(*agent), {});
  ASSERT_TRUE(record_.wait_results(1));
  EXPECT_EQ(record_.told().results.size(), 1U);
  EXPECT_TRUE(record_.told().nodes.empty());
  EXPECT_TRUE(agent_record_.cancels().empty());
}

/// While another one makes them too, the server may refuse.
template <class Engine>
void ensure_in_the_end(Engine& engine) {
  for (bool made = false; !made;) {
    try {
      engine.ensure();
      made = true;
    } catch (const detail::EngineError&) {
      std::this_thread::sleep_for(milliseconds(10));
    }
  }
}

TEST_F(NatsEngineTest, LateAcknowledgementForAnOlderStreamReachesNobody) {
  start();
  options_.lease_time = std::chrono::hours(1);
  const auto client = this->client();
  const auto agent = this->agent();
  submit_stored(*client, record_, 1, "task");
  const TaskLease old = lease_one(*agent);
  server_->kill();
  std::filesystem::remove_all(server_->store());
  server_->start();
  ensure_in_the_end(*client);
  ensure_in_the_end(*agent);
  submit_stored(*client, record_, 2, "another task of the same number");
  EXPECT_EQ(lease_one(*agent).id.number, 2U);
  agent->finish(old, bytes_of("result"));
  EXPECT_TRUE(agent->drain(kPatience));
  ASSERT_TRUE(record_.wait_results(1));
  EXPECT_TRUE(agent->lease(1, milliseconds(500)).empty());
  EXPECT_EQ(census_of(*client).tasks, 1U) << "the acknowledgement of task 1 has ended task 2";
}

// As one is that was made while its stream still was: see NatsQueues.
TEST_F(NatsEngineTest, ConsumerThatHandsOutNothingIsMadeAnew) {
  start();
  const auto client = this->client();
  const auto agent = this->agent();
  std::atomic<int> requests{0};
  const detail::NatsSubscription swallowed(*link_, "swallowed.*", false, [&](detail::NatsMessage message) {
    if (std::string_view(natsMsg_GetSubject(message.get())).starts_with("swallowed.any_")) ++requests;
  });
  const detail::NatsSubscription deleted(*link_, "$JS.EVENT.ADVISORY.CONSUMER.DELETED.tandem_tasks_default.*", false,
                                         [&](detail::NatsMessage) { server_->set_mappings({}); });
  ASSERT_EQ(natsConnection_Flush(link_->get()), NATS_OK);
  server_->set_mappings({{"$JS.API.CONSUMER.MSG.NEXT.tandem_tasks_default.*", "swallowed.$1"}});
  while (requests == 0) EXPECT_TRUE(agent->lease(1, milliseconds(100)).empty());
  submit_stored(*client, record_, 1, "task");
  EXPECT_EQ(lease_one(*agent).id.number, 1U);
}

TEST_F(NatsEngineTest, BothSidesMayEndWithMessagesOnTheirWay) {
  constexpr std::uint64_t kTasks = 300;
  start();
  options_.lease_time = std::chrono::minutes(1);
  const auto payload_of = [](std::uint64_t) { return std::string(); };
  for (std::uint32_t round = 0; round < 3; ++round) {
    ClientRecord record;
    auto client = connect_client(EngineKind::Nats, options_, "client-1", record);
    auto agent = this->agent();
    for (std::uint64_t number = 0; number < kTasks; ++number)
      EXPECT_TRUE(client->submit({"client-1", number, 2 * round}, {}, {}, kPatience));
    ASSERT_TRUE(submit_again_until(*client, record, payload_of,
                                   [](const ClientRecord::Told& told) { return told.stored.size() >= kTasks; }));
    std::vector<TaskLease> leases;
    std::set<std::uint64_t> numbers;
    while (numbers.size() < kTasks) {
      std::vector<TaskLease> some = agent->lease(kTasks, kPatience);
      ASSERT_FALSE(some.empty());
      for (TaskLease& lease : some) {
        if (lease.id.attempt == 2 * round) numbers.insert(lease.id.number);
        leases.push_back(std::move(lease));
      }
    }
    for (const TaskLease& lease : leases) agent->finish(lease, bytes_of("result"));
    agent.reset();
    for (std::uint64_t number = 0; number < kTasks; ++number)
      EXPECT_TRUE(client->submit({"client-1", number, 2 * round + 1}, {}, {}, kPatience));
    client.reset();
  }
}

TEST_F(NatsEngineTest, LeaseGivesUpInTimeThoughTheQueuesCannotBeMade) {
  start();
  const auto client = this->client();
  const auto agent = this->agent();
  // Another stream has the subjects now, so that of the tasks cannot be made again.
  EXPECT_EQ(js_DeleteStream(requests_.get(), "tandem_tasks_default", nullptr, nullptr), NATS_OK);
  jsStreamConfig config;
  jsStreamConfig_Init(&config);
  const char* subject = "tandem.default.t.>";
  config.Name = "in_the_way";
  config.Subjects = &subject;
  config.SubjectsLen = 1;
  EXPECT_EQ(js_AddStream(nullptr, requests_.get(), &config, nullptr, nullptr), NATS_OK);
  EXPECT_THROW(agent->ensure(), detail::EngineError);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(agent->lease(1, milliseconds(500)).empty());
  EXPECT_EQ(js_DeleteStream(requests_.get(), "in_the_way", nullptr, nullptr), NATS_OK);
  // The first may find no stream yet.
  while (record_.told().stored.empty()) {
    const std::size_t errors = record_.told().errors.size();
    EXPECT_TRUE(client->submit({"client-1", 1, 1}, {}, {}, kPatience));
    ASSERT_TRUE(record_.wait(
        [&](const ClientRecord::Told& told) { return !told.stored.empty() || told.errors.size() > errors; }));
  }
  EXPECT_EQ(lease_one(*agent).id.number, 1U);
}

TEST_F(NatsEngineTest, ServerThatStandsStillHoldsNobody) {
  start();
  const auto client = this->client();
  auto agent = this->agent();
  const std::string payload(std::size_t{40} << 20, 'p');
  server_->pause();
  // More than the system takes for a server that reads nothing.
  EXPECT_TRUE(client->submit({"client-1", 1, 1}, bytes_of(payload), {}, milliseconds(50)));
  EXPECT_TRUE(becomes_away(*client));
  EXPECT_TRUE(record_.wait([](const ClientRecord::Told& told) { return !told.errors.empty(); }));
  EXPECT_TRUE(agent->lease(1, milliseconds(50)).empty());
  agent.reset();
  server_->go_on();
  submit_stored(*client, record_, 1, payload);
  agent = this->agent();
  EXPECT_TRUE(text_of(lease_one(*agent).payload) == payload);
}

// Where the errors of submitting are told.
class ThreadRecord : public ClientRecord {
 public:
  void on_submit_error(const ClusterTaskId& id, const std::string& why) override {
    told_by_submitter = told_by_submitter || std::this_thread::get_id() == submitter;
    ClientRecord::on_submit_error(id, why);
  }
  const std::thread::id submitter = std::this_thread::get_id();
  std::atomic<bool> told_by_submitter{false};
};

TEST_F(NatsEngineTest, ErrorOfSubmittingIsNotToldFromWithinTheCall) {
  start();
  options_.unstored_items = 1;
  ThreadRecord record;
  const auto client = connect_client(EngineKind::Nats, options_, "client-1", record);
  AgentRecord other_record;
  const auto agent = this->agent();
  const auto other = connect_agent(EngineKind::Nats, options_, "node-b", other_record);
  agent->announce({});
  AgentRecord third_record;
  const auto third = connect_agent(EngineKind::Nats, options_, "node-c", third_record);
  other->announce({});
  third->announce({});
  ASSERT_TRUE(record.wait([](const ClientRecord::Told& told) { return told.nodes.size() == 3; }));
  server_->pause();
  // The message for the first is on its way, that for the second waits for room until the connection is lost after some
  // nine seconds, and the first with it; that for the third then waits for the connection, and is the last to fail.
  EXPECT_TRUE(client->submit({"client-1", 1, 1}, {}, {TaskTarget::Kind::AllNodes, {}}, std::chrono::seconds(12)));
  EXPECT_TRUE(record.wait([](const ClientRecord::Told& told) { return !told.errors.empty(); }));
  EXPECT_FALSE(record.told_by_submitter);
  server_->go_on();
}

TEST_F(NatsEngineTest, MoreAgentsWaitThanAServerTakesUnlessItIsTold) {
  constexpr int kRequests = 600;
  start();
  const auto agent = this->agent();
  jsStreamInfo* made = nullptr;
  ASSERT_EQ(js_GetStreamInfo(&made, requests_.get(), "tandem_tasks_default", nullptr, nullptr), NATS_OK);
  const detail::NatsOwner<jsStreamInfo> info(made);
  const std::string subject =
      "$JS.API.CONSUMER.MSG.NEXT.tandem_tasks_default." + detail::NatsNames(options_).any_consumer(made->Created);
  detail::Mutex mutex;
  detail::ConditionVariable changed;
  std::vector<int> statuses;
  const detail::NatsSubscription answers(*link_, "waits.*", false, [&](const detail::NatsMessage& message) {
    const detail::MutexGuard guard(mutex);
    statuses.push_back(detail::status_of(message.get()));
    changed.notify_all();
  });
  for (int i = 0; i < kRequests; ++i)
    EXPECT_TRUE(link_->publish(subject, fmt::format("waits.{}", i), R"({"batch":1,"expires":3000000000})"));
  const detail::MutexGuard guard(mutex);
  while (statuses.size() < kRequests) changed.wait(mutex);
  // Each has waited for its time.
  EXPECT_EQ(std::count(statuses.begin(), statuses.end(), 408), kRequests);
}

TEST_F(NatsEngineTest, RequestThatIsRefusedIsFollowedByAPause) {
  start();
  jsStreamConfig stream;
  jsStreamConfig_Init(&stream);
  const char* subject = "narrow";
  stream.Name = "narrow";
  stream.Subjects = &subject;
  stream.SubjectsLen = 1;
  ASSERT_EQ(js_AddStream(nullptr, requests_.get(), &stream, nullptr, nullptr), NATS_OK);
  jsConsumerConfig consumer;
  jsConsumerConfig_Init(&consumer);
  consumer.Durable = "narrow";
  consumer.AckPolicy = js_AckExplicit;
  consumer.MaxWaiting = 1;
  ASSERT_EQ(js_AddConsumer(nullptr, requests_.get(), "narrow", &consumer, nullptr, nullptr), NATS_OK);
  detail::Mutex mutex;
  detail::ConditionVariable changed;
  int ends = 0;
  const detail::NatsPull::Callbacks nothing{[](const detail::NatsMessage&) {}, [](bool) {}};
  const detail::NatsPull::Callbacks count{[](const detail::NatsMessage&) {},
                                          [&](bool) {
                                            const detail::MutexGuard guard(mutex);
                                            ++ends;
                                            changed.notify_all();
                                          }};
  detail::NatsPull standing(*link_, "narrow", nothing);
  detail::NatsPull refused(*link_, "narrow", count);
  standing.aim("narrow");
  refused.aim("narrow");
  const auto asked_at = std::chrono::steady_clock::now();
  EXPECT_TRUE(standing.stand(1, std::chrono::hours(1)));
  EXPECT_TRUE(refused.stand(1, std::chrono::hours(1)));
  {
    const detail::MutexGuard guard(mutex);
    while (ends == 0) changed.wait(mutex);
  }
  while (refused.stage() == detail::NatsPull::Stage::Paused) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(refused.stage(), detail::NatsPull::Stage::Idle);
  EXPECT_GE(std::chrono::steady_clock::now() - asked_at, milliseconds(250));
}

TEST_F(NatsEngineTest, LeasesOfLargePayloadsAreRenewedWhileOthersTravel) {
  // So many pieces that they take several thirds of a lease on any machine.
  NatsServerSettings settings;
  settings.max_payload = "16KB";
  start(settings);
  options_.lease_time = milliseconds(100);
  const auto client = this->client();
  const auto agent = this->agent();
  const std::string payload(std::size_t{40} << 20, 'p');
  submit_stored(*client, record_, 1, payload);
  submit_stored(*client, record_, 2, payload);
  detail::Mutex mutex;
  std::vector<std::string> renewed;
  const detail::NatsSubscription acks(*link_, "$JS.ACK.tandem_tasks_default.>", true,
                                      [&](const detail::NatsMessage& message) {
                                        const detail::MutexGuard guard(mutex);
                                        if (text_of(detail::payload_of(message.get())) == "+WPI")
                                          renewed.emplace_back(natsMsg_GetSubject(message.get()));
                                      });
  EXPECT_EQ(natsConnection_Flush(link_->get()), NATS_OK);
  // One with a piece that takes too long on a busy machine is put off for a second, and the other comes alone. It is
  // given back, and both are asked for when both can be had: otherwise each would come while the other is leased.
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  for (;;) {
    const std::vector<TaskLease> leases = agent->lease(2, kPatience);
    if (leases.size() == 2) break;
    ASSERT_FALSE(deadline.passed());
    for (const TaskLease& lease : leases) agent->give_back(lease);
    std::this_thread::sleep_for(milliseconds(1000) + 2 * options_.lease_time);
    const detail::MutexGuard guard(mutex);
    renewed.clear();
  }
  const auto turns = [&] {
    const detail::MutexGuard guard(mutex);
    int count = 0;
    for (std::size_t i = 1; i < renewed.size(); ++i) count += renewed[i] != renewed[i - 1] ? 1 : 0;
    return count;
  };
  // One after the other would be one turn.
  EXPECT_TRUE(census_becomes(*client, [&](const Census&) { return turns() >= 3; }));
}

TEST_F(NatsEngineTest, NobodyWaitsForAServerThatRefusesThem) {
  NatsServerSettings settings;
  settings.token = random_secret();
  options_.token = settings.token;
  options_.unstored_items = 1;
  start(settings);
  const auto client = this->client();
  const auto agent = this->agent();
  submit_stored(*client, record_, 1, "task");
  submit_stored(*client, record_, 2, "task");
  const TaskLease first = lease_one(*agent);
  const TaskLease second = lease_one(*agent);
  std::thread waits([&] { EXPECT_TRUE(agent->lease(1, std::chrono::hours(1)).empty()); });
  server_->kill();
  agent->finish(first, {});
  server_->set_token(random_secret());
  server_->start();
  agent->finish(second, {});  // There is room for one only.
  waits.join();
  EXPECT_FALSE(agent->drain(std::chrono::hours(1)));
  EXPECT_EQ(agent->state(), detail::EngineState::Refused);
  EXPECT_TRUE(agent_record_.wait_refused());
  EXPECT_TRUE(record_.wait([](const ClientRecord::Told& told) { return told.refused; }));
  std::vector<std::uint64_t> unstored;
  for (const detail::UnstoredResult& result : agent->take_unstored()) unstored.push_back(result.id.number);
  EXPECT_EQ(unstored, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_TRUE(agent->drain(milliseconds(0))) << "they are taken out";
}

TEST_F(NatsEngineTest, WhatIsThrownForAMessageEndsNothing) {
  start();
  detail::Mutex mutex;
  detail::ConditionVariable changed;
  int taken = 0;
  const detail::NatsSubscription subscription(*link_, "thrown", false, [&](const detail::NatsMessage&) {
    const detail::MutexGuard guard(mutex);
    ++taken;
    changed.notify_all();
    if (taken == 1) throw std::bad_alloc();
    if (taken == 2) throw 2;
  });
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(link_->publish("thrown", "x"));
  const detail::MutexGuard guard(mutex);
  while (taken < 3) changed.wait(mutex);
}

TEST(NatsKeeperTest, WhatIsThrownByAStepIsFollowedByAnother) {
  detail::Mutex mutex;
  detail::ConditionVariable changed;
  int steps = 0;
  detail::NatsKeeper keeper;
  keeper.start([&](const detail::NatsKeeper::News&) -> milliseconds {
    const detail::MutexGuard guard(mutex);
    ++steps;
    changed.notify_all();
    throw std::bad_alloc();
  });
  const detail::MutexGuard guard(mutex);
  while (steps < 2) changed.wait(mutex);
}

}  // namespace
}  // namespace tandem::testing
