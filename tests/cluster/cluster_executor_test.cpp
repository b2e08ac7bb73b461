// Executors on clusters of this machine: what ends when, what dies, and what becomes of tasks then. That they do what
// other executors do is tested by the suites of those: see cluster_places.hpp.
#include <tandem/cluster.hpp>

#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ranges>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <tandem/cluster_status.hpp>
#include <tandem/error.hpp>
#include <tandem/gil.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>

#include "cluster/agent_environment.hpp"
#include "cluster/bound_program.hpp"
#include "cluster/cluster_entry.hpp"
#include "cluster/cluster_fixture.hpp"
#include "cluster/engine_options.hpp"
#include "cluster/local_cluster.hpp"
#include "cluster/task_message.hpp"
#include "process/executed_child.hpp"
#include "support/caught_log.hpp"
#include "support/executor_places.hpp"

namespace tandem::testing {
namespace {

using ClusterExecutorTest = ClusterFixture;

using std::chrono::milliseconds;
using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;

std::string program_name() {
  return program_invocation_short_name;
}
int kill_the_agent() {
  ::kill(agent_pid(), SIGKILL);
  ::pause();
  return 0;
}
Value<int> give_a_handle() {
  return Value<int>(1);
}
bool sigpipe_ends() {
  struct sigaction action{};
  return ::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL;
}
// Of the worker, its fork server, and their agent.
std::string environments_that_can_be_read() {
  std::string all;
  for (pid_t pid = ::getpid(); pid > 0;) {
    const std::string process = "/proc/" + std::to_string(pid);
    std::ifstream environment(process + "/environ");
    all.append(std::istreambuf_iterator<char>(environment), {});
    if (pid == agent_pid()) return all;
    std::string stat;
    std::getline(std::ifstream(process + "/stat"), stat);
    std::istringstream rest(stat.substr(stat.rfind(')') + 1));
    std::string state;
    rest >> state >> pid;
  }
  return "the agent was not found";
}
int nap_and_double(int value) {
  std::this_thread::sleep_for(milliseconds(2));
  return 2 * value;
}

TEST_F(ClusterExecutorTest, OneWordApart) {
  ClusterExecutor executor(local_cluster(2));
  EXPECT_EQ(executor.submit(tasks::sum, 1, 2).get(), 3);
  EXPECT_EQ(wait_for_workers(executor, 2).size(), 2u);
  std::vector<int> all;
  for (const int value : executor.map(tasks::twice, std::views::iota(0, 1000))) all.push_back(value);
  ASSERT_EQ(all.size(), 1000u);
  for (int item = 0; item < 1000; ++item) EXPECT_EQ(all[static_cast<std::size_t>(item)], 2 * item);
}

TEST_F(ClusterExecutorTest, TimesThatNoAgentWouldTakeAreRefused) {
  const milliseconds longer = detail::kMostEngineTime + milliseconds(1);
  const auto refusal_of = [](const LocalClusterOptions& options) -> std::string {
    try {
      static_cast<void>(local_cluster(options));
      return "none";
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
  };
  EXPECT_THAT(refusal_of({.agents = 1, .lease_time = longer}), HasSubstr("lease_time must be"));
  EXPECT_THAT(refusal_of({.agents = 1, .client_silence = longer}), HasSubstr("client_silence must be"));
}

// Where no server is: who tried to connect would say that, and not what is wrong with the options.
TEST_F(ClusterExecutorTest, OptionsAreRefusedBeforeAnythingIsConnectedOrStarted) {
  const auto refuses = [](auto change) {
    ClusterOptions options;
    options.connect_wait = milliseconds(0);
    change(options);
    EXPECT_THROW(ClusterExecutor("nats://127.0.0.1:1", options), std::invalid_argument);
    EXPECT_THROW(ClusterExecutor{options}, std::invalid_argument);
    EXPECT_EQ(keeper_pid(), -1);
  };
  // A local cluster could not be started.
  ::setenv("TMPDIR", "/nowhere", 1);
  refuses([](ClusterOptions& options) { options.executor.workers = 0; });
  refuses([](ClusterOptions& options) { options.executor.backlog_limit = 0; });
  refuses([](ClusterOptions& options) { options.executor.gil = Gil(); });
  refuses([](ClusterOptions& options) { options.executor.start_method = StartMethod::Spawn; });
  refuses([](ClusterOptions& options) { options.executor.task.deadline = milliseconds(0); });
  refuses([](ClusterOptions& options) { options.executor.task.memory_limit_bytes = 0; });
  refuses([](ClusterOptions& options) { options.most_deliveries = 0; });
  ::unsetenv("TMPDIR");
}

TEST_F(ClusterExecutorTest, WhatWasMovedFromSaysSo) {
  LocalCluster local = cluster(1, 1);
  const LocalCluster other = std::move(local);
  EXPECT_THROW(static_cast<void>(local.url()), StateError);  // NOLINT(bugprone-use-after-move): that is the test.
  EXPECT_THROW(ClusterExecutor{local}, StateError);
  EXPECT_THROW((ClusterExecutor{local, {}, tasks::twice, 1}), StateError);
  ClusterWatch watch(other.url(), ClusterOptions{.token = other.keeper()->token()});
  const ClusterWatch seen = std::move(watch);
  EXPECT_THROW(static_cast<void>(watch.nodes()), StateError);  // NOLINT(bugprone-use-after-move): the same.
  EXPECT_THROW(watch.hear(milliseconds(0)), StateError);
  EXPECT_THROW(static_cast<void>(watch.queues()), StateError);
  EXPECT_THAT(ClusterExecutor(other).submit(tasks::twice, 2).get(), 4);
}

TEST_F(ClusterExecutorTest, HandlesOfSharedObjectsStayOnTheirMachine) {
  ClusterExecutor executor(cluster(1, 1));
  const auto refused = [&](const auto& submit) {
    try {
      submit();
    } catch (const WireError& error) {
      EXPECT_THAT(error.what(), HasSubstr("stay on their machine"));
      return true;
    }
    return false;
  };
  EXPECT_TRUE(refused([&] { executor.submit(tasks::hold, Event(), Event(), 1).get(); }));
  EXPECT_TRUE(refused([&] { executor.for_each(tasks::add_to, std::vector<Value<int>>(3), std::vector{1, 2, 3}); }));
  EXPECT_EQ(executor.counters().submitted, 0u);
  const Future<Value<int>> handle = executor.submit(give_a_handle);
  EXPECT_TRUE(refused([&] { handle.get(); }));
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4);
}

// The C client of NATS would have all of them ignore it.
TEST_F(ClusterExecutorTest, NoEnvironmentThatATaskCanReadHasTheToken) {
  const LocalCluster local = cluster(1, 1);
  const std::string all = ClusterExecutor(local).submit(environments_that_can_be_read).get();
  EXPECT_THAT(all, HasSubstr("TANDEM_CLUSTER_TOKEN=")) << "the agent's was not read";
  EXPECT_EQ(all.find(local.keeper()->token()), std::string::npos);
}

TEST_F(ClusterExecutorTest, BrokenPipesEndTasksAndProgramsAsEver) {
  ClusterExecutor executor(cluster(1, 1));
  EXPECT_TRUE(executor.submit(sigpipe_ends).get());
  EXPECT_TRUE(ProcessExecutor(1).submit(sigpipe_ends).get());
  struct sigaction action{};
  ASSERT_EQ(::sigaction(SIGPIPE, nullptr, &action), 0);
  EXPECT_NE(action.sa_handler, SIG_IGN);
  EXPECT_NE(action.sa_handler, SIG_DFL) << "a server that goes away would end this program";
}

TEST_F(ClusterExecutorTest, TaskOfAKilledAgentRunsAgainAndIsToldOnce) {
  ClusterExecutor executor(cluster(2, 1), ClusterOptions{.executor = {.workers = 1}});
  std::atomic<int> told{0};
  const Future<int> future = executor.submit(say_and_hold, pipe("begun"), pipe("go"), 42);
  future.add_done_callback([&](const Future<int>&) { ++told; });
  const pid_t first = std::stoi(hear(pipe("begun")));
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  const pid_t second = std::stoi(hear(pipe("begun")));
  EXPECT_NE(second, first);
  EXPECT_FALSE(future.done());
  say(pipe("go"), "go");
  EXPECT_EQ(future.get(), 42);
  executor.shutdown();
  EXPECT_EQ(told, 1);
  EXPECT_EQ(executor.counters().done, 1u);
}

// The connection must not end in one of its own threads, which tells a result.
TEST_F(ClusterExecutorTest, ExecutorMayEndWhileResultsCome) {
  const LocalCluster shared = cluster(1, 2);
  for (int round = 0; round < 40; ++round) {
    ClusterExecutor executor(shared, ClusterOptions{.executor = {.workers = 2}});
    std::vector<Future<int>> futures;
    for (int task = 0; task < 60; ++task) futures.push_back(executor.submit(tasks::twice, task));
    futures[static_cast<std::size_t>(round)].wait();
    executor.close(Backlog::Cancel);
    for (const Future<int>& future : futures) future.stop();
  }
}

TEST_F(ClusterExecutorTest, CrashOfATaskIsReportedWithItsNode) {
  ClusterExecutor executor(cluster(1, 1));
  const Future<int> dead = executor.submit(die, SIGSEGV);
  try {
    dead.get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const TaskCrashed& crash) {
    EXPECT_THAT(crash.what(), HasSubstr("node local-0: "));
    EXPECT_THAT(crash.what(), HasSubstr("killed by SIGSEGV"));
    EXPECT_THAT(crash.what(), HasSubstr("die"));
    EXPECT_EQ(crash.report().signal, SIGSEGV);
    EXPECT_THAT(crash.report().name, HasSubstr("local-0/"));
    EXPECT_EQ(crash.attempts(), 1u);
  }
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4);
}

TEST_F(ClusterExecutorTest, PoisonTaskEndsAfterItsAttempts) {
  ClusterExecutor executor(cluster(1, 1));
  const Future<int> poison = executor.submit(TaskOptions{.retries = 2}, die, SIGKILL);
  try {
    poison.get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const TaskCrashed& crash) {
    EXPECT_EQ(crash.attempts(), 3u);
    EXPECT_EQ(crash.report().signal, SIGKILL);
    EXPECT_THAT(crash.what(), HasSubstr("(attempt 3)"));
  }
  EXPECT_EQ(executor.counters().retried, 2u);
}

TEST_F(ClusterExecutorTest, TaskThatTakesItsAgentsAlongEnds) {
  // A lease that ends on a busy machine would count as another death.
  ClusterExecutor executor(cluster(1, 1, milliseconds(5000)), ClusterOptions{.most_deliveries = 2});
  const Future<int> deadly = executor.submit(kill_the_agent);
  try {
    deadly.get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const TaskCrashed& crash) {
    EXPECT_THAT(crash.what(), HasSubstr("was handed to 2 agents"));
  }
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4);
}

