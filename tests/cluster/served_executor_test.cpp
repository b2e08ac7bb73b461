// ClusterExecutors on a server of their own, whose store and whose agents do not stay.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <tandem/cluster.hpp>

#include "cluster/engine_host.hpp"
#include "cluster/executed_agents.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;

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

}  // namespace
}  // namespace tandem::testing
