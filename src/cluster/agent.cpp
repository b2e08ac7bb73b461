#include "cluster/agent.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <tandem/detail/executor_base.hpp>
#include <tandem/detail/remote_task.hpp>
#include <tandem/error.hpp>
#include <tandem/thread.hpp>

#include "cluster/agent_values.hpp"
#include "cluster/cluster_entry.hpp"
#include "cluster/nats_engine.hpp"
#include "cluster/stop_signal.hpp"
#include "cluster/task_message.hpp"
#include "core/kill_point.hpp"
#include "core/log.hpp"
#include "core/mutex.hpp"
#include "executor/executor_core.hpp"
#include "executor/worker_usage.hpp"
#include "wire/code_address.hpp"

namespace tandem::detail {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// How often a node says who it is and what it runs.
constexpr milliseconds kAnnounce{1000};
// How long an idle agent waits at the server for tasks: what it costs then is what it does in between.
constexpr milliseconds kLeaseWait{30000};
// How long results have to be stored when an agent leaves.
constexpr milliseconds kStoreTime{10000};
// How soon a value is looked for again that was not there.
constexpr milliseconds kFetchAgain{200};
// Within which a lease that has ended is somebody else's, if the server hands it out.
constexpr milliseconds kTakenBy{1000};
// Of cancelled tasks that have not come here yet.
constexpr std::size_t kMostCancelled = 10000;

std::string key_of(const ClusterTaskId& id) {
  return fmt::format("{}.{}.{}", id.client, id.number, id.attempt);
}

/// The task of a client, in the executor of the agent: what it gives are bytes, which only the client can read.
class LeasedTask final : public ResultState<std::vector<std::byte>>, public RemoteTask {
  using State = ResultState<std::vector<std::byte>>;

 public:
  LeasedTask(std::span<const std::byte> payload, const NodeValues& values)
      : State(static_cast<RemoteTask*>(this)),
        RemoteTask(static_cast<FutureState&>(*this), &enter_cluster_task, nullptr) {
    const EncoderLease lease;
    encode(*lease, values);
    (*lease).write(payload.data(), payload.size());
    payload_.assign(*lease);
  }
  FutureState::Outcome take_result(Decoder& result) noexcept override {
    try {
      std::vector<std::byte> bytes(result.remaining());
      result.read(bytes.data(), bytes.size());
      pid_ = take_pid(bytes);
      return store(std::move(bytes));
    } catch (...) {
      write_error(std::current_exception());
      return FutureState::Outcome::Error;
    }
  }
  const std::type_info& callable_type() const noexcept override { return typeid(LeasedTask); }
  /// Of the process that ran it, behind the result.
  std::int32_t pid() const noexcept { return pid_; }

 private:
  ~LeasedTask() override = default;
  std::int32_t pid_ = 0;
};
using LeasedTaskPtr = StatePtr<LeasedTask>;

/// A task that runs here or waits for what it needs, or has ended and whose result is not handed over yet.
struct Leased {
  TaskLease lease;     // Without the payload.
  LeasedTaskPtr task;  // Null while it waits.
  std::shared_ptr<ExecutorCore> pool{};
  Clock::time_point since = Clock::now();
  std::optional<Clock::time_point> lost_since{};  // Its lease.
};

/// What a task that waits is made of.
struct Parked {
  std::vector<std::byte> payload;
  TaskTicket ticket;
};

class Agent final : public EngineAgentEvents {
 public:
  explicit Agent(const AgentSettings& settings);
  ~Agent() override;

  int run();

 private:
  struct OnEnd;
  /// What came of a task whose lease it still has.
  struct Ended {
    Leased leased;
    TaskOutcome outcome;
  };