TEST_F(ClusterExecutorTest, KilledServerLosesNothing) {
  ClusterExecutor executor(cluster(1, 2));
  constexpr int kItems = 400;
  std::vector<int> all;
  for (const int value : executor.map(MapOptions{.chunk_size = 1}, nap_and_double, std::views::iota(0, kItems))) {
    all.push_back(value);
    if (all.size() == 50 || all.size() == 200) {
      const pid_t server = server_of(keeper_pid());
      ASSERT_GT(server, 0);
      const detail::Fd end = pidfd_of(server);
      ASSERT_EQ(::kill(server, SIGKILL), 0);
      wait_for_end(end);
    }
  }
  ASSERT_EQ(all.size(), std::size_t{kItems});
  for (int item = 0; item < kItems; ++item) EXPECT_EQ(all[static_cast<std::size_t>(item)], 2 * item);
  EXPECT_EQ(executor.counters().done, std::uint64_t{kItems});
}

TEST_F(ClusterExecutorTest, DeletedStoreLosesNothing) {
  ClusterExecutor executor(cluster(1, 2));
  constexpr int kItems = 300;
  std::vector<int> all;
  for (const int value : executor.map(MapOptions{.chunk_size = 1}, nap_and_double, std::views::iota(0, kItems))) {
    all.push_back(value);
    if (all.size() != 50) continue;
    // The keeper does not start the next one before the store is gone.
    const pid_t keeper = keeper_pid(), server = server_of(keeper);
    ASSERT_EQ(::kill(keeper, SIGSTOP), 0);
    const detail::Fd end = pidfd_of(server);
    ASSERT_EQ(::kill(server, SIGKILL), 0);
    wait_for_end(end);
    std::uintmax_t removed = 0;
    for (const auto& file : std::filesystem::directory_iterator(std::getenv("TMPDIR")))
      if (file.is_directory()) removed += std::filesystem::remove_all(file.path() / "store");
    EXPECT_GT(removed, 0u);
    ASSERT_EQ(::kill(keeper, SIGCONT), 0);
  }
  ASSERT_EQ(all.size(), std::size_t{kItems});
  for (int item = 0; item < kItems; ++item) EXPECT_EQ(all[static_cast<std::size_t>(item)], 2 * item);
  EXPECT_EQ(executor.counters().done, std::uint64_t{kItems});
}

