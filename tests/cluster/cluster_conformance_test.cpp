// What executors over the nodes of a cluster do elsewhere (mpi4py.futures), by the numbers of the checklist, as far as
// the suites of all executors do not say it.
#include <tandem/cluster.hpp>

#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <ranges>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <tandem/process.hpp>
#include <tandem/queue.hpp>

#include "cluster/agent_environment.hpp"
#include "cluster/cluster_fixture.hpp"
#include "cluster/local_cluster.hpp"
#include "support/executor_places.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::Each;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

class ClusterConformanceTest : public ClusterFixture {};

/// Cannot be read where it arrives.
struct Unreadable {
  template <class Archive>
  void save(Archive&) const {}
  template <class Archive>
  void load(Archive&) {
    throw std::out_of_range("this cannot be read");
  }
};
int take_unreadable(const Unreadable&) {
  return 1;
}
/// An error of a type of the program's own, which no other side has to know how to read.
int throw_own_error(const std::string& text) {
  throw tasks::TaskError(text);
}
int nap(int milliseconds_) {
  ::usleep(static_cast<useconds_t>(milliseconds_) * 1000);
  return milliseconds_;
}
/// Uses so much CPU time, however long that takes.
int burn_and_pid(int milliseconds_) {
  const std::clock_t until = std::clock() + milliseconds_ * (CLOCKS_PER_SEC / 1000);
  while (std::clock() < until) continue;
  return ::getpid();
}

// CLU-03: how many workers there are, and none behind the end.
TEST_F(ClusterConformanceTest, WorkersAreToldAndAreGoneBehindTheEnd) {
  const LocalCluster local = cluster(2, 2);
  std::optional<ClusterExecutor> executor(std::in_place, local);
  EXPECT_EQ(executor->submit(tasks::twice, 1).get(), 2);
  EXPECT_EQ(wait_for_workers(*executor, 2).size(), 2u) << "nodes";
  // The limit stays what it was when the executor was made, which does not wait for ever for agents that start.
  for (int more = 0; executor->worker_limit() != 4u && more < 5; ++more) executor.emplace(local);
  EXPECT_EQ(executor->worker_limit(), 4u);
  EXPECT_EQ(wait_for_workers(*executor, 2).size(), 2u) << "nodes";
  executor->shutdown();
  EXPECT_TRUE(executor->workers().empty());
}

// CLU-04: an agent takes its count from the environment, and takes it out of there.
TEST_F(ClusterConformanceTest, CountOfAnAgentComesFromItsEnvironment) {
  ::setenv("TANDEM_AGENT_SLOTS", "3", 1);
  EXPECT_EQ(detail::take_agent_environment().slots, 3u);
  EXPECT_EQ(std::getenv("TANDEM_AGENT_SLOTS"), nullptr);
  for (const char* bad : {"0", "-1", "many", "3x"}) {
    ::setenv("TANDEM_AGENT_SLOTS", bad, 1);
    EXPECT_THROW(detail::take_agent_environment(), std::invalid_argument) << bad;
  }
}