  void on_cancel(const ClusterTaskId& id) override TANDEM_EXCLUDES(mutex_);
  void begin(TaskLease lease) TANDEM_EXCLUDES(mutex_);
  void start(const std::string& key, const Parked& parts, TaskNeeds needs) TANDEM_EXCLUDES(mutex_);
  /// Starts tasks that wait when what they need is there.
  void fetch_values();
  /// What is to be done now, and when it was not there a moment ago.
  bool start_parked(const std::string& key) TANDEM_EXCLUDES(mutex_);
  /// Stops what nobody wants to have from here any more.
  void drop_unwanted(const std::string& key, bool is_lost) TANDEM_EXCLUDES(mutex_);
  void drop_lost(const std::vector<std::string>& lost) TANDEM_EXCLUDES(mutex_);
  void drop_silent(const std::vector<TaskLease>& leases) TANDEM_EXCLUDES(mutex_);
  std::optional<Leased> take_running(const std::string& key) TANDEM_REQUIRES(mutex_);
  /// A task that runs or waits has ended; nothing if it was given back. In one step: what is in neither list is not
  /// waited for when the agent leaves.
  void settle_running(const std::string& key, TaskOutcome outcome) TANDEM_EXCLUDES(mutex_);
  /// Whether the pool that it runs in is one whose initializer failed.
  bool is_broken(const std::string& key) TANDEM_EXCLUDES(mutex_);
  void ended(const std::string& key, FutureState& state) noexcept TANDEM_EXCLUDES(mutex_);
  void settle(Leased leased, TaskOutcome outcome) TANDEM_EXCLUDES(mutex_);
  /// Waits for free slots; 0 if there is something else to do.
  std::size_t wait_for_room() TANDEM_EXCLUDES(mutex_);
  void listen();
  void keep_leases();
  void hand_over();
  void announce(bool leaving) TANDEM_EXCLUDES(mutex_);
  void drain() TANDEM_EXCLUDES(mutex_);

