#include "cluster/agent.hpp"

#include <malloc.h>
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
#include "cluster/batch_message.hpp"
#include "cluster/cluster_entry.hpp"
#include "cluster/nats_engine.hpp"
#include "cluster/stop_signal.hpp"
#include "cluster/task_message.hpp"
#include "core/kill_point.hpp"
#include "core/log.hpp"
#include "core/mutex.hpp"
#include "executor/executor_core.hpp"
#include "executor/process_place.hpp"
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
// How long a task waits here behind others, and a result for those of its batch, before the client is told.
constexpr milliseconds kPatience{50};
// What takes no longer is followed by the next one at once.
constexpr double kShortNanoseconds = 5e6;
constexpr std::size_t kSmallBytes = std::size_t{64} << 10;
// Free memory that an agent does not give back to the kernel.
constexpr int kKeptBytes = 64 << 20;
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

/// What came with one lease: a task, or a batch of them. Of those that have ended their outcomes are here.
struct Carrier {
  TaskLease lease;                  // Without the payload.
  std::vector<BatchItem> outcomes;  // As the result has them.
  std::size_t tasks = 0;
  std::size_t told = 0;  // Outcomes that the client has been told while others ran.
  unsigned parts = 0;
  Clock::time_point since = Clock::now();
  Clock::time_point ended_at;                     // The latest.
  std::optional<Clock::time_point> lost_since{};  // Its lease.
};
using CarrierPtr = std::shared_ptr<Carrier>;

/// A task that runs here or waits for what it needs.
struct Leased {
  CarrierPtr carrier;
  ClusterTaskId id;
  LeasedTaskPtr task{};  // Null while it waits.
  std::shared_ptr<ExecutorCore> pool{};
  bool not_begun = false;  // It is taken back.
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
  void on_cancel(const ClusterTaskId& id) override TANDEM_EXCLUDES(mutex_);
  void begin(TaskLease lease) TANDEM_EXCLUDES(mutex_);
  void begin_task(const Leased& leased, std::vector<std::byte> payload) TANDEM_EXCLUDES(mutex_);
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
  void settle(const Leased& leased, TaskOutcome outcome) TANDEM_EXCLUDES(mutex_);
  /// Whether the caller is to hand the result over: a small one is there sooner without another thread.
  bool note_outcome(const Leased& leased, TaskOutcome outcome) TANDEM_REQUIRES(mutex_);
  void finish_here(const CarrierPtr& carrier) TANDEM_EXCLUDES(mutex_);
  void wake_all() TANDEM_REQUIRES(mutex_) {
    room_changed_.notify_all();
    all_ended_.notify_all();
    parked_changed_.notify_all();
    watch_.notify_all();
  }
  /// Hands its result over.
  void finish(const CarrierPtr& carrier);
  void handed_over() TANDEM_REQUIRES(mutex_);
  /// Sends back what waits behind others for too long, and tells what has ended in a batch of which others run on.
  void see_to_batches() TANDEM_EXCLUDES(mutex_);
  bool has_batches() const TANDEM_REQUIRES(mutex_);
  std::size_t room() const TANDEM_REQUIRES(mutex_);
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
  // Each thread has its own, so that what one waits for does not wake the others.
  ConditionVariable room_changed_;                   // For run() and drain().
  ConditionVariable all_ended_;                      // For hand_over().
  ConditionVariable parked_changed_;                 // For fetch_values().
  ConditionVariable watch_;                          // For keep_leases(),
  bool watching_ TANDEM_GUARDED_BY(mutex_) = false;  // which looks at batches now.
  ValueCache values_;
  InitializedPools pools_;
  NeedsFinder needs_{values_, pools_};
  std::map<std::string, Leased> running_ TANDEM_GUARDED_BY(mutex_);
  std::map<std::string, Parked> parked_ TANDEM_GUARDED_BY(mutex_);          // Of those.
  std::map<std::string, ClusterValueId> wanted_ TANDEM_GUARDED_BY(mutex_);  // What they miss.
  std::map<std::string, CarrierPtr> carriers_ TANDEM_GUARDED_BY(mutex_);    // Of those, by the lease's.
  double carrier_nanoseconds_ TANDEM_GUARDED_BY(mutex_) = 0;                // What one takes; 0: unknown.
  std::deque<CarrierPtr> ended_ TANDEM_GUARDED_BY(mutex_);                  // All of their tasks have.
  CarrierPtr handing_over_ TANDEM_GUARDED_BY(mutex_);
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
  take_back_behind_long_tasks();
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
    wake_all();
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
    if (const std::size_t room = this->room(); room > 0) return room;
    room_changed_.wait(mutex_);
  }
}