// CLU-05
TEST_F(ClusterConformanceTest, CountsThatMakeNoSenseAreRefused) {
  EXPECT_THROW(static_cast<void>(local_cluster(0)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(local_cluster(static_cast<std::size_t>(-1))), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(local_cluster(LocalClusterOptions{.agents = 1, .slots = 0})), std::invalid_argument);
  const LocalCluster one = cluster(1, 1);
  EXPECT_THROW(ClusterExecutor(one, ClusterOptions{.executor = {.workers = 0}}), std::invalid_argument);
  EXPECT_THROW(ClusterExecutor(one, ClusterOptions{.most_deliveries = 0}), std::invalid_argument);
}

// CLU-16: the one that runs is run to its end, those behind it are cancelled.
TEST_F(ClusterConformanceTest, ShutdownCancelsWhatNobodyHasBegun) {
  ClusterExecutor executor(cluster(1, 1));
  const Future<int> held = executor.submit(say_and_hold, pipe("begun"), pipe("go"), 42);
  static_cast<void>(hear(pipe("begun")));
  std::vector<Future<int>> behind;
  for (int task = 0; task < 5; ++task) behind.push_back(executor.submit(tasks::twice, task));
  EXPECT_EQ(executor.close(Backlog::Cancel), 5u);
  for (const Future<int>& future : behind) EXPECT_TRUE(future.cancelled());
  say(pipe("go"), "go");
  EXPECT_EQ(held.get(), 42);
  executor.shutdown();
}

// CLU-17
TEST_F(ClusterConformanceTest, ClosedExecutorTakesNothingMore) {
  std::optional<ClusterExecutor> executor(std::in_place, cluster(1, 1));
  EXPECT_EQ(executor->submit(tasks::twice, 1).get(), 2);
  executor->close();
  executor->shutdown();
  executor->shutdown();
  EXPECT_THROW(static_cast<void>(executor->submit(tasks::twice, 1)), ExecutorShutDown);
  EXPECT_THROW(static_cast<void>(executor->map(tasks::twice, std::vector{1})), ExecutorShutDown);
  executor.reset();
}

// CLU-19
TEST_F(ClusterConformanceTest, TuplesAreArguments) {
  ClusterExecutor executor(cluster(1, 2));
  const std::vector<std::tuple<int, int>> pairs = {{1, 2}, {3, 4}, {5, 6}};
  EXPECT_THAT(executor.starmap(tasks::sum, pairs).to_vector(), ElementsAreArray({3, 7, 11}));
}

// CLU-20, CLU-21, CLU-24: every window and every length of chunks.
TEST_F(ClusterConformanceTest, WindowsAndChunksOfAnyLengthGiveTheSame) {
  ClusterExecutor executor(cluster(2, 1));
  const auto input = std::views::iota(0, 30);
  std::vector<int> expected;
  for (const int item : input) expected.push_back(2 * item);
  for (const std::size_t window : {1u, 7u, 100u}) {
    for (const std::size_t chunk : {1u, 4u, 50u}) {
      const MapOptions options{.chunk_size = chunk, .window_items = window};
      EXPECT_EQ(executor.map(options, tasks::twice, input).to_vector(), expected) << window << " " << chunk;
      EXPECT_THAT(executor.map_unordered(options, tasks::twice, input).to_vector(), UnorderedElementsAreArray(expected))
          << window << " " << chunk;
    }
  }
}

// CLU-22: what there is comes; then the time is over.
TEST_F(ClusterConformanceTest, UnorderedMapEndsWithItsTime) {
  ClusterExecutor executor(cluster(1, 2));
  EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2) << "there is an agent";
  // What ends at once may take longer than the time on a busy machine: then there is more time, up to a minute.
  bool came = false;
  for (milliseconds time(1000); !came && time < milliseconds(100'000); time *= 8) {
    auto results = executor.map_unordered(MapOptions{.chunk_size = 1, .timeout = time}, nap, std::vector{0, 600'000});
    try {
      EXPECT_EQ(results.next(), 0);
      came = true;
      EXPECT_THROW(static_cast<void>(results.next()), DeadlineExceeded);
    } catch (const DeadlineExceeded&) {
      EXPECT_FALSE(came);
    }
    EXPECT_EQ(results.next(), std::nullopt);
  }
  EXPECT_TRUE(came);
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4) << "the one that took too long was stopped";
}

// CLU-23
TEST_F(ClusterConformanceTest, FailedItemOfAnUnorderedMapIsItsOwn) {
  ClusterExecutor executor(cluster(1, 2));
  auto results = executor.map_unordered(MapOptions{.chunk_size = 2}, tasks::twice_unless_3, std::views::iota(1, 9));
  std::vector<int> values;
  int failures = 0;
  for (;;) {
    try {
      const std::optional<int> value = results.next();
      if (!value) break;
      values.push_back(*value);
    } catch (const std::out_of_range&) {
      ++failures;
    }
  }
  EXPECT_EQ(failures, 2);
  EXPECT_THAT(values, UnorderedElementsAreArray({2, 4, 8, 10, 14, 16}));
}

// CLU-25, CLU-26: executors side by side on one cluster, each with all that it was given.
TEST_F(ClusterConformanceTest, ManyExecutorsShareOneCluster) {
  const LocalCluster shared = cluster(2, 2);
  std::deque<ClusterExecutor> executors;
  for (int number = 0; number < 16; ++number)
    executors.emplace_back(shared, ClusterOptions{.executor = {.workers = 4}});
  std::vector<std::vector<Future<int>>> all(executors.size());
  for (int task = 0; task < 128; ++task)
    for (std::size_t number = 0; number < executors.size(); ++number)
      all[number].push_back(executors[number].submit(tasks::sum, task, static_cast<int>(number)));
  for (std::size_t number = 0; number < executors.size(); ++number) {
    int sum = 0;
    for (const Future<int>& future : all[number]) sum += future.get();
    EXPECT_EQ(sum, 127 * 128 / 2 + 128 * static_cast<int>(number));
    EXPECT_EQ(executors[number].counters().done, 128u);
  }
}

// CLU-29: the task fails, nothing else does.
TEST_F(ClusterConformanceTest, ArgumentThatCannotBeReadFailsItsTask) {
  ClusterExecutor executor(cluster(1, 1));
  EXPECT_THROW(executor.submit(take_unreadable, Unreadable()).get(), std::out_of_range);
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4);
}

// CLU-31: an error of whatever type can be read, as what it said.
TEST_F(ClusterConformanceTest, ErrorOfAnUnknownTypeComesBackByItsText) {
  ClusterExecutor executor(cluster(1, 1));
  try {
    executor.submit(throw_own_error, std::string("no such table")).get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const RemoteError& error) {
    EXPECT_THAT(error.what(), HasSubstr("no such table"));
    EXPECT_THAT(error.what(), HasSubstr("TaskError"));
  }
}

// CLU-38: a future made of another by a function of its result.
TEST_F(ClusterConformanceTest, FutureIsDerivedFromAnother) {
  ClusterExecutor executor(cluster(1, 1));
  const Future<std::string> text =
      executor.submit(tasks::twice, 21).then([](int value) { return std::to_string(value); });
  EXPECT_EQ(text.get(), "42");
  const Future<std::string> failed = executor.submit(tasks::throw_out_of_range, std::string("far")).then([](int value) {
    return std::to_string(value);
  });
  EXPECT_THROW(static_cast<void>(failed.get()), std::out_of_range);
}

// What nodes say about themselves, and who ran what.

TEST_F(ClusterConformanceTest, NodesTellWhatTheyUse) {
  ClusterExecutor executor(cluster(1, 1));
  static_cast<void>(executor.submit(burn_and_pid, 200).get());
  // It is told once in a second.
  std::vector<WorkerInfo> workers;
  do {
    std::this_thread::sleep_for(milliseconds(50));
    workers = wait_for_workers(executor, 1);
    ASSERT_EQ(workers.size(), 1u);
  } while (workers[0].cpu_time < milliseconds(100) || workers[0].memory_bytes == 0);
  EXPECT_EQ(workers[0].name, "local-0");
}

/// In a process of its own, which has the file open to its end.
void run_traced(const std::string& url, const std::string& token, const std::string& trace, Queue<int> pids) {
  ClusterExecutor executor(
      url, ClusterOptions{.token = token, .lease_time = milliseconds(1000), .executor = {.trace = trace}});
  pids.put(executor.submit(burn_and_pid, 0).get());
}
TEST_F(ClusterConformanceTest, TraceHasTheProcessOnTheNode) {
  const std::string trace = pipe("trace.json");
  const LocalCluster shared = cluster(1, 1);
  Queue<int> pids;
  Process traced(run_traced, shared.url(), shared.keeper()->token(), trace, pids);
  traced.start();
  traced.join();
  const int pid = pids.get();
  std::stringstream text;
  text << std::ifstream(trace).rdbuf();
  EXPECT_THAT(text.str(), HasSubstr("burn_and_pid"));
  EXPECT_THAT(text.str(), HasSubstr(std::to_string(pid)));
}

// Tasks that nobody waits for.

int say_and_hold_for_ever(const std::string& begun) {
  say(begun, std::to_string(::getpid()) + " " + std::to_string(agent_pid()));
  for (;;) ::pause();
}

TEST_F(ClusterConformanceTest, TaskWhoseLeaseAnotherAgentHasIsStopped) {
  ClusterExecutor executor(cluster(2, 1), ClusterOptions{.executor = {.workers = 1}});
  Future<int> future = executor.submit(say_and_hold_for_ever, pipe("begun"));
  int process = 0, agent = 0;
  std::istringstream(hear(pipe("begun"))) >> process >> agent;
  const detail::Fd end = pidfd_of(process);
  ASSERT_EQ(::kill(agent, SIGSTOP), 0);
  int other_process = 0, other_agent = 0;
  std::istringstream(hear(pipe("begun"))) >> other_process >> other_agent;
  EXPECT_NE(other_agent, agent);
  ASSERT_EQ(::kill(agent, SIGCONT), 0);
  wait_for_end(end);
  EXPECT_TRUE(future.stop());
}

void be_a_client(const std::string& url, const std::string& token, const std::string& begun) {
  ClusterExecutor executor(
      url, ClusterOptions{.token = token, .lease_time = milliseconds(1000), .client_silence = milliseconds(1000)});
  executor.submit(say_and_hold_for_ever, begun).get();
}

TEST_F(ClusterConformanceTest, TaskOfAClientThatDiedIsStopped) {
  const LocalCluster shared = local_cluster(LocalClusterOptions{
      .agents = 1, .slots = 1, .lease_time = milliseconds(1000), .client_silence = milliseconds(1000)});
  Process client(be_a_client, shared.url(), shared.keeper()->token(), pipe("begun"));
  client.start();
  int process = 0, agent = 0;
  std::istringstream(hear(pipe("begun"))) >> process >> agent;
  const detail::Fd end = pidfd_of(process);
  client.kill();
  client.join();
  wait_for_end(end);
  ClusterExecutor executor(shared);
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4) << "its slot is free";
}

// What an agent gives back that leaves is no delivery that nobody came back from.
TEST_F(ClusterConformanceTest, LeavingAgentsDoNotCountAsDeaths) {
  // A lease that ends on a busy machine would count as a death.
  ClusterExecutor executor(cluster(1, 1, milliseconds(10'000)), ClusterOptions{.most_deliveries = 1});
  const Future<int> future = executor.submit(say_and_hold, pipe("begun"), pipe("go"), 42);
  for (int round = 0; round < 2; ++round) {
    const pid_t agent = std::stoi(hear(pipe("begun")));
    const detail::Fd end = pidfd_of(agent);
    // Twice at least: the second one says that there is no time. One that comes with the first is one with it.
    std::jthread hurry([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        ::kill(agent, SIGTERM);
        std::this_thread::sleep_for(milliseconds(10));
      }
    });
    wait_for_end(end);
  }
  static_cast<void>(hear(pipe("begun")));
  say(pipe("go"), "go");
  EXPECT_EQ(future.get(), 42);
}

}  // namespace
}  // namespace tandem::testing
