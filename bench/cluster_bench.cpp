// What a ClusterExecutor costs beside mpi4py.futures and beside NATS alone, which carries the same bytes through the
// same server: maps, many calls at once, one call at a time, large arguments and results; and what an idle agent costs.
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <tandem/cluster.hpp>
#include <tandem/init.hpp>

#include "bench.hpp"
#include "cluster/local_cluster.hpp"
#include "nats_peer.hpp"
#include "python_peer.hpp"

namespace {

using namespace tandem::bench;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kAgents = 2;
constexpr int kItems = 2'000'000;
constexpr int kTasks = 20'000;
constexpr int kWindowed = 10'000;
constexpr int kWindow = 64;
constexpr int kCalls = 1'000;
constexpr int kMebibytes = 100;
constexpr int kLargeAtOnce = 4;
constexpr std::size_t kMebibyte = 1 << 20;
// What a task of the bare peers carries: as much as the 4 bytes of an int and what says which function is meant.
constexpr std::size_t kSmallBytes = 64;
constexpr std::chrono::seconds kIdle{20};

int add_one(int number) {
  return number + 1;
}
std::vector<std::byte> echo(std::vector<std::byte> data) {
  return data;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}
void check(bool good) {
  if (!good) throw std::runtime_error("a result is wrong");
}

/// Two agents of one slot each, and an executor on them; made when it is first needed.
struct Cluster {
  tandem::LocalCluster local = tandem::local_cluster({.agents = kAgents, .slots = 1});
  tandem::ClusterExecutor executor{local};

  static Cluster& instance() {
    std::unique_ptr<Cluster>& made = place();
    if (made == nullptr) made = std::make_unique<Cluster>();
    return *made;
  }
  /// Before main() ends.
  static void end() { place().reset(); }