  const AgentSettings settings_;
  StopSignal signal_;
  std::shared_ptr<ExecutorCore> pool_;
  Mutex mutex_;
  ConditionVariable changed_;
  ValueCache values_;
  InitializedPools pools_;
  NeedsFinder needs_{values_, pools_};
  std::map<std::string, Leased> running_ TANDEM_GUARDED_BY(mutex_);
  std::map<std::string, Parked> parked_ TANDEM_GUARDED_BY(mutex_);          // Of those.
  std::map<std::string, ClusterValueId> wanted_ TANDEM_GUARDED_BY(mutex_);  // What they miss.
  std::deque<Ended> ended_ TANDEM_GUARDED_BY(mutex_);
  std::optional<TaskLease> handing_over_ TANDEM_GUARDED_BY(mutex_);
  std::set<std::string> cancelled_ TANDEM_GUARDED_BY(mutex_);
  std::deque<std::string> cancelled_in_order_ TANDEM_GUARDED_BY(mutex_);
  unsigned stops_ TANDEM_GUARDED_BY(mutex_) = 0;  // Signals to stop.
  bool over_ TANDEM_GUARDED_BY(mutex_) = false;   // The threads are to end.
  Clock::time_point away_at_ = Clock::now();      // Of the thread that keeps leases.
  std::unique_ptr<EngineAgent> engine_;
  std::vector<Thread> threads_;
};

/// Kept by the state of a task.
struct Agent::OnEnd final : Continuation {
  OnEnd(Agent& to, std::string of) : agent(to), key(std::move(of)) {}
  void run(FutureState& state) noexcept override { agent.ended(key, state); }
  Agent& agent;
  const std::string key;
};

Agent::Agent(const AgentSettings& settings)
    : settings_(settings),
      signal_({SIGTERM, SIGINT}),
      values_(settings.cache_bytes),
      pools_(settings.node, settings.slots) {
  // Names of functions come from others here too.
  find_only_loaded_functions();
  ExecutorOptions options;
  options.workers = settings_.slots;
  options.name_prefix = settings_.node;
  pool_ = make_process_executor(std::move(options), nullptr);
  engine_ = connect_nats_agent(settings_.engine, settings_.node, *this);
  const auto start = [this](const char* name, void (Agent::*body)()) {
    threads_.emplace_back(ThreadOptions{.name = name, .daemon = false}, [this, body] { (this->*body)(); });
    threads_.back().start();
  };
  start("agent-signals", &Agent::listen);
  start("agent-leases", &Agent::keep_leases);
  start("agent-results", &Agent::hand_over);
  start("agent-values", &Agent::fetch_values);
}

Agent::~Agent() {
  {
    const MutexGuard guard(mutex_);
    over_ = true;
    changed_.notify_all();
  }
  // Whoever waits for a signal waits for this one as well.
  static_cast<void>(::kill(::getpid(), SIGTERM));
  for (Thread& thread : threads_) thread.join();
  const Deadline deadline = Deadline::after(std::chrono::seconds(5));
  pools_.shut_down(deadline);
  static_cast<void>(pool_->shutdown(Backlog::Cancel, deadline));
}

int Agent::run() {
  log_line(LogLevel::Info, "agent {} works for the pool {}: {} tasks at once, build {}", settings_.node,
           settings_.engine.pool, settings_.slots, settings_.engine.build_id);
  announce(false);
  while (const std::size_t room = wait_for_room()) {
    for (TaskLease& lease : engine_->lease(room, kLeaseWait)) begin(std::move(lease));
    if (engine_->state() == EngineState::Refused) {
      log_line(LogLevel::Error, "agent {} leaves: its server does not accept it any more", settings_.node);
      return 1;
    }
  }
  drain();
  return 0;
}

std::size_t Agent::wait_for_room() {
  const MutexGuard guard(mutex_);
  for (;;) {
    if (stops_ > 0) return 0;
    // Results that cannot be handed over keep their place: this process is not to be filled with them.
    const std::size_t used = running_.size() + ended_.size();
    if (used < settings_.slots) return settings_.slots - used;
    changed_.wait(mutex_);
  }
}

void Agent::begin(TaskLease lease) {
  const std::string key = key_of(lease.id);
  std::vector<std::byte> payload = std::move(lease.payload);
  lease.payload = {};
  Leased leased;
  {
    const MutexGuard guard(mutex_);
    if (const auto found = running_.find(key); found != running_.end()) {
      found->second.lease = std::move(lease);  // The one before has ended by time; the task runs still.
      found->second.lost_since.reset();
      return;
    }
    leased.lease = std::move(lease);
    if (cancelled_.contains(key)) {
      TaskOutcome outcome;
      outcome.kind = TaskOutcome::kCancelled;
      ended_.push_back({std::move(leased), std::move(outcome)});
      changed_.notify_all();
      return;
    }
  }
  try {
    Parked parts;
    Decoder decoder(payload);
    parts.ticket = decode_ticket(decoder);
    parts.payload = std::move(payload);
    const std::uint64_t deliveries = parts.ticket.earlier_deliveries + leased.lease.deliveries;
    if (parts.ticket.most_deliveries != 0 && deliveries > parts.ticket.most_deliveries)
      throw TaskCrashed(
          fmt::format("the task was handed to {} agents, and none of them came back with a result", deliveries - 1),
          CrashReport(), 1);
    TaskNeeds needs;
    std::optional<ClusterValueId> missing;
    const bool has_all = needs_.find(leased.lease.id.client, parts.ticket, nullptr, needs, missing);
    {
      const MutexGuard guard(mutex_);
      running_.emplace(key, std::move(leased));
      if (!has_all) {
        parked_.emplace(key, std::move(parts));
        changed_.notify_all();
        return;
      }
    }
    start(key, parts, std::move(needs));
  } catch (const std::exception&) {
    settle(std::move(leased), outcome_of_error(std::current_exception()));
  }
}

void Agent::start(const std::string& key, const Parked& parts, TaskNeeds needs) {
  try {
    auto* const made = new LeasedTask(parts.payload, needs.values);
    const LeasedTaskPtr task(made);
    made->drop_reference();  // That of a Future, which there is none of.
    made->set_function(function_of_ticket(parts.ticket.function));
    const std::shared_ptr<ExecutorCore> pool = needs.pool != nullptr ? needs.pool : pool_;
    {
      const MutexGuard guard(mutex_);
      const auto found = running_.find(key);
      if (found == running_.end()) return;  // It was cancelled, or given back.
      found->second.task = task;
      found->second.pool = needs.pool;
    }
    TANDEM_KILL_POINT("agent.begin");
    submit_task(*pool, *task, parts.ticket.options());
    task->add(std::make_unique<OnEnd>(*this, key));
  } catch (const std::exception&) {
    const std::exception_ptr error = std::current_exception();
    settle_running(key, is_broken(key) ? outcome_of_broken(error) : outcome_of_error(error));
  }
}

bool Agent::is_broken(const std::string& key) {
  const MutexGuard guard(mutex_);
  const auto found = running_.find(key);
  return found != running_.end() && found->second.pool != nullptr && !found->second.pool->is_open();
}

void Agent::settle_running(const std::string& key, TaskOutcome outcome) {
  const MutexGuard guard(mutex_);
  std::optional<Leased> leased = take_running(key);
  if (!leased) return;
  outcome.took_ns = std::chrono::nanoseconds(Clock::now() - leased->since).count();
  ended_.push_back({*std::move(leased), std::move(outcome)});
}

std::optional<Leased> Agent::take_running(const std::string& key) {
  const auto found = running_.find(key);
  if (found == running_.end()) return std::nullopt;
  std::optional<Leased> leased(std::move(found->second));
  running_.erase(found);
  parked_.erase(key);
  wanted_.erase(key);
  changed_.notify_all();
  return leased;
}

bool Agent::start_parked(const std::string& key) {
  Parked parts;
  std::string client;
  {
    const MutexGuard guard(mutex_);
    const auto found = parked_.find(key);
    if (found == parked_.end()) return true;
    client = running_.at(key).lease.id.client;
    parts = found->second;
  }
  TaskNeeds needs;
  std::optional<ClusterValueId> missing;
  try {
    const bool has_all = needs_.find(client, parts.ticket, engine_.get(), needs, missing);
    const MutexGuard guard(mutex_);
    if (missing && parked_.contains(key)) wanted_[key] = *missing;
    if (!has_all) return false;
    wanted_.erase(key);
    if (parked_.erase(key) == 0) return true;
  } catch (const std::exception&) {
    settle_running(key, outcome_of_error(std::current_exception()));
    return true;
  }
  start(key, parts, std::move(needs));
  return true;
}

void Agent::fetch_values() {
  std::set<std::string> missed;  // Not looked for again before some time has gone.
  for (;;) {
    std::vector<std::string> keys;
    {
      const MutexGuard guard(mutex_);
      const auto is_new = [&](const auto& one) { return !missed.contains(one.first); };
      const Clock::time_point again = Clock::now() + kFetchAgain;
      while (!over_ && std::none_of(parked_.begin(), parked_.end(), is_new)) {
        if (missed.empty()) {
          changed_.wait(mutex_);
        } else if (Clock::now() < again) {
          changed_.wait_for(mutex_, again - Clock::now());
        } else {
          missed.clear();
        }
      }
      if (over_) return;
      for (const auto& one : parked_)
        if (is_new(one)) keys.push_back(one.first);
    }
    bool wants = false;
    for (const std::string& key : keys) {
      if (start_parked(key)) continue;
      missed.insert(key);
      wants = true;
    }
    // The client hears at once what it is to store again.
    if (wants) announce(false);
  }
}

void Agent::ended(const std::string& key, FutureState& state) noexcept {
  TaskOutcome outcome;
  if (state.outcome() == FutureState::Outcome::Value) {
    outcome = outcome_of_value(std::move(static_cast<LeasedTask&>(state).value()));
    outcome.pid = static_cast<LeasedTask&>(state).pid();
  } else if (state.outcome() == FutureState::Outcome::Error) {
    outcome = is_broken(key) ? outcome_of_broken(state.error()) : outcome_of_error(state.error());
  } else {
    outcome.kind = TaskOutcome::kCancelled;
  }
  settle_running(key, std::move(outcome));
}

void Agent::settle(Leased leased, TaskOutcome outcome) {
  outcome.took_ns = std::chrono::nanoseconds(Clock::now() - leased.since).count();
  const MutexGuard guard(mutex_);
  ended_.push_back({std::move(leased), std::move(outcome)});
  changed_.notify_all();
}

void Agent::on_cancel(const ClusterTaskId& id) {
  const std::string key = key_of(id);
  LeasedTaskPtr task;
  bool waits = false;
  {
    const MutexGuard guard(mutex_);
    if (const auto found = running_.find(key); found != running_.end()) {
      task = found->second.task;
      waits = !task;
    } else if (cancelled_.insert(key).second) {
      // It may come later.
      cancelled_in_order_.push_back(key);
      if (cancelled_in_order_.size() > kMostCancelled) {
        cancelled_.erase(cancelled_in_order_.front());
        cancelled_in_order_.pop_front();
      }
    }
  }
  if (task) static_cast<void>(task->stop());
  if (!waits) return;
  TaskOutcome outcome;
  outcome.kind = TaskOutcome::kCancelled;
  settle_running(key, std::move(outcome));
}

void Agent::drop_unwanted(const std::string& key, bool is_lost) {
  std::optional<Leased> leased;
  {
    const MutexGuard guard(mutex_);
    leased = take_running(key);
  }
  if (!leased) return;
  log_line(LogLevel::Info, "agent {} stops the task {}: {}", settings_.node, key,
           is_lost ? "another agent has its lease" : "its client is silent");
  if (leased->task) static_cast<void>(leased->task->stop());
  if (!is_lost) engine_->give_back(leased->lease);
}

void Agent::listen() {
  for (;;) {
    pollfd wait{signal_.fd(), POLLIN, 0};
    retry_on_signal([&] { return ::poll(&wait, 1, -1); });
    static_cast<void>(signal_.take());
    {
      const MutexGuard guard(mutex_);
      if (over_) return;
      ++stops_;
      changed_.notify_all();
    }
    engine_->stop();
  }
}

void Agent::keep_leases() {
  const milliseconds rhythm = std::min(kAnnounce, settings_.engine.lease_time / 3);
  Clock::time_point announced{};
  for (;;) {
    std::vector<TaskLease> leases;
    bool leaving = false;
    {
      const MutexGuard guard(mutex_);
      const Clock::time_point until = Clock::now() + rhythm;
      while (!over_ && Clock::now() < until) changed_.wait_for(mutex_, until - Clock::now());
      if (over_) return;
      leaving = stops_ > 0;
      for (const auto& [key, leased] : running_) leases.push_back(leased.lease);
      for (const Ended& one : ended_) leases.push_back(one.leased.lease);
      if (handing_over_) leases.push_back(*handing_over_);
    }
    std::vector<std::string> lost;
    for (const TaskLease& lease : leases)
      if (!engine_->renew(lease)) lost.push_back(key_of(lease.id));
    drop_lost(lost);
    drop_silent(leases);
    pools_.retire();
    if (Clock::now() - announced < kAnnounce - rhythm / 2) continue;
    announced = Clock::now();
    announce(leaving);
  }
}

void Agent::drop_lost(const std::vector<std::string>& lost) {
  std::vector<std::string> taken;
  {
    const MutexGuard guard(mutex_);
    const Clock::time_point now = Clock::now();
    const bool connected = engine_->state() == EngineState::Connected;
    for (const std::string& key : lost) {
      const auto found = running_.find(key);
      if (found == running_.end()) continue;
      // While the server is away nobody else can have it; when it is back, this agent may get it once more.
      if (!found->second.lost_since || !connected) found->second.lost_since = now;
      if (now - *found->second.lost_since >= settings_.engine.lease_time + kTakenBy) taken.push_back(key);
    }
  }
  for (const std::string& key : taken) drop_unwanted(key, true);
}

void Agent::drop_silent(const std::vector<TaskLease>& leases) {
  // Who is away hears nobody.
  const Clock::time_point now = Clock::now();
  if (engine_->state() != EngineState::Connected) away_at_ = now;
  if (now - away_at_ < settings_.engine.client_silence) return;
  std::map<std::string, bool> silent;
  for (const TaskLease& lease : leases) {
    const auto [client, is_new] = silent.try_emplace(lease.id.client, false);
    if (is_new) client->second = engine_->is_silent(lease.id.client);
    if (client->second) drop_unwanted(key_of(lease.id), false);
  }
}

void Agent::announce(bool leaving) {
  NodeInfo info;
  std::array<char, 256> host{};
  static_cast<void>(::gethostname(host.data(), host.size() - 1));
  info.host = host.data();
  info.slots = static_cast<std::uint32_t>(settings_.slots);
  {
    const MutexGuard guard(mutex_);
    for (const auto& [key, leased] : running_) info.running.push_back(leased.lease.id);
    for (const Ended& one : ended_) info.running.push_back(one.leased.lease.id);
    for (const auto& [key, value] : wanted_) info.wanted.push_back(value);
    info.leaving = leaving || stops_ > 0;
  }
  std::vector<std::shared_ptr<ExecutorCore>> pools = pools_.all();
  pools.push_back(pool_);
  for (const auto& pool : pools) {
    for (WorkerInfo& worker : pool->workers()) {
      add_usage(worker);
      info.cpu_time_ns += worker.cpu_time.count();
      info.memory_bytes += worker.memory_bytes;
    }
  }
  engine_->announce(std::move(info));
}

void Agent::hand_over() {
  for (;;) {
    std::optional<Ended> next;
    {
      const MutexGuard guard(mutex_);
      handing_over_.reset();
      changed_.notify_all();
      while (!over_ && ended_.empty()) changed_.wait(mutex_);
      if (ended_.empty()) return;
      next = std::move(ended_.front());
      ended_.pop_front();
      handing_over_ = next->leased.lease;
      changed_.notify_all();
    }
    TANDEM_KILL_POINT("agent.result");
    // It may wait, while the server is away. From then on the engine renews the lease.
    engine_->finish(next->leased.lease, encode_outcome(next->outcome));
  }
}

void Agent::drain() {
  announce(true);
  std::vector<Leased> late;
  {
    const MutexGuard guard(mutex_);
    log_line(LogLevel::Info, "agent {} leaves: {} tasks run and have {} ms to end", settings_.node, running_.size(),
             settings_.drain_time.count());
    const Deadline deadline = Deadline::after(settings_.drain_time);
    while (!running_.empty() && stops_ < 2 && !deadline.passed())
      changed_.wait_for(mutex_, deadline.left(settings_.drain_time));
    for (auto& [key, leased] : running_) late.push_back(std::move(leased));
    running_.clear();
    parked_.clear();
  }
  for (Leased& leased : late) {
    log_line(LogLevel::Info, "agent {} gives the task {} back", settings_.node, key_of(leased.lease.id));
    if (leased.task) static_cast<void>(leased.task->stop());
    // By way of the client: for the engine it would count as a delivery that nobody came back from.
    TaskOutcome outcome;
    outcome.kind = TaskOutcome::kGivenBack;
    outcome.deliveries = static_cast<std::uint32_t>(leased.lease.deliveries - 1);
    settle(std::move(leased), std::move(outcome));
  }
  {
    const MutexGuard guard(mutex_);
    const Deadline deadline = Deadline::after(kStoreTime);
    while ((!ended_.empty() || handing_over_) && !deadline.passed())
      changed_.wait_for(mutex_, deadline.left(kStoreTime));
  }
  if (!engine_->drain(kStoreTime))
    log_line(LogLevel::Warning, "agent {} leaves with results that are not stored: their tasks run again",
             settings_.node);
}

}  // namespace

int run_agent(const AgentSettings& settings) {
  Agent agent(settings);
  return agent.run();
}

}  // namespace tandem::detail
