#include "cluster/cluster_place.hpp"

#include <algorithm>
#include <random>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include <tandem/detail/remote_task.hpp>
#include <tandem/error.hpp>

#include "cluster/nats_engine.hpp"
#include "cluster/task_message.hpp"
#include "core/check.hpp"
#include "core/exception_text.hpp"
#include "core/log.hpp"
#include "ipc/family.hpp"

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;

// How often it is looked whether the engine still has everything: a few round trips each time.
constexpr std::chrono::seconds kLook{1};
// How long submit() of the engine may wait: then it is looked whether there is something else to do.
constexpr milliseconds kSubmitPatience{100};
// What was not stored, or not taken, is not tried sooner: during an election a server refuses at once.
constexpr milliseconds kSubmitAgain{200};
// A node that was silent for so long counts for nothing: it announces itself once in a second.
constexpr std::chrono::seconds kSilent{10};
// A node that runs a task has said so within this time.
constexpr std::chrono::seconds kRunning{3};
// How long storing a value may wait for room and for the connection.
constexpr milliseconds kStorePatience{1000};
// How long a value is kept that no handle and no task which is out refers to: one that still waits may.
constexpr std::chrono::seconds kKeepValue{10};
// How long tasks may wait without a node before that is said.
constexpr std::chrono::seconds kLonely{5};
// For shorter tasks more are out than there are slots, for about so long a work of each: so that a node has the next
// one when a result leaves.
constexpr double kShortNanoseconds = 5e6, kNanosecondsAhead = 2e6;
constexpr std::size_t kMostAhead = 16;

thread_local const ClusterPlace* t_telling = nullptr;

std::string random_name() {
  std::random_device device;
  return fmt::format("c{:08x}{:08x}{:08x}", device(), device(), device());
}

bool never_alone(const Task&) {
  return false;
}

}  // namespace

ClusterPlace::ClusterPlace(Options options)
    : options_(std::move(options)), client_(random_name()), local_(options_.local) {
  std::shared_ptr<EngineClient> engine = connect_nats_client(options_.engine, client_, *this);
  const MutexGuard guard(mutex_);
  engine_ = std::move(engine);
  own_engine_ = engine_;
}

ClusterPlace::~ClusterPlace() {
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    engine = std::move(engine_);
  }
  if (::getpid() != owner_) {
    // Forked off: the connection and its threads are the other process's, which this one must not disturb.
    static_cast<void>(new std::shared_ptr<EngineClient>(std::move(engine)));
    static_cast<void>(new std::shared_ptr<EngineClient>(std::move(own_engine_)));
    return;
  }
  own_engine_.reset();
  // Without the mutex: it waits for callbacks.
  engine.reset();
}

std::size_t ClusterPlace::hear_slots(std::size_t agents, milliseconds patience) {
  const Deadline deadline = Deadline::after(patience);
  const MutexGuard guard(mutex_);
  while (nodes_.size() < agents && !deadline.passed()) changed_.wait_for(mutex_, deadline.left(kLook));
  return slots();
}

void ClusterPlace::open(std::shared_ptr<ExecutorCore> core) {
  core_ = core.get();
  const ExecutorOptions& options = core->options();
  if (options.gil) throw std::invalid_argument("machines share no Gil: the option is for a ThreadExecutor");
  if (options.start_method || options.tasks_per_child || options.worker_memory_bytes)
    throw std::invalid_argument(
        "how worker processes are started and replaced is up to the agents of a cluster, not to an executor");
}

void ClusterPlace::check(const TaskOptions& options) const {
  if (options.memory_limit_bytes == std::uint64_t{0})
    throw std::invalid_argument("a task cannot have at most 0 bytes of memory");
  if (options.cpu_time_limit && *options.cpu_time_limit <= std::chrono::nanoseconds::zero())
    throw std::invalid_argument("a task's CPU time limit must be above zero");
}

void ClusterPlace::more_work() {
  const MutexGuard guard(mutex_);
  if (!thread_) {
    thread_.emplace(ThreadOptions{.name = core_->name() + "-cluster", .daemon = false},
                    [this, core = core_->shared_from_this()] { run(); });
    try {
      thread_->start();
    } catch (...) {
      thread_.reset();
      throw;
    }
  }
  wake();
}

