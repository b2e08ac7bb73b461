// ClusterExecutors on a server of their own, whose store and whose agents do not stay.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <tandem/broadcast.hpp>
#include <tandem/cluster.hpp>

#include "cluster/cluster_fixture.hpp"
#include "cluster/engine_host.hpp"
#include "cluster/executed_agents.hpp"
#include "cluster/nats_server.hpp"
#include "support/leak_checked_test.hpp"
#include "support/temporary_directory.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

class ServedExecutorTest : public LeakCheckedTest {
 protected:
  void SetUp() override {
    prepare_engine(EngineKind::Nats);
    LeakCheckedTest::SetUp();
    host_ = make_engine_host(EngineKind::Nats);
    host_->start();
  }
  void TearDown() override {
    host_.reset();
    LeakCheckedTest::TearDown();
  }
  std::chrono::seconds time_limit() const override { return std::chrono::seconds(180); }

  ClusterOptions options(std::size_t workers) const {
    ClusterOptions options;
    options.token = host_->options().token;
    options.lease_time = milliseconds(1000);
    options.connect_wait = std::chrono::seconds(60);
    options.most_deliveries = 1000;
    options.executor.workers = workers;
    return options;
  }
  std::string url() const { return host_->options().url; }
  std::string token() const { return host_->options().token; }
  /// Submits them, and counts how often each is told.
  void submit(ClusterExecutor& executor, int count) {
    told_ = std::vector<std::atomic<int>>(static_cast<std::size_t>(count));
    for (int task = 0; task < count; ++task) {
      futures_.push_back(executor.submit(nap_and_double, task));
      futures_.back().add_done_callback([this, task](const Future<int>&) { ++told_[static_cast<std::size_t>(task)]; });
    }
  }
  void expect_each_once(ClusterExecutor& executor) {
    for (std::size_t task = 0; task < futures_.size(); ++task)
      EXPECT_EQ(futures_[task].get(), 2 * static_cast<int>(task));
    executor.shutdown();
    for (const std::atomic<int>& times : told_) EXPECT_EQ(times, 1);
    EXPECT_EQ(executor.counters().done, futures_.size());
    EXPECT_EQ(executor.counters().failed, 0u);
  }

  std::unique_ptr<EngineHost> host_;
  std::vector<Future<int>> futures_;
  std::vector<std::atomic<int>> told_;
};

TEST_F(ServedExecutorTest, EachResultIsToldOnceIfTheStoreIsRolledBack) {
  ClusterExecutor executor(url(), options(40));
  submit(executor, 200);
  std::optional<ExecutedAgents> agents(std::in_place, 2, 2, url(), token());
  futures_[50].get();
  host_->kill();
  host_->save_store();
  host_->start();
  futures_[120].get();
  host_->kill();
  host_->roll_store_back();
  host_->start();
  expect_each_once(executor);
}

// TANDEM_SOAK=1: of 64.
TEST_F(ServedExecutorTest, EachResultIsToldOnceIfHalfOfTheAgentsAreKilledAtOnce) {
  const bool soak = std::getenv("TANDEM_SOAK") != nullptr;
  const std::size_t count = soak ? 64 : 12;
  ClusterExecutor executor(url(), options(2 * count));
  ExecutedAgents agents(count, 1, url(), token());
  submit(executor, soak ? 4000 : 800);
  futures_[200].get();
  for (std::size_t at = 0; at < count; at += 2) agents.agent(at).kill();
  expect_each_once(executor);
}

std::size_t length_of(const std::string& text) {
  return text.size();
}
std::size_t length_of_value(const Broadcast<std::string>& text) {
  return text->size();
}
std::string make_text(std::size_t length) {
  return std::string(length, 't');
}