/// Kills what a keeper keeps, for as long as it lives: an agent in each second, and at times the server.
class Killer {
 public:
  explicit Killer(pid_t keeper)
      : thread_([keeper](const std::stop_token& stop) {
          for (int round = 1; !stop.stop_requested(); ++round) {
            std::this_thread::sleep_for(milliseconds(1000));  // So that something lives in between.
            std::vector<pid_t> agents = children_of(keeper);
            const pid_t server = server_of(keeper);
            std::erase(agents, server);
            if (!agents.empty()) ::kill(agents[static_cast<std::size_t>(round) % agents.size()], SIGKILL);
            if (round % 20 == 3 && server > 0) ::kill(server, SIGKILL);
          }
        }) {}

 private:
  std::jthread thread_;
};

// TANDEM_SOAK=1: a hundred thousand.
TEST_F(ClusterExecutorTest, NothingIsLostWhileAllOfItDies) {
  const int items = std::getenv("TANDEM_SOAK") != nullptr ? 100'000 : 3'000;
  ClusterExecutor executor(cluster(4, 2), ClusterOptions{.most_deliveries = 1000});
  std::vector<int> all;
  {
    const Killer killer(keeper_pid());
    for (const int value : executor.map(MapOptions{.chunk_size = 10}, nap_and_double, std::views::iota(0, items)))
      all.push_back(value);
  }
  ASSERT_EQ(all.size(), static_cast<std::size_t>(items));
  for (int item = 0; item < items; ++item) EXPECT_EQ(all[static_cast<std::size_t>(item)], 2 * item);
  const ExecutorCounters counters = executor.counters();
  EXPECT_EQ(counters.done, static_cast<std::uint64_t>(items));
  EXPECT_EQ(counters.failed, 0u);
}