void ClusterPlace::closed() noexcept {
  const MutexGuard guard(mutex_);
  wake();
}

std::size_t ClusterPlace::slots() const {
  std::size_t all = 0;
  const Clock::time_point now = Clock::now();
  for (const auto& [name, node] : nodes_)
    if (!node.leaving && now - node.heard_at < kSilent) all += node.slots;
  // One in any case: nothing depends on announcements.
  return std::max<std::size_t>(1, options_.workers ? std::min(all, *options_.workers) : all);
}

std::size_t ClusterPlace::window() const {
  const std::size_t slots = this->slots();
  if (task_nanoseconds_ == 0 || task_nanoseconds_ > kShortNanoseconds) return slots;
  const auto ahead = static_cast<std::size_t>(kNanosecondsAhead / std::max(task_nanoseconds_, 1.0));
  return slots * (1 + std::clamp<std::size_t>(ahead, 1, kMostAhead));
}

void ClusterPlace::fill() {
  if (given_up_) return;
  for (;;) {
    const std::size_t window = this->window();
    if (flights_.size() >= window) return core_->call_for_more_work(false);
    core_->take(window - flights_.size(), 1, never_alone, true, taken_);
    if (taken_.empty()) {
      // Another task may have come by now, which its submitter left to this.
      core_->call_for_more_work(true);
      if (!core_->has_queued()) return;
    }
    for (TaskPtr& task : taken_) {
      to_submit_.push_back(++last_number_);
      flights_[last_number_].task = std::move(task);
    }
    taken_.clear();
  }
}

bool ClusterPlace::ended() {
  return !core_->is_open() && flights_.empty() && telling_ == 0 && (given_up_ || !core_->has_queued());
}

void ClusterPlace::run() {
  look_at_ = Clock::now() + kLook;
  for (bool refused = false;;) {
    {
      const MutexGuard guard(mutex_);
      fill();
      if (ended()) break;
      if (to_submit_.empty() || refused) {
        const Clock::duration left = std::min<Clock::duration>(look_at_ - Clock::now(), refused ? kSubmitAgain : kLook);
        if ((!woken_ || refused) && left > Clock::duration::zero()) changed_.wait_for(mutex_, left);
        woken_ = false;
        fill();
      }
    }
    refused = !submit_what_waits();
    if (Clock::now() < look_at_) continue;
    look();
    drop_values();
    find_loss();
    look_at_ = Clock::now() + kLook;
  }
  // Here, where no callback is: its end waits for them. And before the executor's end is told: nothing is left then.
  std::shared_ptr<LocalClusterKeeper> local;
  {
    const MutexGuard guard(mutex_);
    engine_.reset();
    nodes_.clear();
    local = std::move(local_);
  }
  own_engine_.reset();
}

void ClusterPlace::note_value(const SharedObjectPtr& object, Flight& flight) {
  Kept& kept = values_[object->id().generation];
  if (kept.object == nullptr) kept = {object, parcel_bytes(*object).second == 0, Clock::now()};
  flight.values.push_back(object->id().generation);
}

bool ClusterPlace::note_values(Flight& flight) {
  if (flight.values.empty()) {
    for (const SharedObjectPtr& object : values_of(static_cast<const RemoteTask&>(*flight.task)))
      note_value(object, flight);
    if (options_.initializer != nullptr) {
      note_value(options_.initializer, flight);
      for (const auto& [id, kind] : parcel_references(*options_.initializer)) note_value(attach(id, kind), flight);
    }
  }
  return std::all_of(flight.values.begin(), flight.values.end(),
                     [&](std::uint64_t number)
                         TANDEM_NO_THREAD_SAFETY_ANALYSIS { return values_.at(number).is_stored; });
}

bool ClusterPlace::store_values() {
  for (;;) {
    SharedObjectPtr object;
    {
      const MutexGuard guard(mutex_);
      const auto found =
          std::find_if(values_.begin(), values_.end(), [](const auto& one) { return !one.second.is_stored; });
      if (found == values_.end()) return true;
      object = found->second.object;
      // What a node misses from here on is missed again.
      found->second.is_stored = true;
    }
    const std::uint64_t number = object->id().generation;
    const auto [bytes, size] = parcel_bytes(*object);
    if (own_engine_->store_value(number, {bytes, size}, kStorePatience)) continue;
    const MutexGuard guard(mutex_);
    if (const auto found = values_.find(number); found != values_.end()) found->second.is_stored = false;
    return false;
  }
}

