// Who is alive, and what becomes of what the dead have left: on NATS.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <tandem/process.hpp>
#include <tandem/queue.hpp>

#include "cluster/agent_process.hpp"
#include "cluster/engine_records.hpp"
#include "cluster/nats_engine_fixture.hpp"
#include "support/caught_log.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;

class NatsLivenessTest : public NatsEngineTest {
 protected:
  static std::string text(const detail::NatsMessage& message) { return text_of(detail::payload_of(message.get())); }
  /// Looks until the agent takes the client for silent, or does not; false if that takes too long.
  static bool becomes_silent(EngineAgent& agent, bool silent, std::chrono::seconds patience = kPatience) {
    const detail::Deadline deadline = detail::Deadline::after(patience);
    while (agent.is_silent("client-1") != silent) {
      if (deadline.passed()) return false;
      std::this_thread::sleep_for(milliseconds(5));
    }
    return true;
  }
  /// Asks until the stream has so many messages.
  bool becomes(const char* stream, std::uint64_t count) {
    const detail::Deadline deadline = detail::Deadline::after(kPatience);
    while (messages(stream) != count) {
      if (deadline.passed()) return false;
      std::this_thread::sleep_for(milliseconds(20));
    }
    return true;
  }
};

TEST_F(NatsLivenessTest, LeasesAreRenewedWhileTheQueuesCannotBeMade) {
  start();
  limit_results(1, false);
  const auto client = this->client();
  const auto agent = this->agent();
  submit_stored(*client, record_, 1, "task");
  // The queues are looked at, which has no answer, and is given up after two seconds; then again. In between a lease of
  // a second ends, unless it is renewed meanwhile.
  std::atomic<int> looks{0}, renewals{0}, most{0};
  const detail::NatsSubscription swallowed(*link_, "swallowed.info", false, [&](const detail::NatsMessage&) {
    ++looks;
    const int seen = renewals.exchange(0);
    most = std::max(most.load(), looks > 2 ? seen : 0);
  });
  const detail::NatsSubscription acks(*link_, "$JS.ACK.tandem_tasks_default.>", false,
                                      [&](const detail::NatsMessage& message) {
                                        if (text(message) == "+WPI") ++renewals;
                                      });
  ASSERT_EQ(natsConnection_Flush(link_->get()), NATS_OK);
  const TaskLease lease = lease_one(*agent);
  server_->set_mappings({{"$JS.API.STREAM.INFO.tandem_tasks_default", "swallowed.info"}});
  agent->finish(lease, bytes_of("a result that the store refuses"));
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  // One is what follows upon the failure.
  while (most < 3 && !deadline.passed()) EXPECT_TRUE(agent->lease(1, milliseconds(50)).empty());
  EXPECT_GE(most, 3);
  server_->set_mappings({});
}

TEST_F(NatsLivenessTest, TaskThatWasGivenBackOftenIsNotDroppedAtTheFirstSilence) {
  start();
  options_.client_silence = std::chrono::seconds(1);
  options_.lease_time = std::chrono::hours(1);
  const auto agent = this->agent();
  ASSERT_TRUE(becomes_silent(*agent, true)) << "nobody has said anything";
  // The client says that it may be silent for an hour, and later another one speaks for it.
  options_.client_silence = std::chrono::hours(1);
  const auto client = this->client();
  ASSERT_TRUE(becomes_silent(*agent, false));
  const auto speak = [&](const char* silence_ms) {
    EXPECT_TRUE(link_->publish("tandem.default.h.client-1", silence_ms));
  };
  submit_stored(*client, record_, 1, "task");
  for (int i = 0; i < 5; ++i) agent->give_back(lease_one(*agent));
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  for (bool looked = false; !looked;) {
    ASSERT_FALSE(deadline.passed());
    speak("1000");
    if (!becomes_silent(*agent, true, std::chrono::seconds(5))) continue;
    // Ends at the first look. It has the task if the client has said something itself meanwhile.
    const std::vector<TaskLease> leases = agent->lease(1, std::chrono::hours(1));
    for (const TaskLease& lease : leases) agent->give_back(lease);
    looked = leases.empty();
  }
  // Nothing is decided then.
  EXPECT_EQ(census_of(*client).tasks, 1U) << "it is dropped";
  speak("3600000");
  ASSERT_TRUE(becomes_silent(*agent, false));
  EXPECT_EQ(lease_one(*agent).id.number, 1U);
}

TEST_F(NatsLivenessTest, ResultOfATaskWhoseClientHasEndedDoesNotStay) {
  start();
  options_.client_silence = std::chrono::seconds(1);
  const auto agent = this->agent();
  auto client = this->client();
  submit_stored(*client, record_, 1, "task");
  const TaskLease lease = lease_one(*agent);
  client.reset();
  agent->finish(lease, bytes_of("nobody's"));
  EXPECT_TRUE(agent->drain(kPatience));
  EXPECT_TRUE(becomes("tandem_results_default", 0));
}