TEST_F(ClusterExecutorTest, AgentThatIsToLeaveEndsWhatItHas) {
  ClusterExecutor executor(cluster(1, 1));
  const Future<int> future = executor.submit(say_and_hold, pipe("begun"), pipe("go"), 42);
  const pid_t agent = std::stoi(hear(pipe("begun")));
  const detail::Fd end = pidfd_of(agent);
  ASSERT_EQ(::kill(agent, SIGTERM), 0);
  const Future<int> behind = executor.submit(agent_pid);
  say(pipe("go"), "go");
  EXPECT_EQ(future.get(), 42);
  wait_for_end(end);
  EXPECT_NE(behind.get(), agent);
}

TEST_F(ClusterExecutorTest, AgentThatHasNoTimeGivesItsTaskBack) {
  ClusterExecutor executor(cluster(1, 1));
  const Future<int> future = executor.submit(say_and_hold, pipe("begun"), pipe("go"), 42);
  const pid_t agent = std::stoi(hear(pipe("begun")));
  const detail::Fd end = pidfd_of(agent);
  ASSERT_EQ(::kill(agent, SIGTERM), 0);
  // A second one that comes with the first is one signal: so until it has left.
  std::jthread hurry([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      ::kill(agent, SIGTERM);
      std::this_thread::sleep_for(milliseconds(10));
    }
  });
  wait_for_end(end);
  hurry.request_stop();
  hurry.join();
  EXPECT_NE(std::stoi(hear(pipe("begun"))), agent);
  say(pipe("go"), "go");
  EXPECT_EQ(future.get(), 42);
}