void ClusterPlace::drop_values() {
  std::vector<SharedObjectPtr> dropped;
  {
    const MutexGuard guard(mutex_);
    if (values_.empty()) return;
    const Clock::time_point now = Clock::now();
    for (const auto& [number, flight] : flights_)
      for (const std::uint64_t value : flight.values) values_.at(value).used_at = now;
    for (auto at = values_.begin(); at != values_.end();) {
      Kept& kept = at->second;
      // The one is this place's: other handles of this process share it.
      if (kept.object.use_count() > 1) kept.used_at = now;
      const bool is_over = now - kept.used_at > kKeepValue;
      if (is_over) dropped.push_back(std::move(kept.object));
      at = is_over ? values_.erase(at) : std::next(at);
    }
  }
  // A task that still waits in the queue brings it again.
  for (const SharedObjectPtr& object : dropped) own_engine_->erase_value(object->id().generation);
}

TaskTicket ClusterPlace::ticket_of(const Flight& flight) const {
  TaskTicket ticket;
  ticket.most_deliveries = options_.most_deliveries;
  ticket.earlier_deliveries = flight.deliveries;
  for (const SharedObjectPtr& object : values_of(static_cast<const RemoteTask&>(*flight.task)))
    ticket.values.push_back(carried(*object));
  if (options_.initializer != nullptr) ticket.initializer = carried(*options_.initializer);
  return ticket;
}

bool ClusterPlace::submit_what_waits() {
  for (;;) {
    if (!store_values()) return false;
    ClusterTaskId id;
    std::vector<std::byte> payload;
    TaskPtr failed;
    std::exception_ptr error;
    {
      const MutexGuard guard(mutex_);
      if (to_submit_.empty()) return true;
      id.number = to_submit_.front();
      to_submit_.pop_front();
      const auto found = flights_.find(id.number);
      if (found == flights_.end() || found->second.step != Flight::Step::ToSubmit) continue;
      Flight& flight = found->second;
      // With the mutex: who takes the flight out of here may forget the task's arguments then.
      try {
        if (!note_values(flight)) {
          to_submit_.push_front(id.number);
          continue;
        }
        payload = encode_task(static_cast<const RemoteTask&>(*flight.task), ticket_of(flight));
      } catch (const std::exception&) {
        // There is no memory for it.
        failed = std::move(flight.task);
        error = std::current_exception();
      }
      flight.step = Flight::Step::Submitted;
      id.client = client_;
      id.attempt = flight.attempt;
      if (error != nullptr) {
        flights_.erase(found);
        ++telling_;
      }
    }
    if (error != nullptr) {
      core_->failed(*failed, error);
      const MutexGuard guard(mutex_);
      --telling_;
      continue;
    }
    if (own_engine_->submit(id, payload, TaskTarget(), kSubmitPatience)) continue;
    const MutexGuard guard(mutex_);
    if (const auto found = flights_.find(id.number); found != flights_.end()) {
      found->second.step = Flight::Step::ToSubmit;
      to_submit_.push_front(id.number);
    }
    return false;
  }
}

void ClusterPlace::on_stored(const ClusterTaskId& id, const std::vector<std::string>&) {
  const MutexGuard guard(mutex_);
  const auto found = flights_.find(id.number);
  if (found == flights_.end() || found->second.attempt != id.attempt) return;
  found->second.step = Flight::Step::Stored;
  found->second.stored_at = Clock::now();
}

void ClusterPlace::on_submit_error(const ClusterTaskId& id, const std::string& why) {
  log_line(LogLevel::Debug, "a task of the executor {} is not known to be stored: {}", core_->name(), why);
  const MutexGuard guard(mutex_);
  const auto found = flights_.find(id.number);
  // At the next look: at once it would most likely meet what it met now.
  if (found != flights_.end() && found->second.attempt == id.attempt) found->second.step = Flight::Step::ToSubmit;
}

