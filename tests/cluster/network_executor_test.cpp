// ClusterExecutors over a network that is cut. Each machine is a network namespace: so these need root.
#include <gtest/gtest.h>
#include <nats/nats.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <tandem/cluster.hpp>
#include <tandem/process.hpp>

#include "cluster/executed_agents.hpp"
#include "cluster/network_hosts.hpp"
#include "cluster/server_group.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;

int agent_pid() {
  return parent_process().value().pid;
}

class NetworkExecutorTest : public LeakCheckedTest {
 protected:
  void SetUp() override {
    nats_Open(-1);  // The threads that its library keeps until the program ends.
    LeakCheckedTest::SetUp();
  }
  void TearDown() override {
    agents_.clear();
    group_.reset();
    server_.reset();
    hosts_.reset();
    LeakCheckedTest::TearDown();
  }
  std::chrono::seconds time_limit() const override { return std::chrono::seconds(240); }

  static ClusterOptions options(const std::string& token) {
    ClusterOptions options;
    options.token = token;
    options.lease_time = milliseconds(1000);
    options.connect_wait = std::chrono::seconds(60);
    options.most_deliveries = 1000;
    options.allow_unprotected_server = true;
    options.executor.workers = 4;
    return options;
  }
  /// One on each of these hosts; waits until the executor has heard all of them.
  void start_agents(ClusterExecutor& executor, const std::vector<std::size_t>& hosts, const std::string& url,
                    const std::string& token) {
    for (const std::size_t host : hosts) {
      detail::AgentEnvironment environment;
      environment.url = url;
      environment.token = token;
      environment.node = "node-" + std::to_string(host);
      environment.slots = 2;
      environment.lease_time = milliseconds(1000);
      agents_.push_back(
          start_agent(environment, {{"TANDEM_CLUSTER_ALLOW_UNPROTECTED", "1"}}, -1, hosts_->network(host)));
    }
    while (executor.workers().size() < hosts.size()) std::this_thread::sleep_for(milliseconds(10));
  }
  /// Gives it work for as long as `event` takes, which begins when some of it is done; each task must be told once.
  template <class Event>
  static void work_during(ClusterExecutor& executor, Event event) {
    std::atomic<bool> begun{false}, over{false};
    std::jthread happens([&] {
      begun.wait(false);
      event();
      over = true;
    });
    std::vector<std::unique_ptr<std::atomic<int>>> told;
    for (int first = 0; !over; first += 50) {
      std::vector<Future<int>> futures;
      for (int task = first; task < first + 50; ++task) {
        told.push_back(std::make_unique<std::atomic<int>>(0));
        futures.push_back(executor.submit(nap_and_double, task));
        futures.back().add_done_callback([count = told.back().get()](const Future<int>&) { ++*count; });
      }
      for (std::size_t at = 0; at < futures.size(); ++at)
        EXPECT_EQ(futures[at].get(), 2 * (first + static_cast<int>(at)));
      begun = true;
      begun.notify_all();
    }
    for (const auto& times : told) EXPECT_EQ(*times, 1);
  }

  std::optional<NetworkHosts> hosts_;
  std::optional<NatsServer> server_;
  std::optional<ServerGroup> group_;
  std::vector<detail::BoundProgram> agents_;
};

TEST_F(NetworkExecutorTest, AgentWhoseLinkIsCutForTenSecondsComesBackAndNothingIsLost) {
  hosts_.emplace(2);
  NatsServerSettings settings;
  settings.host = hosts_->own_address();
  settings.token = random_secret();
  server_.emplace(settings);
  server_->start();
  const std::string url = "nats://" + server_->host() + ":" + std::to_string(server_->port());
  ClusterExecutor executor(url, options(settings.token));
  start_agents(executor, {0, 1}, url, settings.token);
  work_during(executor, [&] {
    hosts_->cut(1);
    std::this_thread::sleep_for(std::chrono::seconds(10));  // So long it is away.
    hosts_->join(1);
  });
  // It works again, by itself.
  while (executor.submit(agent_pid).get() != agents_[1].pid()) continue;
}

TEST_F(NetworkExecutorTest, LeaderThatIsPartitionedForTwelveSecondsLosesNothing) {
  hosts_.emplace(4);
  group_.emplace(std::vector{hosts_->address(0), hosts_->address(1), hosts_->address(2)},
                 std::vector{hosts_->network(0), hosts_->network(1), hosts_->network(2)});
  ClusterOptions options = this->options(group_->token());
  options.replicas = 3;
  ClusterExecutor executor(group_->url(), options);
  start_agents(executor, {3}, group_->url(), group_->token());
  work_during(executor, [&] {
    std::optional<std::size_t> leader;
    while (!(leader = group_->leader_of("tandem_tasks_default"))) std::this_thread::sleep_for(milliseconds(50));
    hosts_->cut(*leader);
    std::this_thread::sleep_for(std::chrono::seconds(12));
    hosts_->join(*leader);
  });
}

}  // namespace
}  // namespace tandem::testing