std::size_t Agent::room() const {
  // Results that cannot be handed over keep their place: this process is not to be filled with them.
  const std::size_t used = running_.size() + ended_.size();
  if (used < settings_.slots) return settings_.slots - used;
  // One more is on its way while the others run, if that is soon over, and none is here that an agent has died with: it
  // would be handed out once more for nothing.
  const Clock::time_point now = Clock::now();
  const bool all_short = std::all_of(carriers_.begin(), carriers_.end(), [&](const auto& one) {
    const auto age = static_cast<double>(std::chrono::nanoseconds(now - one.second->since).count());
    return age < kShortNanoseconds && one.second->lease.deliveries == 1 && one.second->lease.id.attempt == 1;
  });
  return carrier_nanoseconds_ > 0 && carrier_nanoseconds_ < kShortNanoseconds && all_short &&
                 carriers_.size() + ended_.size() <= settings_.slots
             ? 1
             : 0;
}

void Agent::begin(TaskLease lease) {
  const std::string key = key_of(lease.id);
  std::vector<std::byte> payload = std::move(lease.payload);
  lease.payload = {};
  const auto carrier = std::make_shared<Carrier>();
  {
    const MutexGuard guard(mutex_);
    if (const auto found = carriers_.find(key); found != carriers_.end()) {
      found->second->lease = std::move(lease);  // The one before has ended by time; the task runs still.
      found->second->lost_since.reset();
      return;
    }
    carrier->lease = std::move(lease);
    carriers_.emplace(key, carrier);
  }
  const ClusterTaskId id = carrier->lease.id;
  if (!is_batch(id)) {
    carrier->tasks = 1;
    return begin_task({carrier, id}, std::move(payload));
  }
  std::vector<BatchItem> items;
  try {
    items = decode_batch(payload);
  } catch (const std::exception& error) {
    log_line(LogLevel::Warning, "a batch of tasks that cannot be read: {}", error.what());
  }
  carrier->tasks = items.size();
  if (items.empty()) {
    const MutexGuard guard(mutex_);
    carriers_.erase(key);
    ended_.push_back(carrier);
    all_ended_.notify_all();
    return;
  }
  for (BatchItem& item : items) {
    const Leased leased{carrier, {id.client, item.number, item.attempt}};
    if (carrier->lease.deliveries > 1) {
      // Its agent has died, perhaps of one of these: each is on its own from now on.
      TaskOutcome outcome;
      outcome.kind = TaskOutcome::kGivenBack;
      outcome.deliveries = static_cast<std::uint32_t>(carrier->lease.deliveries - 1);
      settle(leased, std::move(outcome));
    } else {
      begin_task(leased, std::move(item.bytes));
    }
  }
}