void ClusterPlace::look() {
  // What is stored before the engine is asked, and has no result after it answered, it must have counted.
  std::vector<std::uint64_t> stored;
  const Clock::time_point before = Clock::now() - kLook;
  {
    const MutexGuard guard(mutex_);
    complain_of_no_nodes();
    std::unordered_set<std::uint64_t> waiting(to_submit_.begin(), to_submit_.end());
    for (const auto& [number, flight] : flights_) {
      if (flight.step == Flight::Step::Stored) stored.push_back(number);
      if (flight.step == Flight::Step::ToSubmit && !waiting.contains(number)) to_submit_.push_back(number);
    }
  }
  if (stored.empty()) {
    looks_ = 0;
    return;
  }
  const std::optional<Census> census = own_engine_->census();
  if (!census) {
    looks_ = 0;
    return;
  }
  const bool forgot = generation_ && *generation_ != census->generation;
  generation_ = census->generation;
  const MutexGuard guard(mutex_);
  std::erase_if(stored, [&](std::uint64_t number) TANDEM_NO_THREAD_SAFETY_ANALYSIS {
    const auto found = flights_.find(number);
    return found == flights_.end() || found->second.step != Flight::Step::Stored;
  });
  if (census->tasks + census->results >= stored.size()) {
    looks_ = 0;
  } else if (++looks_ >= 2 || forgot) {
    // Twice: a task that ends is in two places, or in none, for a moment.
    looks_ = 0;
    submit_again(stored, before);
  }
}

void ClusterPlace::submit_again(const std::vector<std::uint64_t>& numbers, Clock::time_point before) {
  std::size_t count = 0;
  const Clock::time_point now = Clock::now();
  for (const std::uint64_t number : numbers) {
    Flight& flight = flights_.at(number);
    // The result of one that runs is still to come. What was stored since the last look is most likely there.
    if (now - flight.running_at < kRunning || flight.stored_at > before) continue;
    ++flight.attempt;
    flight.step = Flight::Step::ToSubmit;
    to_submit_.push_back(number);
    ++count;
  }
  if (count > 0)
    log_line(LogLevel::Info, "the server has forgotten tasks of the executor {}: {} are submitted again", core_->name(),
             count);
}

void ClusterPlace::complain_of_no_nodes() {
  const Clock::time_point now = Clock::now();
  const bool alone = std::none_of(nodes_.begin(), nodes_.end(),
                                  [&](const auto& node) { return now - node.second.heard_at < kSilent; });
  if (!alone || flights_.empty()) {
    lonely_since_ = {};
    complained_ = false;
    return;
  }
  if (lonely_since_ == Clock::time_point()) lonely_since_ = now;
  if (complained_ || now - lonely_since_ < kLonely) return;
  complained_ = true;
  log_line(LogLevel::Warning,
           "the tasks of the executor {} wait: no agent of this build ({}) is heard in the pool {}, {} of other builds",
           core_->name(), options_.engine.build_id, options_.engine.pool, strangers_.size());
}

void ClusterPlace::find_loss() noexcept {
  std::shared_ptr<LocalClusterKeeper> local;
  {
    const MutexGuard guard(mutex_);
    local = local_;
  }
  if (local != nullptr && !local->is_alive())
    return break_off("the local cluster of the executor " + core_->name() + " has ended: " + local->end());
  if (own_engine_->state() == EngineState::Refused)
    break_off("the server of the executor " + core_->name() + " refuses this program now");
}

void ClusterPlace::break_off(const std::string& text) noexcept {
  Flights lost;
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    engine = engine_;
    lost.swap(flights_);
    to_submit_.clear();
    given_up_ = true;
  }
  core_->broke(text);
  for (auto& [number, flight] : lost) {
    if (engine != nullptr) cancel(*engine, {client_, number, flight.attempt}, flight.node);
    core_->failed(*flight.task, std::make_exception_ptr(BrokenExecutor(text)), /*final_error=*/true);
  }
}

void ClusterPlace::cancel(EngineClient& engine, const ClusterTaskId& id, const std::string& node) noexcept {
  try {
    engine.cancel(id, node);
  } catch (const std::exception& error) {
    log_line(LogLevel::Info, "a task runs on to no purpose: {}", error.what());
  }
}