// One that would be submitted for ever holds up what stands behind it, and says nothing.
TEST_F(ServedExecutorTest, WhatNeverFitsIntoTheStoreFails) {
  const std::string secret = random_secret();
  NatsServer server({.token = secret, .max_file = "200MB"});
  server.start();
  const std::string url = fmt::format("nats://{}:{}", server.host(), server.port());
  ClusterOptions options = this->options(2);
  options.token = secret;
  ClusterExecutor executor(url, options);
  const ExecutedAgents agents(1, 2, url, secret);
  constexpr std::size_t kTooLarge = std::size_t{60} << 20;
  const std::string large = make_text(kTooLarge);
  const auto why = [](const auto& future) {
    try {
      future.get();
    } catch (const std::exception& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  const auto small = executor.submit(make_text, 1000);
  EXPECT_THAT(why(executor.submit(length_of, large)), HasSubstr("the store of the cluster takes"));
  EXPECT_THAT(why(executor.submit(length_of_value, Broadcast<std::string>(large))),
              HasSubstr("the store of the cluster takes"));
  EXPECT_THAT(why(executor.submit(make_text, kTooLarge)), HasSubstr("the store of the cluster takes"));
  EXPECT_EQ(small.get().size(), 1000u);
  EXPECT_EQ(executor.submit(length_of, make_text(std::size_t{5} << 20)).get(), std::size_t{5} << 20);
}

TEST_F(ServedExecutorTest, ResultsOfABatchThatDoNotFitTogetherComeOneByOne) {
  const std::string secret = random_secret();
  NatsServer server({.token = secret, .max_file = "200MB"});
  server.start();
  const std::string url = fmt::format("nats://{}:{}", server.host(), server.port());
  ClusterOptions options = this->options(1);
  options.token = secret;
  ClusterExecutor executor(url, options);
  const ExecutedAgents agents(1, 1, url, secret);
  // So short that many go together from here on.
  for (int call = 0; call < 50; ++call) EXPECT_EQ(executor.submit(make_text, 1).get().size(), 1u);
  constexpr std::size_t kMebibyte = std::size_t{1} << 20;
  std::vector<Future<std::string>> futures;
  for (int call = 0; call < 40; ++call) futures.push_back(executor.submit(make_text, kMebibyte));
  for (const Future<std::string>& future : futures) EXPECT_EQ(future.get().size(), kMebibyte);
}

/// Tasks that say when they have begun.
class StoppedTaskTest : public ServedExecutorTest {
 protected:
  void SetUp() override {
    ServedExecutorTest::SetUp();
    for (const std::string& name : {begun(), go()}) ASSERT_EQ(::mkfifo(name.c_str(), 0600), 0);
  }
  void TearDown() override {
    directory_.reset();
    ServedExecutorTest::TearDown();
  }
  std::string begun() const { return (directory_->path() / "begun").string(); }
  std::string go() const { return (directory_->path() / "go").string(); }

 private:
  std::optional<TemporaryDirectory> directory_{std::in_place, "stopped_task"};
};

TEST_F(StoppedTaskTest, FreesItsSlotThoughTheServerWasAway) {
  ClusterExecutor executor(url(), options(1));
  const ExecutedAgents agents(1, 1, url(), token());
  const Future<int> held = executor.submit(say_and_hold, begun(), go(), 1);
  hear(begun());
  host_->kill();
  EXPECT_TRUE(held.stop());
  host_->start();
  EXPECT_EQ(executor.submit(nap_and_double, 1).get(), 2);
}

// Each outage that is longer than a lease makes the server hand out anew what runs, and no agent has died.
TEST_F(StoppedTaskTest, OutageThatEndsALeaseIsNoDeadAgent) {
  ClusterOptions once = options(1);
  once.most_deliveries = 1;
  ClusterExecutor executor(url(), once);
  const ExecutedAgents agents(2, 1, url(), token());
  const Future<int> held = executor.submit(say_and_hold, begun(), go(), 1);
  hear(begun());
  host_->kill();
  std::this_thread::sleep_for(5 * once.lease_time);  // Nothing tells that leases have ended meanwhile.
  host_->start();
  // By the agent that is free: it gives up on the task, and gets it again as another attempt.
  hear(begun());
  say(go(), "go");
  EXPECT_EQ(held.get(), 1);
}

TEST_F(StoppedTaskTest, FreesItsSlotThoughItRunsElsewhereByNow) {
  ClusterExecutor executor(url(), options(1));
  ExecutedAgents agents(2, 1, url(), token());
  const Future<int> held = executor.submit(say_and_hold, begun(), go(), 1);
  const pid_t first = std::stoi(hear(begun()));
  const std::size_t at = agents.agent(0).pid() == first ? 0 : 1;
  const auto is_told = [&] {
    const std::vector<WorkerInfo> workers = executor.workers();
    return std::any_of(workers.begin(), workers.end(), [](const WorkerInfo& worker) { return !worker.task.empty(); });
  };
  while (!is_told()) std::this_thread::sleep_for(milliseconds(20));
  agents.agent(at).kill();
  hear(begun());
  EXPECT_TRUE(held.stop());
  EXPECT_EQ(executor.submit(nap_and_double, 1).get(), 2);
}

}  // namespace
}  // namespace tandem::testing