TEST_F(NatsLivenessTest, ResultsThatAKilledClientDidNotTakeDoNotStay) {
  NatsServerSettings settings;
  settings.token = random_secret();
  options_.token = settings.token;
  start(settings);
  options_.client_silence = std::chrono::seconds(1);
  const auto agent = this->agent();
  tandem::Queue<std::string> told;
  tandem::Process doomed(client_main, EngineKind::Nats, options_.url, options_.token, told);
  doomed.start();
  EXPECT_EQ(told.get_for(kPatience), "stored");
  const auto speak = [&](const char* silence_ms) {
    EXPECT_TRUE(link_->publish("tandem.default.h.client-1", silence_ms));
  };
  // Until its task is leased another one speaks for it, lest a busy machine keep it silent for a second.
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  std::vector<TaskLease> leases;
  while (leases.empty()) {
    ASSERT_FALSE(deadline.passed());
    speak("3600000");
    leases = agent->lease(1, milliseconds(50));
  }
  ::kill(doomed.pid().value(), SIGSTOP);
  speak("1000");
  agent->finish(leases.front(), bytes_of("nobody's"));
  // Stored, or dropped if the client is silent already.
  EXPECT_TRUE(agent->drain(kPatience));
  doomed.kill();
  doomed.join();
  EXPECT_TRUE(becomes("tandem_results_default", 0));
}

TEST_F(NatsLivenessTest, LeaseTimesThatDifferAreSaid) {
  CaughtLog log;
  start();
  const auto client = this->client();
  options_.lease_time = milliseconds(1700);
  const auto agent = this->agent();
  agent->announce({});
  ASSERT_TRUE(record_.wait([](const ClientRecord::Told& told) { return told.nodes.contains("node-a"); }));
  EXPECT_EQ(record_.told().nodes["node-a"].lease_time, milliseconds(1700));
  const std::vector<std::string> lines = log.lines();
  EXPECT_TRUE(std::any_of(lines.begin(), lines.end(), [](const std::string& line) {
    return line.find("node node-a has leases of 1700 ms and this program of 1000 ms") != line.npos;
  }));
}

// As one does that has not heard yet of what its leader has stored.
TEST_F(NatsLivenessTest, PiecesThatAReplicaDoesNotHaveYetAreNotLost) {
  NatsServerSettings settings;
  settings.mappings = {{"$JS.API.DIRECT.GET.tandem_pieces_default", "behind.all"},
                       {"$JS.API.DIRECT.GET.tandem_pieces_default.*.*.*.*.*.*", "behind.$1.$2.$3.$4.$5.$6"}};
  start(settings);
  std::atomic<int> asked{0};
  const detail::NatsSubscription behind(*link_, "behind.>", false, [&](const detail::NatsMessage& message) {
    natsMsg* made = nullptr;
    ASSERT_EQ(natsMsg_Create(&made, natsMsg_GetReply(message.get()), nullptr, nullptr, 0), NATS_OK);
    const detail::NatsMessage answer(made);
    ASSERT_EQ(natsMsgHeader_Set(made, "Status", "404"), NATS_OK);
    EXPECT_TRUE(link_->publish(made));
    ++asked;
  });
  ASSERT_EQ(natsConnection_Flush(link_->get()), NATS_OK);
  const auto client = this->client();
  const auto agent = this->agent();
  const std::string payload(std::size_t{9} << 20, 'p');
  submit_stored(*client, record_, 1, payload);
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  std::vector<TaskLease> leases;
  while (asked < 2 && leases.empty() && !deadline.passed()) leases = agent->lease(1, milliseconds(100));
  EXPECT_TRUE(leases.empty()) << "nobody asked the one that is behind";
  EXPECT_EQ(census_of(*client).tasks, 1U);
  server_->set_mappings({});
  EXPECT_TRUE(text_of(lease_one(*agent).payload) == payload);
}

TEST_F(NatsLivenessTest, LargeTaskHoldsNeitherItsSubmitterNorOtherTasks) {
  NatsServerSettings settings;
  settings.mappings = {{"tandem.default.p.*.*.*", "swallowed.$1.$2.$3"}};
  start(settings);
  const detail::NatsSubscription swallowed(*link_, "swallowed.>", false, [](const detail::NatsMessage&) {});
  ASSERT_EQ(natsConnection_Flush(link_->get()), NATS_OK);
  auto client = this->client();
  const std::string payload(std::size_t{40} << 20, 'p');
  // Its pieces have no answer.
  EXPECT_TRUE(client->submit({"client-1", 1, 1}, bytes_of(payload), {}, milliseconds(0)));
  submit_stored(*client, record_, 2, "small");
  EXPECT_EQ(record_.told().stored.front().first.number, 2U);
  // Another one of that size has no room.
  EXPECT_FALSE(client->submit({"client-1", 3, 1}, bytes_of(payload), {}, milliseconds(0)));
  EXPECT_TRUE(record_.told().errors.empty());
  client.reset();  // Does not wait for it.
}

}  // namespace
}  // namespace tandem::testing
