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

#include "cluster/cluster_entry.hpp"
#include "cluster/nats_engine.hpp"
#include "cluster/stop_signal.hpp"
#include "cluster/task_message.hpp"
#include "core/kill_point.hpp"
#include "core/log.hpp"
#include "core/mutex.hpp"
#include "executor/executor_core.hpp"
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
// Of cancelled tasks that have not come here yet.
constexpr std::size_t kMostCancelled = 10000;

std::string key_of(const ClusterTaskId& id) {
  return fmt::format("{}.{}.{}", id.client, id.number, id.attempt);
}

/// The task of a client, in the executor of the agent: what it gives are bytes, which only the client can read.
class LeasedTask final : public ResultState<std::vector<std::byte>>, public RemoteTask {
  using State = ResultState<std::vector<std::byte>>;

 public:
  explicit LeasedTask(std::span<const std::byte> payload)
      : State(static_cast<RemoteTask*>(this)),
        RemoteTask(static_cast<FutureState&>(*this), &enter_cluster_task, nullptr) {
    const EncoderLease lease;
    (*lease).write(payload.data(), payload.size());
    payload_.assign(*lease);
  }
  FutureState::Outcome take_result(Decoder& result) noexcept override {
    try {
      std::vector<std::byte> bytes(result.remaining());
      result.read(bytes.data(), bytes.size());
      return store(std::move(bytes));
    } catch (...) {
      write_error(std::current_exception());
      return FutureState::Outcome::Error;
    }
  }
  const std::type_info& callable_type() const noexcept override { return typeid(LeasedTask); }

 private:
  ~LeasedTask() override = default;
};
using LeasedTaskPtr = StatePtr<LeasedTask>;

/// A task that runs here, or has ended and whose result is not handed over yet.
struct Leased {
  TaskLease lease;  // Without the payload.
  LeasedTaskPtr task;
  Clock::time_point since = Clock::now();
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
  std::map<std::string, Leased> running_ TANDEM_GUARDED_BY(mutex_);
  std::deque<Ended> ended_ TANDEM_GUARDED_BY(mutex_);
  std::optional<TaskLease> handing_over_ TANDEM_GUARDED_BY(mutex_);
  std::set<std::string> cancelled_ TANDEM_GUARDED_BY(mutex_);
  std::deque<std::string> cancelled_in_order_ TANDEM_GUARDED_BY(mutex_);
  unsigned stops_ TANDEM_GUARDED_BY(mutex_) = 0;  // Signals to stop.
  bool over_ TANDEM_GUARDED_BY(mutex_) = false;   // The threads are to end.
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

Agent::Agent(const AgentSettings& settings) : settings_(settings), signal_({SIGTERM, SIGINT}) {
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
  static_cast<void>(pool_->shutdown(Backlog::Cancel, Deadline::after(std::chrono::seconds(5))));
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
  const std::vector<std::byte> payload = std::move(lease.payload);
  lease.payload = {};
  Leased leased;
  {
    const MutexGuard guard(mutex_);
    if (const auto found = running_.find(key); found != running_.end()) {
      found->second.lease = std::move(lease);  // The one before has ended by time; the task runs still.
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
    Decoder decoder(payload);
    const TaskTicket ticket = decode_ticket(decoder);
    if (ticket.most_deliveries != 0 && leased.lease.deliveries > ticket.most_deliveries)
      throw TaskCrashed(fmt::format("the task was handed to {} agents, and none of them came back with a result",
                                    leased.lease.deliveries - 1),
                        CrashReport(), 1);
    auto* const made = new LeasedTask(payload);
    leased.task = LeasedTaskPtr(made);
    made->drop_reference();  // That of a Future, which there is none of.
    made->set_function(function_of_ticket(ticket.function));
    const LeasedTaskPtr task = leased.task;
    {
      const MutexGuard guard(mutex_);
      running_.emplace(key, std::move(leased));
    }
    TANDEM_KILL_POINT("agent.begin");
    try {
      submit_task(*pool_, *task, ticket.options());
    } catch (...) {
      const MutexGuard guard(mutex_);
      leased = std::move(running_.extract(key).mapped());
      throw;
    }
    task->add(std::make_unique<OnEnd>(*this, key));
  } catch (const std::exception&) {
    settle(std::move(leased), outcome_of_error(std::current_exception()));
  }
}

void Agent::ended(const std::string& key, FutureState& state) noexcept {
  TaskOutcome outcome;
  if (state.outcome() == FutureState::Outcome::Value) {
    outcome = outcome_of_value(std::move(static_cast<LeasedTask&>(state).value()));
  } else if (state.outcome() == FutureState::Outcome::Error) {
    outcome = outcome_of_error(state.error());
  } else {
    outcome.kind = TaskOutcome::kCancelled;
  }
  Leased leased;
  {
    const MutexGuard guard(mutex_);
    const auto found = running_.find(key);
    if (found == running_.end()) return;  // It was given back.
    leased = std::move(found->second);
    running_.erase(found);
  }
  settle(std::move(leased), std::move(outcome));
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
  {
    const MutexGuard guard(mutex_);
    if (const auto found = running_.find(key); found != running_.end()) {
      task = found->second.task;
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
    // A lease that is lost is no reason to stop: whichever result comes first is taken.
    for (const TaskLease& lease : leases) static_cast<void>(engine_->renew(lease));
    if (Clock::now() - announced < kAnnounce - rhythm / 2) continue;
    announced = Clock::now();
    announce(leaving);
  }
}

void Agent::announce(bool leaving) {
  NodeInfo info;
  std::array<char, 256> host{};
  static_cast<void>(::gethostname(host.data(), host.size() - 1));
  info.host = host.data();
  info.slots = static_cast<std::uint32_t>(settings_.slots);
  info.leaving = leaving;
  {
    const MutexGuard guard(mutex_);
    for (const auto& [key, leased] : running_) info.running.push_back(leased.lease.id);
    for (const Ended& one : ended_) info.running.push_back(one.leased.lease.id);
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
  }
  for (const Leased& leased : late) {
    log_line(LogLevel::Info, "agent {} gives the task {} back", settings_.node, key_of(leased.lease.id));
    static_cast<void>(leased.task->stop());
    engine_->give_back(leased.lease);
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
