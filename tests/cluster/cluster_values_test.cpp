// What a client keeps for many tasks, on the nodes of a cluster: initializers and values of Broadcasts.
#include <tandem/cluster.hpp>

#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <tandem/broadcast.hpp>
#include <tandem/event.hpp>

#include "cluster/agent_values.hpp"
#include "cluster/cluster_fixture.hpp"
#include "support/caught_log.hpp"
#include "support/executor_places.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::Each;
using ::testing::HasSubstr;

// What an initializer sets up in its process, and what tasks find there.
int g_set_up = 0;
int g_times = 0;
std::map<std::string, std::string> g_names;

void set_up(int value) {
  g_set_up = value;
  ++g_times;
}
void name_all(const std::map<std::string, std::string>& names) {
  g_names = names;
}
std::string name_of(const std::string& key) {
  return g_names.at(key);
}
void set_up_from(const Broadcast<std::vector<int>>& values) {
  g_set_up = std::accumulate(values->begin(), values->end(), 0);
}
void set_up_or_throw(int value) {
  if (value < 0) throw std::out_of_range("no table " + std::to_string(value));
}
void set_up_or_die(int signum) {
  ::raise(signum);
}

struct Found {
  int set_up = 0;
  int times = 0;
  int pid = 0;
  int agent = 0;
};
Found look(int nap_ms) {
  if (nap_ms > 0) ::usleep(static_cast<useconds_t>(nap_ms) * 1000);
  return {g_set_up, g_times, ::getpid(), agent_pid()};
}

using Numbers = std::vector<std::int64_t>;
std::int64_t sum_of(const Broadcast<Numbers>& numbers) {
  return std::accumulate(numbers->begin(), numbers->end(), std::int64_t{0});
}
/// As that, with the agent in which it ran.
std::pair<std::int64_t, int> sum_and_agent(const Broadcast<Numbers>& numbers) {
  return {sum_of(numbers), agent_pid()};
}
Broadcast<int> give_a_broadcast() {
  return Broadcast<int>(1);
}
int take_nested(const Broadcast<Broadcast<int>>& value) {
  return **value;
}
int take_event(const Broadcast<Event>& value) {
  return value->is_set() ? 1 : 0;
}

class ClusterValuesTest : public ClusterFixture {};

// CLU-07: the initializer of each worker process on each node has run, once, before its first task.
TEST_F(ClusterValuesTest, EachWorkerOfEachNodeIsInitialized) {
  ClusterExecutor executor(cluster(2, 2), ClusterOptions(), set_up, 7);
  std::set<int> processes, agents;
  // The more tasks at once, the sooner all of them are started: until they are.
  while (processes.size() < 4) {
    std::vector<Future<Found>> all;
    for (int task = 0; task < 8; ++task) all.push_back(executor.submit(look, 20));
    for (const Future<Found>& future : all) {
      const Found found = future.get();
      ASSERT_EQ(found.set_up, 7);
      ASSERT_EQ(found.times, 1);
      processes.insert(found.pid);
      agents.insert(found.agent);
    }
  }
  EXPECT_EQ(agents.size(), 2u);
}

// CLU-02: values by their names, in every worker.
TEST_F(ClusterValuesTest, NamedValuesAreThereInEveryWorker) {
  const std::map<std::string, std::string> names = {{"table", "rates"}, {"unit", "EUR"}};
  ClusterExecutor executor(cluster(1, 2), ClusterOptions(), name_all, names);
  const std::vector<std::string> keys = {"table", "unit", "table", "unit"};
  EXPECT_THAT(executor.map(name_of, keys).to_vector(), ::testing::ElementsAre("rates", "EUR", "rates", "EUR"));
}

TEST_F(ClusterValuesTest, WorkersThatAreMadeAnewAreInitialized) {
  ClusterExecutor executor(cluster(1, 1), ClusterOptions(), set_up, 7);
  const Found first = executor.submit(look, 0).get();
  EXPECT_THROW(executor.submit(die, SIGKILL).get(), TaskCrashed);
  const Found second = executor.submit(look, 0).get();
  EXPECT_NE(second.pid, first.pid);
  EXPECT_EQ(second.agent, first.agent);
  EXPECT_EQ(second.set_up, 7);
  // And those of an agent that joins later.
  ASSERT_EQ(::kill(first.agent, SIGKILL), 0);
  const Found third = executor.submit(look, 0).get();
  EXPECT_NE(third.agent, first.agent);
  EXPECT_EQ(third.set_up, 7);
  EXPECT_EQ(third.times, 1);
}