TEST_F(ClusterExecutorTest, StoppedTaskFreesItsSlot) {
  ClusterExecutor executor(cluster(1, 1));
  Future<int> held = executor.submit(say_and_hold, pipe("begun"), pipe("go"), 1);
  static_cast<void>(hear(pipe("begun")));
  Future<int> waiting = executor.submit(hold_for_ever);
  EXPECT_TRUE(waiting.cancel());
  EXPECT_TRUE(held.stop());
  EXPECT_TRUE(held.cancelled());
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4);
}

TEST_F(ClusterExecutorTest, DeadlineCountsInTheWorker) {
  ClusterExecutor executor(cluster(1, 1));
  EXPECT_THROW(executor.submit(TaskOptions{.deadline = milliseconds(200)}, hold_for_ever).get(), DeadlineExceeded);
  EXPECT_EQ(executor.submit(TaskOptions{.deadline = std::chrono::minutes(5)}, tasks::twice, 2).get(), 4);
}

TEST_F(ClusterExecutorTest, ShutdownGivesUpWhatRuns) {
  ClusterExecutor executor(cluster(1, 1));
  const Future<int> held = executor.submit(TaskOptions{.name = "endless"}, hold_for_ever);
  const ShutdownReport report = executor.shutdown_for(milliseconds(300));
  ASSERT_EQ(report.given_up.size(), 1u);
  EXPECT_EQ(report.given_up[0].name, "endless");
  EXPECT_THROW(held.get(), ExecutorShutDown);
}

// The keeper dies in a way that nobody foresaw: what is lost for good is said.
TEST_F(ClusterExecutorTest, LostLocalClusterBreaksItsExecutor) {
  CaughtLog log;
  ClusterExecutor executor(cluster(1, 1));
  const Future<int> held = executor.submit(hold_for_ever);
  const detail::Fd server = pidfd_of(server_of(keeper_pid()));
  ASSERT_EQ(::kill(keeper_pid(), SIGKILL), 0);
  EXPECT_THROW(held.get(), BrokenExecutor);
  EXPECT_THROW(static_cast<void>(executor.submit(tasks::twice, 2)), BrokenExecutor);
  wait_for_end(server);
}

void be_a_client(Queue<int> pids) {
  ClusterExecutor executor(local_cluster(LocalClusterOptions{.agents = 1, .slots = 1}));
  const int agent = executor.submit(agent_pid).get();
  pids.put(agent);
  pids.put(keeper_pid());
  pids.put(server_of(keeper_pid()));
  hold_for_ever();
}

TEST_F(ClusterExecutorTest, EverythingEndsWithAKilledClient) {
  const TemporaryDirectory temporary("killed_client");
  ProcessOptions options;
  options.environment["TMPDIR"] = temporary.path().string();
  Queue<int> pids;
  Process client(options, be_a_client, pids);
  client.start();
  std::vector<detail::Fd> ends;
  for (int at = 0; at < 3; ++at) {
    ends.push_back(pidfd_of(pids.get()));
    EXPECT_TRUE(ends.back());
  }
  EXPECT_FALSE(std::filesystem::is_empty(temporary.path()));
  client.kill();
  client.join();
  for (const detail::Fd& end : ends) wait_for_end(end);
  EXPECT_TRUE(std::filesystem::is_empty(temporary.path()));
}