void ClusterPlace::take_back(const ClusterTaskId& id, std::span<const std::byte> result) {
  const std::uint32_t deliveries = decode_outcome(result).deliveries;
  const MutexGuard guard(mutex_);
  const auto found = flights_.find(id.number);
  // An earlier attempt may come late, or twice.
  if (found == flights_.end() || found->second.attempt != id.attempt) return;
  Flight& flight = found->second;
  flight.deliveries += deliveries;
  ++flight.attempt;
  flight.step = Flight::Step::ToSubmit;
  to_submit_.push_back(id.number);
  wake();
}

void ClusterPlace::on_result(const ClusterTaskId& id, const std::string& node, std::vector<std::byte> result) {
  try {
    if (outcome_kind(result) == TaskOutcome::kGivenBack) return take_back(id, result);
  } catch (const std::exception&) {
    // tell() says what is wrong with it.
  }
  TaskPtr task;
  {
    const MutexGuard guard(mutex_);
    const auto found = flights_.find(id.number);
    if (found == flights_.end()) return;  // It came before, or nobody wants it any more.
    task = std::move(found->second.task);
    flights_.erase(found);
    ++telling_;
  }
  t_telling = this;
  tell(*task, id, node, result);
  t_telling = nullptr;
  task.reset();
  const MutexGuard guard(mutex_);
  --telling_;
  wake();
}

void ClusterPlace::tell(Task& task, const ClusterTaskId&, const std::string& node,
                        std::span<const std::byte> result) noexcept {
  std::exception_ptr error;
  bool is_final = false;
  try {
    TaskOutcome outcome = decode_outcome(result);
    const std::chrono::nanoseconds took(outcome.took_ns);
    {
      const MutexGuard guard(mutex_);
      const auto now = static_cast<double>(std::max<std::int64_t>(outcome.took_ns, 1));
      // Long ones count more: what is handed out behind one waits for it.
      task_nanoseconds_ += (now - task_nanoseconds_) * (task_nanoseconds_ == 0    ? 1
                                                        : now > task_nanoseconds_ ? 0.5
                                                                                  : 0.125);
    }
    if (task.state().running()) {
      const pid_t pid = outcome.report ? outcome.report->pid : outcome.pid;
      note_in_trace(task, node, pid, took);
    }
    if (outcome.kind == TaskOutcome::kValue) {
      if (!task.state().claim_running()) return;
      Decoder decoder(outcome.bytes);
      const FutureState::Outcome kind = static_cast<RemoteTask&>(task).take_result(decoder);
      task.forget();
      return core_->finished(task, kind);
    }
    is_final = outcome.kind == TaskOutcome::kCancelled || outcome.kind == TaskOutcome::kBroken;
    const bool is_broken = outcome.kind == TaskOutcome::kBroken;
    error = error_of(std::move(outcome), node, task.attempts());
    if (is_broken) break_off(describe_exception(error).what);
  } catch (const std::exception&) {
    error = std::current_exception();
  }
  core_->failed(task, std::move(error), is_final);
}

void ClusterPlace::note_in_trace(const Task& task, const std::string& node, pid_t pid,
                                 std::chrono::nanoseconds took) const noexcept {
  if (core_->trace() != nullptr) core_->trace()->ran(task, node, pid, Clock::now() - took);
}

void ClusterPlace::on_node(const NodeInfo& info) {
  const MutexGuard guard(mutex_);
  const Clock::time_point now = Clock::now();
  if (info.build_id != options_.engine.build_id) {
    if (strangers_.insert(info.node).second)
      log_line(LogLevel::Info, "node {} runs another build ({}) and gets no tasks of this one", info.node,
               info.build_id);
    return;
  }
  const bool is_new = !nodes_.contains(info.node);
  const std::size_t before = slots();
  std::erase_if(nodes_, [&](const auto& node) { return now - node.second.heard_at > kSilent; });
  Node& node = nodes_[info.node];
  node = {info.slots, std::chrono::nanoseconds(info.cpu_time_ns), info.memory_bytes, info.leaving, now, std::nullopt};
  for (const ClusterValueId& id : info.wanted) {
    const auto found = id.client == client_ ? values_.find(id.number) : values_.end();
    if (found == values_.end() || !found->second.is_stored) continue;
    found->second.is_stored = false;
    wake();
  }
  for (const ClusterTaskId& id : info.running) {
    if (id.client != client_) continue;
    const auto found = flights_.find(id.number);
    if (found == flights_.end()) continue;
    found->second.running_at = now;
    found->second.node = info.node;
    if (!node.task) node.task = id.number;
  }
  if (is_new || slots() != before) wake();
}

