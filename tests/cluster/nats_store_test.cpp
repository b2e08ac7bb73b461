// What becomes of tasks and results when a server has little room.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cluster/engine_records.hpp"
#include "cluster/nats_engine_fixture.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;

class NatsStoreTest : public NatsEngineTest {
 protected:
  void start_small(const char* max_file) {
    NatsServerSettings settings;
    settings.max_file = max_file;
    start(settings);
    options_.lease_time = std::chrono::seconds(10);
  }

  /// Submits tasks without end until the store has no room for another one, and says how many it took; then has an
  /// agent do them, and submits those that were refused. Each result is as large as its task.
  void fill_and_drain(std::size_t bytes) {
    const auto client = this->client();
    const std::string payload(bytes, 'p');
    std::set<std::uint64_t> refused;
    std::uint64_t count = 0;
    while (refused.empty()) {
      ASSERT_LT(count, 1000u) << "there is no limit";
      submit(*client, count++, payload, refused);
    }
    const auto agent = this->agent();
    std::thread works([&] {
      for (;;) {
        const std::vector<TaskLease> leases = agent->lease(4, std::chrono::hours(1));
        if (leases.empty()) return;
        for (const TaskLease& lease : leases) agent->finish(lease, lease.payload);
      }
    });
    const detail::Deadline deadline = detail::Deadline::after(kPatience);
    while (!refused.empty() && !deadline.passed()) {
      const std::set<std::uint64_t> again = std::move(refused);
      refused.clear();
      for (const std::uint64_t number : again) submit(*client, number, payload, refused);
      // Something has to be done first.
      record_.wait_results(1);
      std::this_thread::sleep_for(milliseconds(20));
    }
    EXPECT_TRUE(record_.wait([&](const ClientRecord::Told& told) {
      std::set<std::uint64_t> done;
      for (const ClientRecord::Result& result : told.results) done.insert(result.id.number);
      return done.size() == count;
    }));
    agent->stop();
    works.join();
    EXPECT_TRUE(agent->drain(kPatience));
    for (const ClientRecord::Result& result : record_.told().results) EXPECT_EQ(result.text.size(), bytes);
  }

 private:
  void submit(EngineClient& client, std::uint64_t number, const std::string& payload,
              std::set<std::uint64_t>& refused) {
    const ClientRecord::Told before = record_.told();
    if (!client.submit({"client-1", number, 1}, bytes_of(payload), {}, milliseconds(100))) {
      refused.insert(number);
      return;
    }
    ASSERT_TRUE(record_.wait([&](const ClientRecord::Told& told) {
      return told.stored.size() + told.errors.size() > before.stored.size() + before.errors.size();
    }));
    if (record_.told().errors.size() > before.errors.size()) refused.insert(number);
  }
};

TEST_F(NatsStoreTest, ResultsHaveRoomThoughTasksFillTheStore) {
  start_small("150MB");
  fill_and_drain(std::size_t{1} << 20);
}

TEST_F(NatsStoreTest, ResultsInPiecesHaveRoomThoughTasksInPiecesFillTheStore) {
  start_small("150MB");
  fill_and_drain(std::size_t{9} << 20);
}

TEST_F(NatsStoreTest, PoolLeavesRoomForAnother) {
  start_small("300MB");
  const auto client = this->client();
  options_.pool = "another";
  const auto other = this->client();
  submit_stored(*other, record_, 1, "task");
}

TEST_F(NatsStoreTest, ServerWithoutRoomIsAnErrorThatSaysSo) {
  start_small("20MB");
  options_.connect_wait = milliseconds(100);
  // On a busy machine the time may be over before the server has said anything.
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  std::string why;
  while (why.find("no room for the queues of the pool default") == why.npos) {
    ASSERT_FALSE(deadline.passed()) << why;
    try {
      const auto client = this->client();
      FAIL() << "there is room";
    } catch (const detail::EngineError& error) {
      why = error.what();
    }
  }
}

}  // namespace
}  // namespace tandem::testing
