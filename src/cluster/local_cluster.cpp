#include "cluster/local_cluster.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <tandem/cluster.hpp>
#include <tandem/cpu.hpp>
#include <tandem/error.hpp>

#include "cluster/agent_environment.hpp"
#include "cluster/bound_program.hpp"
#include "cluster/engine_options.hpp"
#include "cluster/private_server.hpp"
#include "cluster/stop_signal.hpp"
#include "core/kill_point.hpp"
#include "core/log.hpp"
#include "process/executed_child.hpp"
#include "process/lifeline.hpp"
#include "process/limits.hpp"

namespace tandem {
namespace detail {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kMostAgents = 1024, kMostSlots = 65536;
// An agent that died is not started again sooner behind its last start, so that one that cannot live costs little.
constexpr milliseconds kStartAgain{1000};
// Servers that die one after the other within this time of their start: what keeps them from living will not go away.
constexpr int kMostShortLives = 5;
constexpr milliseconds kShortLife{2000};
constexpr milliseconds kLook{100};

/// What a keeper is told. Value; travels.
struct KeeperSetup {
  std::uint64_t agents = 0;
  std::uint64_t slots = 0;
  std::int64_t lease_ms = 0;
  std::int64_t silence_ms = 0;
  std::string folder;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(agents, slots, lease_ms, silence_ms, folder);
  }
};

class Keeper {
 public:
  explicit Keeper(const KeeperSetup& setup)
      : setup_(setup),
        stop_({SIGTERM}),
        life_(outlive_lifeline()),
        folder_(setup.folder),
        server_(folder_.path()),
        agents_(setup.agents) {}

  void start() {
    server_.start(stop_.fd(), life_);
    TANDEM_KILL_POINT("cluster.server");
    server_started_ = Clock::now();
    for (std::size_t at = 0; at < agents_.size(); ++at) start_agent(at);
  }
  LocalClusterTold told() const { return {server_.url(), server_.token(), {}}; }

  /// Until it is told to stop, or the process that started it is gone.
  void keep() {
    while (!wait()) {
      for (std::size_t at = 0; at < agents_.size(); ++at) {
        Agent& agent = agents_[at];
        if (agent.program.reap() && Clock::now() - agent.started >= kStartAgain) {
          log_line(LogLevel::Warning, "agent local-{} of the local cluster has ended ({}) and is started again", at,
                   agent.program.end().to_string());
          try {
            start_agent(at);
          } catch (const std::system_error& error) {
            agent.started = Clock::now();  // As if it had ended at once: it is tried again.
            log_line(LogLevel::Warning, "agent local-{} cannot be started now: {}", at, error.what());
          }
        }
      }
      if (server_.program().reap()) {
        log_line(LogLevel::Warning, "the server of the local cluster has ended ({}) and is started again",
                 server_.program().end().to_string());
        short_lives_ = Clock::now() - server_started_ < kShortLife ? short_lives_ + 1 : 0;
        if (short_lives_ > kMostShortLives) throw ClusterError("its server dies again and again");
        server_.start(stop_.fd(), life_);
        server_started_ = Clock::now();
      }
    }
  }

 private:
  struct Agent {
    BoundProgram program;
    Clock::time_point started{};
  };

  void start_agent(std::size_t at) {
    AgentEnvironment environment;
    environment.url = server_.url();
    environment.token = server_.token();
    environment.node = fmt::format("local-{}", at);
    environment.slots = setup_.slots;
    environment.lease_time = milliseconds(setup_.lease_ms);
    environment.client_silence = milliseconds(setup_.silence_ms);
    agents_[at].program =
        BoundProgram("/proc/self/exe", own_command_line(), environment_with(environment.variables()), -1);
    agents_[at].started = Clock::now();
  }