ClusterPlace::Flights::iterator ClusterPlace::flight_of(const Task& task) {
  return std::find_if(flights_.begin(), flights_.end(),
                      [&](const auto& flight) { return flight.second.task.get() == &task; });
}

void ClusterPlace::stop(Task& task, Why why) noexcept {
  bool settle = false;
  TaskPtr held;
  ClusterTaskId id;
  std::string node;
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    const auto found = flight_of(task);
    if (found == flights_.end()) {
      // It has ended, and the engine's thread is about to say how.
      settle = why != Why::Deadline && task.state().claim_running();
    } else if (why == Why::Deadline) {
      // The agent counts, from the start in its worker, and says so.
    } else if (task.state().claim_running()) {
      settle = true;
      held = std::move(found->second.task);
      id = {client_, found->first, found->second.attempt};
      node = found->second.node;
      flights_.erase(found);
      engine = engine_;
      wake();
    }
  }
  if (!settle) return;
  if (engine != nullptr) cancel(*engine, id, node);
  task.forget();
  if (why != Why::Cancelled) task.state().write_error(stop_error(task, why));
  core_->finished(task, why == Why::Cancelled ? FutureState::Outcome::Cancelled : FutureState::Outcome::Error);
}

bool ClusterPlace::in_own_thread() const {
  if (t_telling == this) return true;
  const MutexGuard guard(mutex_);
  return thread_ && thread_->id() == current_thread().id();
}

bool ClusterPlace::join(const Deadline& deadline) {
  Thread* thread = nullptr;
  std::shared_ptr<EngineClient> engine;
  std::shared_ptr<LocalClusterKeeper> local;
  {
    const MutexGuard guard(mutex_);
    if (thread_) {
      thread = &*thread_;
    } else {
      engine = std::move(engine_);
      local = std::move(local_);
      nodes_.clear();
    }
  }
  if (thread != nullptr) return thread->join_for(deadline.left(std::chrono::hours(24 * 365)));
  own_engine_.reset();
  return true;
}

std::vector<GivenUpTask> ClusterPlace::give_up() {
  std::vector<GivenUpTask> given_up;
  std::vector<TaskPtr> running;
  {
    const MutexGuard guard(mutex_);
    given_up_ = true;
    for (const auto& [number, flight] : flights_) {
      if (!flight.task->state().running()) continue;
      given_up.push_back({{}, flight.node.empty() ? "the cluster" : flight.node});
      flight.task->state().add_reference();
      running.emplace_back(flight.task.get());
    }
  }
  for (const TaskPtr& task : running) stop(*task, Why::ShutDown);
  for (std::size_t at = 0; at < running.size(); ++at) given_up[at].name = running[at]->name();
  return given_up;
}

void ClusterPlace::run_here(Task& task) noexcept {
  TANDEM_CHECK(false, task.executor(), core_->id());  // No thread of this process runs tasks of this place.
}

std::optional<std::uint64_t> ClusterPlace::begun_items() const {
  // The oldest ones, as many as there is room for: who has begun what is heard once in a second only.
  std::uint64_t items = 0;
  const MutexGuard guard(mutex_);
  std::size_t left = slots();
  for (const auto& [number, flight] : flights_) {
    if (left-- == 0) break;
    items += flight.task->items();
  }
  return items;
}

std::vector<WorkerInfo> ClusterPlace::workers() const {
  std::vector<WorkerInfo> all;
  std::vector<TaskPtr> running;
  {
    const MutexGuard guard(mutex_);
    const Clock::time_point now = Clock::now();
    for (const auto& [name, node] : nodes_) {
      if (now - node.heard_at > kSilent) continue;
      all.push_back({name, 0, 0, {}, node.cpu_time, node.memory_bytes});
      const auto found = node.task ? flights_.find(*node.task) : flights_.end();
      if (found != flights_.end()) found->second.task->state().add_reference();
      running.emplace_back(found != flights_.end() ? found->second.task.get() : nullptr);
    }
  }
  for (std::size_t at = 0; at < all.size(); ++at)
    if (running[at] != nullptr) all[at].task = running[at]->name();
  return all;
}

}  // namespace tandem::detail