TEST_F(ClusterValuesTest, ClientsOfOneClusterHaveTheirOwnInitializers) {
  const LocalCluster shared = cluster(1, 2);
  ClusterExecutor one(shared, ClusterOptions(), set_up, 1), two(shared, ClusterOptions(), set_up, 2), none(shared);
  std::vector<Future<Found>> all;
  for (int task = 0; task < 30; ++task) {
    all.push_back(one.submit(look, 0));
    all.push_back(two.submit(look, 0));
    all.push_back(none.submit(look, 0));
  }
  for (std::size_t task = 0; task < all.size(); ++task)
    ASSERT_EQ(all[task].get().set_up, static_cast<int>((task + 1) % 3)) << task;
}

TEST_F(ClusterValuesTest, InitializerMayTakeABroadcast) {
  ClusterExecutor executor(cluster(1, 1), ClusterOptions(), set_up_from, Broadcast<std::vector<int>>({1, 2, 3}));
  EXPECT_EQ(executor.submit(look, 0).get().set_up, 6);
}

std::string broken_by(const Future<int>& future) {
  try {
    static_cast<void>(future.get());
  } catch (const BrokenExecutor& error) {
    return error.what();
  }
  return "not broken";
}

// CLU-09: what waits and what comes later fails, and nobody is left.
TEST_F(ClusterValuesTest, FailingInitializerBreaksTheExecutor) {
  const LocalCluster shared = cluster(1, 1);
  {
    CaughtLog log;
    ClusterExecutor executor(shared, ClusterOptions(), set_up_or_throw, -1);
    std::vector<Future<int>> all;
    for (int task = 0; task < 20; ++task) {
      try {
        all.push_back(executor.submit(tasks::twice, task));
      } catch (const BrokenExecutor&) {
        break;  // The first has come to its end by now.
      }
    }
    ASSERT_FALSE(all.empty());
    for (const Future<int>& future : all) EXPECT_THAT(broken_by(future), HasSubstr("std::out_of_range: no table -1"));
    EXPECT_THAT(broken_by(all.front()), HasSubstr("node local-0"));
    EXPECT_THROW(static_cast<void>(executor.submit(tasks::twice, 1)), BrokenExecutor);
    executor.shutdown();
    EXPECT_TRUE(executor.workers().empty());
    EXPECT_THAT(log.lines(), ::testing::Contains(HasSubstr("no table -1")));
  }
  ClusterExecutor executor(shared, ClusterOptions(), set_up_or_throw, 1);
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4) << "another client's is none of its business";
}

// CLU-10, CLU-11
TEST_F(ClusterValuesTest, DroppingABrokenExecutorDoesNotHang) {
  const LocalCluster shared = cluster(1, 1);
  for (const bool wait : {true, false}) {
    CaughtLog log;
    Future<int> future;
    {
      ClusterExecutor executor(shared, ClusterOptions(), set_up_or_throw, -1);
      future = executor.submit(tasks::twice, 1);
      if (wait) {
        executor.shutdown();
      } else {
        executor.close();
      }
    }
    EXPECT_THAT(broken_by(future), HasSubstr("no table -1"));
  }
}

TEST_F(ClusterValuesTest, InitializerThatDiesBreaksTheExecutor) {
  CaughtLog log;
  ClusterExecutor executor(cluster(1, 1), ClusterOptions(), set_up_or_die, SIGSEGV);
  EXPECT_THAT(broken_by(executor.submit(tasks::twice, 1)), HasSubstr("died in its initializer: "));
}

TEST_F(ClusterValuesTest, WhatStaysOnItsMachineIsRefused) {
  ClusterExecutor executor(cluster(1, 1));
  EXPECT_THROW(static_cast<void>(executor.submit(take_nested, Broadcast<Broadcast<int>>(Broadcast<int>(1)))),
               WireError);
  EXPECT_THROW(static_cast<void>(executor.submit(take_event, Broadcast(Event()))), WireError);
  EXPECT_THROW(executor.submit(give_a_broadcast).get(), WireError);
  EXPECT_THROW(ClusterExecutor(cluster(1, 1), ClusterOptions(), [](const Event&) {}, Event()), WireError);
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4);
}