 private:
  static std::unique_ptr<Cluster>& place() {
    static std::unique_ptr<Cluster> made;
    return made;
  }
};

double map() {
  std::vector<int> input(kItems);
  std::iota(input.begin(), input.end(), 0);
  tandem::ClusterExecutor& executor = Cluster::instance().executor;
  std::vector<int> results;
  results.reserve(kItems);
  const auto begin = Clock::now();
  for (const int result : executor.map(add_one, input)) results.push_back(result);
  const double seconds = seconds_since(begin);
  check(results.size() == input.size() && results.back() == kItems);
  return kItems / seconds / 1e3;
}

double tasks() {
  tandem::ClusterExecutor& executor = Cluster::instance().executor;
  std::vector<tandem::Future<int>> futures;
  futures.reserve(kTasks);
  const auto begin = Clock::now();
  for (int task = 0; task < kTasks; ++task) futures.push_back(executor.submit(add_one, task));
  std::int64_t sum = 0;
  for (tandem::Future<int>& future : futures) sum += future.get();
  const double seconds = seconds_since(begin);
  check(sum == std::int64_t{kTasks} * (kTasks + 1) / 2);
  return kTasks / seconds / 1e3;
}

double windowed(const tandem::TaskOptions& options) {
  tandem::ClusterExecutor& executor = Cluster::instance().executor;
  std::vector<tandem::Future<int>> futures(kWindow);
  const auto begin = Clock::now();
  for (int at = 0; at < kWindowed + kWindow; ++at) {
    tandem::Future<int>& place = futures[static_cast<std::size_t>(at % kWindow)];
    if (at >= kWindow) check(place.get() == at - kWindow + 1);
    if (at < kWindowed) place = executor.submit(options, add_one, at);
  }
  return kWindowed / seconds_since(begin) / 1e3;
}

double call() {
  tandem::ClusterExecutor& executor = Cluster::instance().executor;
  return median_microseconds(kCalls, [&] { check(executor.submit(add_one, 1).get() == 2); });
}

double mebibytes() {
  const std::vector<std::byte> data(kMebibyte);
  tandem::ClusterExecutor& executor = Cluster::instance().executor;
  std::vector<tandem::Future<std::vector<std::byte>>> futures(kLargeAtOnce);
  const auto begin = Clock::now();
  for (int at = 0; at < kMebibytes + kLargeAtOnce; ++at) {
    tandem::Future<std::vector<std::byte>>& place = futures[static_cast<std::size_t>(at % kLargeAtOnce)];
    if (at >= kLargeAtOnce) check(std::move(place).get().size() == data.size());
    if (at < kMebibytes) place = executor.submit(echo, data);
  }
  return 2.0 * kMebibytes * kMebibyte / seconds_since(begin) / 1e6;
}

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// A process as /proc has it. Value.
struct Seen {
  pid_t parent = 0;
  long ticks = 0;  // User and system.
  bool is_agent = false;
  bool is_server = false;
};

std::map<pid_t, Seen> processes() {
  std::map<pid_t, Seen> all;
  for (const auto& process : std::filesystem::directory_iterator("/proc")) {
    const pid_t pid = std::atoi(process.path().filename().c_str());
    const std::string stat = pid > 0 ? first_line(process.path() / "stat") : std::string();
    if (stat.empty()) continue;
    Seen& seen = all[pid];
    std::istringstream fields(stat.substr(stat.rfind(')') + 2));
    std::string skipped;
    fields >> skipped >> seen.parent;
    for (int field = 5; field < 14; ++field) fields >> skipped;
    long user = 0;
    long system = 0;
    fields >> user >> system;
    seen.ticks = user + system;
    seen.is_server = stat.find("(nats-server)") != std::string::npos;
    std::error_code gone;
    for (std::filesystem::directory_iterator thread(process.path() / "task", gone), end; !gone && thread != end;
         thread.increment(gone))
      seen.is_agent = seen.is_agent || first_line(thread->path() / "comm") == "agent-leases";
  }
  return all;
}

enum class Part { Client, Server, Agents, AgentsAndWorkers };

/// What a part of the cluster has used of a core, in seconds.
double seconds_used(Part part) {
  const std::map<pid_t, Seen> all = processes();
  const auto below = [&](pid_t pid, pid_t of) {
    for (auto at = all.find(pid); at != all.end(); at = all.find(at->second.parent))
      if (at->first == of) return true;
    return false;
  };
  long ticks = 0;
  for (const auto& [pid, seen] : all) {
    if (!below(pid, ::getpid())) continue;
    const bool counts = part == Part::Client   ? pid == ::getpid()
                        : part == Part::Server ? seen.is_server
                        : part == Part::Agents ? seen.is_agent
                                               : std::any_of(all.begin(), all.end(), [&, of = pid](const auto& other) {
                                                   return other.second.is_agent && below(of, other.first);
                                                 });
    if (counts) ticks += seen.ticks;
  }
  return static_cast<double>(ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double idle() {
  Cluster::instance();
  const double before = seconds_used(Part::Agents);
  const auto begin = Clock::now();
  std::this_thread::sleep_for(kIdle);
  // A tick of 10 ms is a quarter of what two agents may use.
  return 100 * (seconds_used(Part::Agents) - before) / seconds_since(begin) / kAgents;
}

/// Microseconds of a core that a part uses for each of so many calls.
std::function<double()> microseconds_used(Part part, int calls, const std::function<void()>& work) {
  return [=] {
    Cluster::instance();
    const double before = seconds_used(part);
    work();
    return (seconds_used(part) - before) / calls * 1e6;
  };
}
void compare_use(Table& table, const std::string& name, int calls, const std::function<void()>& work) {
  table.compare({"ClusterExecutor, CPU time of the client, " + name, "us"},
                microseconds_used(Part::Client, calls, work),
                {{"of the server", microseconds_used(Part::Server, calls, work)},
                 {"of agents and workers", microseconds_used(Part::AgentsAndWorkers, calls, work)}});
}

/// A peer's sample: what `measure` gives, by workers that were started for it.
std::function<double()> bare(NatsWay way, int at_once, const std::function<double(NatsPeer&)>& measure) {
  return [=] {
    const auto& keeper = Cluster::instance().local.keeper();
    NatsPeer peer(keeper->url(), keeper->token(), way, at_once);
    peer.run(100, kSmallBytes, kWindow);
    return measure(peer);
  };
}

double thousands_per_second(NatsPeer& peer) {
  const auto begin = Clock::now();
  peer.run(kWindowed, kSmallBytes, kWindow);
  return kWindowed / seconds_since(begin) / 1e3;
}
double microseconds_each(NatsPeer& peer) {
  return median_microseconds(kCalls, [&] { peer.run(1, kSmallBytes, 1); });
}
double megabytes_per_second(NatsPeer& peer) {
  const auto begin = Clock::now();
  peer.run(kMebibytes, kMebibyte, kLargeAtOnce);
  return 2.0 * kMebibytes * kMebibyte / seconds_since(begin) / 1e6;
}

void measure(Table& table, const Options&) {
  constexpr int kSeveral = kWindow / 2;
  table.compare({"ClusterExecutor, int to int, map with automatic chunks", "k/s", Better::Higher}, map,
                {{"mpi4py.futures, map", mpi4py("map", 10'000), 20},
                 {"mpi4py.futures, map, chunks of 1000", mpi4py("chunks", 500'000), 0}});
  table.compare({"ClusterExecutor, int to int, submit with futures", "k/s", Better::Higher}, tasks,
                {{"mpi4py.futures, submit", mpi4py("submit", 10'000), 0}});
  table.compare({"ClusterExecutor, int to int, 64 calls out", "k/s", Better::Higher}, [] { return windowed({}); },
                {{"NATS JetStream", bare(NatsWay::JetStream, kSeveral, thousands_per_second), 0.7},
                 {"NATS, not stored", bare(NatsWay::Core, 0, thousands_per_second), 0}});
  table.compare({"ClusterExecutor, one call at a time, p50", "us"}, call,
                {{"NATS JetStream", bare(NatsWay::JetStream, 1, microseconds_each), 0.7},
                 {"NATS, not stored", bare(NatsWay::Core, 0, microseconds_each), 0},
                 {"mpi4py.futures", mpi4py("call", 1'000), 0}});
  table.compare({"ClusterExecutor, 1 MiB in and 1 MiB out", "MB/s", Better::Higher}, mebibytes,
                {{"NATS JetStream", bare(NatsWay::JetStream, 1, megabytes_per_second), 0.8},
                 {"NATS, not stored", bare(NatsWay::Core, 0, megabytes_per_second), 0}});
  table.compare({"ClusterExecutor, an idle agent, of a core", "%", Better::Lower, {}, 1}, idle,
                {{"what it may cost", [] { return 0.1; }, 1}});
  compare_use(table, "a small call among many", kTasks, tasks);
  // One that has a deadline goes in a message of its own.
  compare_use(table, "a small call in a message of its own", kWindowed,
              [] { windowed({.deadline = std::chrono::hours(1)}); });
  compare_use(table, "a call with 1 MiB in and out", kMebibytes, mebibytes);
  Cluster::end();
}

}  // namespace

int main(int argc, char** argv) {
  if (is_nats_worker()) return run_nats_worker();
  tandem::init();
  return run(argc, argv, measure);
}