  /// Whether it is to end.
  bool wait() {
    std::vector<pollfd> waits = {{stop_.fd(), POLLIN, 0}, {life_, 0, 0}, {server_.program().pidfd(), POLLIN, 0}};
    bool dead = false;
    for (const Agent& agent : agents_) {
      if (agent.program.pid() > 0)
        waits.push_back({agent.program.pidfd(), POLLIN, 0});
      else
        dead = true;
    }
    const int most = dead ? static_cast<int>(kLook.count()) : -1;
    retry_on_signal([&] { return ::poll(waits.data(), waits.size(), most); });
    return waits[0].revents != 0 || waits[1].revents != 0;
  }

  const KeeperSetup setup_;
  StopSignal stop_;
  const int life_;
  const PrivateFolder folder_;
  PrivateServer server_;
  Clock::time_point server_started_{};
  int short_lives_ = 0;
  std::vector<Agent> agents_;
};

int keep_local_cluster(KeeperSetup setup, tandem::Queue<LocalClusterTold> told) {
  // Ctrl-C goes to all processes of the terminal at once; who started this one sees to the end of all.
  take_no_interrupts();
  std::optional<Keeper> keeper;
  try {
    keeper.emplace(setup);
    keeper->start();
  } catch (const std::exception& error) {
    told.put({{}, {}, error.what()});
    return 1;
  }
  told.put(keeper->told());
  keeper->keep();
  return 0;
}

ProcessOptions keeper_options() {
  ProcessOptions options;
  options.name = "tandem-local-cluster";
  options.daemon = true;
  // What it starts writes to this process's standard error, and may do so to the end.
  options.keep_stderr_tail = false;
  options.start_method = StartMethod::ForkServer;
  return options;
}

KeeperSetup checked(const LocalClusterOptions& options, const std::filesystem::path& folder) {
  if (options.agents == 0 || options.agents > kMostAgents)
    throw std::invalid_argument(fmt::format("a local cluster has 1 to {} agents, not {}", kMostAgents, options.agents));
  const std::size_t slots =
      options.slots.value_or(std::max<std::size_t>(1, (cpu_count() + options.agents - 1) / options.agents));
  if (slots == 0 || slots > kMostSlots)
    throw std::invalid_argument(fmt::format("an agent runs 1 to {} tasks at once, not {}", kMostSlots, slots));
  check_engine_times(options.lease_time, options.client_silence);
  return {options.agents, slots, options.lease_time.count(), options.client_silence.count(), folder.string()};
}

}  // namespace

LocalClusterKeeper::LocalClusterKeeper(const LocalClusterOptions& options)
    : options_(options),
      folder_(free_folder_name()),
      process_(keeper_options(), keep_local_cluster, checked(options, folder_), queue_) {
  process_.start();
  std::optional<LocalClusterTold> told;
  while (!(told = queue_.get_for(kLook)) && process_.is_alive()) continue;
  if (!told) told = queue_.try_get();
  if (told && told->error.empty()) {
    told_ = *std::move(told);
    return;
  }
  const std::string why = told ? told->error : "its keeper has died";
  process_.kill();
  process_.join();
  remove_folder_of_the_dying(folder_);
  throw ClusterError("a local cluster cannot be started: " + why);
}

LocalClusterKeeper::~LocalClusterKeeper() {
  if (::getpid() != owner_) return;  // Forked off: it is another process's.
  try {
    process_.terminate();
    process_.join();
  } catch (const std::exception& error) {
    log_line(LogLevel::Warning, "a local cluster may be left: {}", error.what());
  }
  // In case that the keeper was killed.
  remove_folder_of_the_dying(folder_);
}

std::string LocalClusterKeeper::end() const {
  const std::optional<ExitStatus> status = process_.exit_status();
  return "its keeper has left: " + (status ? status->to_string() : "it is not known how");
}

}  // namespace detail

const std::shared_ptr<detail::LocalClusterKeeper>& LocalCluster::keeper() const {
  if (keeper_ == nullptr) throw StateError("this LocalCluster was moved from");
  return keeper_;
}

const std::string& LocalCluster::url() const {
  return keeper()->url();
}

LocalCluster local_cluster(LocalClusterOptions options) {
  return LocalCluster(std::make_shared<detail::LocalClusterKeeper>(options));
}

}  // namespace tandem