TEST_F(ClusterExecutorTest, AnotherBuildGetsNoTasks) {
  CaughtLog log(LogLevel::Info);
  const LocalCluster local = cluster(1, 1);
  ClusterExecutor executor(local, ClusterOptions{.executor = {.workers = 4}});
  detail::AgentEnvironment environment;
  environment.url = local.url();
  environment.token = local.keeper()->token();
  environment.node = "stranger";
  environment.slots = 4;
  environment.lease_time = milliseconds(1000);
  const detail::BoundProgram stranger(TANDEM_OTHER_BUILD, {TANDEM_OTHER_BUILD},
                                      detail::environment_with(environment.variables()), -1);
  const auto is_heard = [&] {
    for (const std::string& line : log.lines())
      if (line.find("node stranger runs another build") != line.npos) return true;
    return false;
  };
  while (!is_heard()) std::this_thread::sleep_for(milliseconds(5));
  std::vector<std::string> names;
  for (int task = 0; task < 50; ++task) names.push_back(executor.submit(program_name).get());
  EXPECT_THAT(names, Each(std::string(program_invocation_short_name)));
}

TEST_F(ClusterExecutorTest, ProgramWithoutClusterIsNoAgent) {
  const detail::Fd log(::open(pipe("log").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  detail::AgentEnvironment environment;
  environment.url = "nats://127.0.0.1:1";
  detail::BoundProgram program(TANDEM_NO_CLUSTER, {TANDEM_NO_CLUSTER},
                               detail::environment_with(environment.variables()), log.get());
  wait_for_end(detail::Fd(::fcntl(program.pidfd(), F_DUPFD_CLOEXEC, 3)));
  EXPECT_THAT(detail::read_small_file(pipe("log")), HasSubstr("makes no ClusterExecutor"));
}

// What a task names must be what a ClusterExecutor has made.
class ClusterEntryTest : public LeakCheckedTest {
 protected:
  static std::vector<std::byte> payload(const void* entry, const void* function) {
    const auto code = [](const void* address) {
      detail::Encoder encoder;
      encoder.write_code(address);
      return std::vector<std::byte>(encoder.bytes().begin(), encoder.bytes().end());
    };
    detail::TaskTicket ticket;
    ticket.entry = code(entry);
    if (function != nullptr) ticket.function = code(function);
    detail::Encoder encoder;
    detail::encode(encoder, ticket);
    detail::encode(encoder, 21);
    return {encoder.bytes().begin(), encoder.bytes().end()};
  }
  static int enter(const std::vector<std::byte>& payload) {
    detail::Encoder all;
    detail::encode(all, detail::NodeValues());
    all.write(payload.data(), payload.size());
    detail::Decoder decoder(all.bytes());
    detail::Encoder result;
    detail::enter_cluster_task(nullptr, decoder, result);
    detail::Decoder value(result.bytes());
    return detail::decode<int>(value);
  }
  static std::string refusal(const std::vector<std::byte>& payload) {
    try {
      enter(payload);
    } catch (const WireError& error) {
      return error.what();
    }
    return "";
  }
  template <class F>
  static const void* address(F* function) {
    return reinterpret_cast<const void*>(function);
  }
};

TEST_F(ClusterEntryTest, OnlyEntriesAndFunctionsOfThisProgramAreCalled) {
  // An executor anywhere in the program makes it an entry.
  [[maybe_unused]] auto* const made = +[](ClusterExecutor& executor) { return executor.submit(tasks::twice, 1).get(); };
  const void* const entry = address(&detail::enter_remote_call<int, int (*)(int), int>);
  EXPECT_EQ(enter(payload(entry, address(&tasks::twice))), 42);
  EXPECT_THAT(refusal(payload(address(&tasks::twice), address(&tasks::twice))), HasSubstr("no entry"));
  EXPECT_THAT(refusal(payload(address(&::system), nullptr)), HasSubstr("no entry"));
  const void* const inside = static_cast<const char*>(address(&tasks::twice)) + 1;
  EXPECT_THAT(refusal(payload(entry, inside)), HasSubstr("no function begins"));
}

}  // namespace
}  // namespace tandem::testing