TEST_F(ClusterValuesTest, NodeThatWasStartedAgainGetsTheValue) {
  ClusterExecutor executor(cluster(1, 1));
  const Broadcast<Numbers> numbers(Numbers(1000, 3));
  const auto [sum, agent] = executor.submit(sum_and_agent, numbers).get();
  EXPECT_EQ(sum, 3000);
  ASSERT_EQ(::kill(agent, SIGKILL), 0);
  const auto [again, other] = executor.submit(sum_and_agent, numbers).get();
  EXPECT_EQ(again, 3000);
  EXPECT_NE(other, agent);
}

// Neither the server nor a node has it any more: the client has.
TEST_F(ClusterValuesTest, ValueThatTheServerHasLostIsStoredAgain) {
  ClusterExecutor executor(cluster(1, 1), ClusterOptions(), set_up, 7);
  Numbers many(1'500'000, 1);
  const Broadcast<Numbers> numbers(std::move(many));
  EXPECT_EQ(executor.submit(sum_of, numbers).get(), 1'500'000);
  const pid_t keeper = keeper_pid(), server = server_of(keeper);
  ASSERT_EQ(::kill(keeper, SIGSTOP), 0);
  for (const pid_t child : children_of(keeper)) {
    const detail::Fd end = pidfd_of(child);
    ASSERT_EQ(::kill(child, SIGKILL), 0) << (child == server ? "the server" : "the agent");
    wait_for_end(end);
  }
  std::uintmax_t removed = 0;
  for (const auto& file : std::filesystem::directory_iterator(std::getenv("TMPDIR")))
    if (file.is_directory()) removed += std::filesystem::remove_all(file.path() / "store");
  EXPECT_GT(removed, 0u);
  ASSERT_EQ(::kill(keeper, SIGCONT), 0);
  EXPECT_EQ(executor.submit(sum_of, numbers).get(), 1'500'000);
  EXPECT_EQ(executor.submit(look, 0).get().set_up, 7);
}

TEST_F(ClusterValuesTest, TaskThatWaitsForItsValueCanBeStopped) {
  ClusterExecutor executor(cluster(1, 1));
  const Future<int> held = executor.submit(say_and_hold, pipe("begun"), pipe("go"), 1);
  static_cast<void>(hear(pipe("begun")));
  Future<std::int64_t> waiting = executor.submit(sum_of, Broadcast<Numbers>(Numbers{1}));
  EXPECT_TRUE(waiting.stop());
  say(pipe("go"), "go");
  EXPECT_EQ(held.get(), 1);
  EXPECT_EQ(executor.submit(sum_of, Broadcast<Numbers>(Numbers{4})).get(), 4);
}

class ValueCacheTest : public LeakCheckedTest {};

TEST_F(ValueCacheTest, DropsWhatWasUsedLeastLately) {
  detail::ValueCache cache(2000 + 2 * detail::ValueCache::kEntryBytes);
  const std::vector<std::byte> value(900);
  const detail::ClusterValueId one{"client", 1}, two{"client", 2}, three{"client", 3}, large{"client", 4};
  static_cast<void>(cache.put(one, value));
  static_cast<void>(cache.put(two, value));
  EXPECT_NE(cache.find(one), nullptr);
  static_cast<void>(cache.put(three, value));
  EXPECT_NE(cache.find(one), nullptr);
  EXPECT_EQ(cache.find(two), nullptr);
  EXPECT_NE(cache.find(three), nullptr);
  EXPECT_EQ(cache.find({"another", 1}), nullptr);
  // One that is larger than all that there is room for is there for its task all the same.
  const detail::SharedObjectPtr held = cache.put(large, std::vector<std::byte>(5000));
  EXPECT_EQ(cache.find(large), held);
  EXPECT_EQ(cache.find(one), nullptr);
  EXPECT_EQ(cache.find(three), nullptr);
}

TEST_F(ValueCacheTest, DropsEmptyValuesToo) {
  constexpr std::uint64_t kRoom = 10, kValues = 1000;
  detail::ValueCache cache(kRoom * detail::ValueCache::kEntryBytes);
  for (std::uint64_t number = 1; number <= kValues; ++number) static_cast<void>(cache.put({"client", number}, {}));
  std::uint64_t kept = 0;
  for (std::uint64_t number = 1; number <= kValues; ++number)
    if (cache.find({"client", number}) != nullptr) ++kept;
  EXPECT_EQ(kept, kRoom);
  EXPECT_NE(cache.find({"client", kValues}), nullptr);
  // The same value again takes no more room.
  for (std::uint64_t at = 0; at < kRoom; ++at) static_cast<void>(cache.put({"client", kValues}, {}));
  EXPECT_NE(cache.find({"client", kValues - 1}), nullptr);
}

}  // namespace
}  // namespace tandem::testing