void Agent::begin_task(const Leased& leased, std::vector<std::byte> payload) {
  const std::string key = key_of(leased.id);
  try {
    Parked parts;
    Decoder decoder(payload);
    parts.ticket = decode_ticket(decoder);
    parts.payload = std::move(payload);
    const std::uint64_t deliveries = parts.ticket.earlier_deliveries + leased.carrier->lease.deliveries;
    if (parts.ticket.most_deliveries != 0 && deliveries > parts.ticket.most_deliveries)
      throw TaskCrashed(
          fmt::format("the task was handed to {} agents, and none of them came back with a result", deliveries - 1),
          CrashReport(), 1);
    TaskNeeds needs;
    std::optional<ClusterValueId> missing;
    const bool has_all = needs_.find(leased.id.client, parts.ticket, nullptr, needs, missing);
    bool cancelled = false;
    {
      const MutexGuard guard(mutex_);
      cancelled = cancelled_.contains(key);
      if (!cancelled) running_.emplace(key, leased);
      if (!cancelled && !has_all) {
        parked_.emplace(key, std::move(parts));
        parked_changed_.notify_all();
        return;
      }
      if (!watching_ && has_batches()) watch_.notify_all();
    }
    if (!cancelled) return start(key, parts, std::move(needs));
    TaskOutcome outcome;
    outcome.kind = TaskOutcome::kCancelled;
    settle(leased, std::move(outcome));
  } catch (const std::exception&) {
    settle(leased, outcome_of_error(std::current_exception()));
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
  std::optional<Leased> leased;
  {
    const MutexGuard guard(mutex_);
    leased = take_running(key);
    if (!leased) return;
    if (leased->not_begun && outcome.kind == TaskOutcome::kCancelled) outcome.kind = TaskOutcome::kNotBegun;
    if (!note_outcome(*leased, std::move(outcome))) return;
  }
  finish_here(leased->carrier);
}

std::optional<Leased> Agent::take_running(const std::string& key) {
  const auto found = running_.find(key);
  if (found == running_.end()) return std::nullopt;
  std::optional<Leased> leased(std::move(found->second));
  running_.erase(found);
  parked_.erase(key);
  wanted_.erase(key);
  return leased;
}

bool Agent::start_parked(const std::string& key) {
  Parked parts;
  std::string client;
  {
    const MutexGuard guard(mutex_);
    const auto found = parked_.find(key);
    if (found == parked_.end()) return true;
    client = running_.at(key).id.client;
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
          parked_changed_.wait(mutex_);
        } else if (Clock::now() < again) {
          parked_changed_.wait_for(mutex_, again - Clock::now());
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

void Agent::settle(const Leased& leased, TaskOutcome outcome) {
  {
    const MutexGuard guard(mutex_);
    if (!note_outcome(leased, std::move(outcome))) return;
  }
  finish_here(leased.carrier);
}

bool Agent::note_outcome(const Leased& leased, TaskOutcome outcome) {
  Carrier& carrier = *leased.carrier;
  const Clock::time_point now = Clock::now();
  const std::size_t ended = carrier.outcomes.size() + 1;
  // Of a batch each has taken its share of the time, as far as one knows: who waited has not run.
  const auto beside = static_cast<std::int64_t>(std::min(settings_.slots, carrier.tasks));
  outcome.took_ns = std::chrono::nanoseconds(now - carrier.since).count() * beside / static_cast<std::int64_t>(ended);
  carrier.outcomes.push_back({leased.id.number, leased.id.attempt, encode_outcome(outcome)});
  carrier.ended_at = now;
  if (ended < carrier.tasks) {
    if (running_.size() < settings_.slots) room_changed_.notify_all();
    return false;
  }
  const auto took = static_cast<double>(std::chrono::nanoseconds(now - carrier.since).count());
  carrier_nanoseconds_ += (took - carrier_nanoseconds_) * (took > carrier_nanoseconds_ ? 0.5 : 0.125);
  // It may have been dropped, and come again.
  const auto found = carriers_.find(key_of(carrier.lease.id));
  if (found != carriers_.end() && found->second == leased.carrier) carriers_.erase(found);
  if (!ended_.empty() || handing_over_ != nullptr || carrier.outcomes.front().bytes.size() > kSmallBytes ||
      is_batch(carrier.lease.id)) {
    ended_.push_back(leased.carrier);
    all_ended_.notify_all();
    return false;
  }
  handing_over_ = leased.carrier;
  return true;
}

void Agent::finish_here(const CarrierPtr& carrier) {
  finish(carrier);
  const MutexGuard guard(mutex_);
  handed_over();
}

void Agent::handed_over() {
  handing_over_.reset();
  room_changed_.notify_all();
  if (!ended_.empty()) all_ended_.notify_all();
}

void Agent::finish(const CarrierPtr& carrier) {
  TANDEM_KILL_POINT("agent.result");
  // It may wait, while the server is away. From then on the engine renews the lease.
  if (!is_batch(carrier->lease.id)) return engine_->finish(carrier->lease, std::move(carrier->outcomes.front().bytes));
  std::vector<std::byte> all;
  for (const BatchItem& item : carrier->outcomes) add_to_batch(all, item);
  engine_->finish(carrier->lease, std::move(all));
}

bool Agent::has_batches() const {
  return running_.size() > settings_.slots ||
         std::any_of(carriers_.begin(), carriers_.end(), [](const auto& one) { return one.second->tasks > 1; });
}

void Agent::see_to_batches() {
  struct Part {
    TaskLease lease;
    std::vector<std::byte> bytes;
    unsigned number = 0;
  };
  std::vector<Part> parts;
  std::vector<LeasedTaskPtr> waiting;
  {
    const MutexGuard guard(mutex_);
    const Clock::time_point late = Clock::now() - kPatience;
    for (const auto& [key, carrier] : carriers_) {
      if (carrier->told == carrier->outcomes.size() || carrier->ended_at > late) continue;
      Part part{carrier->lease, {}, ++carrier->parts};
      for (; carrier->told < carrier->outcomes.size(); ++carrier->told)
        add_to_batch(part.bytes, carrier->outcomes[carrier->told]);
      parts.push_back(std::move(part));
    }
    // As many as there are slots stay: the pool may be about to begin them.
    std::size_t stay = settings_.slots;
    for (const auto& [key, leased] : running_)
      if (leased.task && !leased.task->pending()) stay -= std::min<std::size_t>(stay, 1);
    for (auto& [key, leased] : running_) {
      if (!leased.task || !leased.task->pending() || leased.carrier->since > late) continue;
      if (stay > 0) {
        --stay;
        continue;
      }
      leased.not_begun = true;
      waiting.push_back(leased.task);
    }
  }
  for (const LeasedTaskPtr& task : waiting) static_cast<void>(task->cancel());
  for (Part& part : parts) engine_->tell(part.lease, std::move(part.bytes), part.number);
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
  CarrierPtr carrier;
  std::vector<LeasedTaskPtr> tasks;
  {
    const MutexGuard guard(mutex_);
    const auto found = carriers_.find(key);
    if (found == carriers_.end()) return;
    carrier = std::move(found->second);
    carriers_.erase(found);
    std::erase_if(running_, [&](const auto& one) TANDEM_NO_THREAD_SAFETY_ANALYSIS {
      if (one.second.carrier != carrier) return false;
      if (one.second.task) tasks.push_back(one.second.task);
      parked_.erase(one.first);
      wanted_.erase(one.first);
      return true;
    });
    room_changed_.notify_all();
  }
  log_line(LogLevel::Info, "agent {} stops the task {}: {}", settings_.node, key,
           is_lost ? "another agent has its lease" : "its client is silent");
  for (const LeasedTaskPtr& task : tasks) static_cast<void>(task->stop());
  if (!is_lost) engine_->give_back(carrier->lease);
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
      wake_all();
    }
    engine_->stop();
  }
}

void Agent::keep_leases() {
  const milliseconds rhythm = std::min(kAnnounce, settings_.engine.lease_time / 3);
  Clock::time_point announced{};
  Clock::time_point next = Clock::now() + rhythm;
  for (;;) {
    std::vector<TaskLease> leases;
    bool leaving = false;
    bool is_due = false;
    {
      const MutexGuard guard(mutex_);
      while (!over_ && Clock::now() < next && !has_batches()) watch_.wait_for(mutex_, next - Clock::now());
      watching_ = true;
      if (!over_ && Clock::now() < next)
        watch_.wait_for(mutex_, std::min<Clock::duration>(kPatience, next - Clock::now()));
      watching_ = false;
      if (over_) return;
      leaving = stops_ > 0;
      is_due = Clock::now() >= next;
      if (is_due) {
        for (const auto& [key, carrier] : carriers_) leases.push_back(carrier->lease);
        for (const CarrierPtr& one : ended_) leases.push_back(one->lease);
        if (handing_over_ != nullptr) leases.push_back(handing_over_->lease);
      }
    }
    see_to_batches();
    if (!is_due) continue;
    next = Clock::now() + rhythm;
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
      const auto found = carriers_.find(key);
      if (found == carriers_.end()) continue;
      Carrier& carrier = *found->second;
      // While the server is away nobody else can have it; when it is back, this agent may get it once more.
      if (!carrier.lost_since || !connected) carrier.lost_since = now;
      if (now - *carrier.lost_since >= settings_.engine.lease_time + kTakenBy) taken.push_back(key);
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
    for (const auto& [key, carrier] : carriers_) info.running.push_back(carrier->lease.id);
    for (const CarrierPtr& one : ended_) info.running.push_back(one->lease.id);
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
    CarrierPtr next;
    {
      const MutexGuard guard(mutex_);
      while (!over_ && (ended_.empty() || handing_over_ != nullptr)) all_ended_.wait(mutex_);
      if (ended_.empty()) return;
      next = std::move(ended_.front());
      ended_.pop_front();
      handing_over_ = next;
    }
    finish(next);
    const MutexGuard guard(mutex_);
    handed_over();
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
      room_changed_.wait_for(mutex_, deadline.left(settings_.drain_time));
    for (auto& [key, leased] : running_) late.push_back(std::move(leased));
    running_.clear();
    parked_.clear();
  }
  for (const Leased& leased : late) {
    log_line(LogLevel::Info, "agent {} gives the task {} back", settings_.node, key_of(leased.id));
    if (leased.task) static_cast<void>(leased.task->stop());
    // By way of the client: for the engine it would count as a delivery that nobody came back from.
    TaskOutcome outcome;
    outcome.kind = TaskOutcome::kGivenBack;
    outcome.deliveries = static_cast<std::uint32_t>(leased.carrier->lease.deliveries - 1);
    settle(leased, std::move(outcome));
  }
  {
    const MutexGuard guard(mutex_);
    const Deadline deadline = Deadline::after(kStoreTime);
    while ((!ended_.empty() || handing_over_) && !deadline.passed())
      room_changed_.wait_for(mutex_, deadline.left(kStoreTime));
  }
  if (!engine_->drain(kStoreTime))
    log_line(LogLevel::Warning, "agent {} leaves with results that are not stored: their tasks run again",
             settings_.node);
}

}  // namespace

int run_agent(const AgentSettings& settings) {
  // Otherwise each payload of some size costs new pages, which the kernel has to fill.
  static_cast<void>(::mallopt(M_MMAP_THRESHOLD, kKeptBytes / 2));
  static_cast<void>(::mallopt(M_TRIM_THRESHOLD, kKeptBytes));
  Agent agent(settings);
  return agent.run();
}

}  // namespace tandem::detail
