#include "cluster/cluster_place.hpp"

#include <exception>
#include <utility>

#include <tandem/detail/remote_task.hpp>
#include <tandem/error.hpp>

#include "cluster/batch_message.hpp"
#include "core/exception_text.hpp"
#include "core/log.hpp"

namespace tandem::detail {
namespace {

// A node that runs a task has said so within this time.
constexpr std::chrono::seconds kRunning{3};
// How long tasks may wait without a node before that is said.
constexpr std::chrono::seconds kLonely{5};
// How long nothing may be stored before that is said, and when it is said again.
constexpr std::chrono::seconds kRefused{10}, kRefusedAgain{60};

}  // namespace

thread_local const ClusterPlace* ClusterPlace::t_telling = nullptr;

ClusterPlace::Telling::~Telling() {
  engine.reset();
  t_telling = before_;
  const MutexGuard guard(place_.mutex_);
  --place_.telling_;
  if (!place_.core_->is_open()) place_.wake();
}

void ClusterPlace::look() {
  // What is stored before the engine is asked, and has no result after it answered, it must have counted.
  std::vector<std::uint64_t> stored;
  const Clock::time_point before = Clock::now() - kLook;
  {
    const MutexGuard guard(mutex_);
    if (own_engine_->state() == EngineState::Away) away_at_ = Clock::now();
    complain_of_no_nodes();
    complain_of_refusals();
    stored = flights_.stored();
    flights_.queue_rest();
  }
  if (stored.empty()) return census_.pass();
  const std::optional<Census> census = own_engine_->census();
  if (!census) return census_.pass();
  const MutexGuard guard(mutex_);
  const std::size_t messages = flights_.keep_stored(stored);
  if (census_.is_loss(*census, messages)) submit_again(stored, before);
}

void ClusterPlace::submit_again(const std::vector<std::uint64_t>& numbers, Clock::time_point before) {
  std::size_t count = 0;
  const Clock::time_point now = Clock::now();
  for (const std::uint64_t number : numbers) {
    Flight& flight = flights_.at(number);
    // The result of one that runs is still to come. What was stored since the last look is most likely there.
    if (now - flight.running_at < kRunning || flight.stored_at > before) continue;
    flights_.submit_again(number, flight);
    ++count;
  }
  if (count > 0)
    log_line(LogLevel::Info, "the server has forgotten tasks of the executor {}: {} are submitted again", core_->name(),
             count);
}

void ClusterPlace::complain_of_no_nodes() {
  const Clock::time_point now = Clock::now();
  if (nodes_.has_any() || flights_.empty()) {
    lonely_since_ = {};
    complained_ = false;
    return;
  }
  if (lonely_since_ == Clock::time_point()) lonely_since_ = now;
  if (complained_ || now - lonely_since_ < kLonely) return;
  complained_ = true;
  log_line(LogLevel::Warning,
           "the tasks of the executor {} wait: no agent of this build ({}) is heard in the pool {}, {} of other builds",
           core_->name(), options_.engine.build_id, options_.engine.pool, nodes_.strangers());
}

void ClusterPlace::complain_of_refusals() {
  const Clock::time_point now = Clock::now();
  if (flights_.empty()) refused_since_.reset();
  if (!refused_since_ || now - *refused_since_ < kRefused || now < refusal_told_until_) return;
  refusal_told_until_ = now + kRefusedAgain;
  log_line(LogLevel::Warning, "the tasks of the executor {} wait: nothing was stored for {} s: {}", core_->name(),
           std::chrono::duration_cast<std::chrono::seconds>(now - *refused_since_).count(), refused_why_);
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
  Flights::Map lost;
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    engine = engine_;
    lost = flights_.take_all();
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

void ClusterPlace::on_result(const ClusterTaskId& id, const std::string& node, std::vector<std::byte> result) {
  {
    const MutexGuard guard(mutex_);
    if (core_ == nullptr) return;  // It cannot be of a task of this place, which has had none yet.
    ++telling_;
  }
  Telling telling(*this);
  if (!is_batch(id)) {
    take(id, id.number, node, result);
  } else {
    try {
      for (const BatchItem& item : decode_batch(result))
        take({id.client, item.number, item.attempt}, id.number, node, item.bytes);
    } catch (const std::exception& error) {
      // What is missing then is missing in the census, too.
      log_line(LogLevel::Warning, "results from node {} that cannot be read: {}", node, error.what());
    }
  }
  {
    const MutexGuard guard(mutex_);
    fill();
    if (may_submit_here() && core_->is_open()) {
      telling.engine = engine_;
    } else if (!flights_.none_waits()) {
      wake();
    }
  }
  // By this thread, which has the core now.
  if (telling.engine == nullptr || submit_here(*telling.engine)) return;
  const MutexGuard guard(mutex_);
  wake();
}

void ClusterPlace::take(const ClusterTaskId& id, std::uint64_t carrier, const std::string& node,
                        std::span<const std::byte> result) noexcept {
  TaskOutcome outcome;
  try {
    outcome = decode_outcome(result);
  } catch (const std::exception&) {
    outcome = outcome_of_error(std::current_exception());
  }
  const bool not_begun = outcome.kind == TaskOutcome::kNotBegun;
  TaskPtr task;
  {
    const MutexGuard guard(mutex_);
    Flight* const found = flights_.find(id.number);
    if (found == nullptr) return stopped_.erase(carrier, id);  // It came before, or nobody wants it any more.
    Flight& flight = *found;
    const bool is_abandoned = outcome.kind == TaskOutcome::kAbandoned;
    const bool is_back = not_begun || is_abandoned || outcome.kind == TaskOutcome::kGivenBack;
    // An earlier attempt may come late, or twice.
    if (is_back && flight.attempt != id.attempt) return;
    if (outcome.kind == TaskOutcome::kGivenBack) {
      flight.deliveries += outcome.deliveries;
      return flights_.submit_again(id.number, flight);
    }
    // Leases end while the server is away, and no agent has died for it.
    if (is_abandoned && away_at_ > flight.stored_at) {
      log_line(LogLevel::Info,
               "a task of the executor {} was handed to {} agents, but the server was away: it is submitted again",
               core_->name(), outcome.deliveries);
      flight.deliveries = 0;
      return flights_.submit_again(id.number, flight);
    }
    if (not_begun) {
      pace_.note_long();
    } else {
      pace_.note(outcome.took_ns);
    }
    task = std::move(flight.task);
    flights_.erase(id.number);
  }
  if (not_begun) {
    core_->give_back(*task);
    bool given_up = false;
    {
      const MutexGuard guard(mutex_);
      given_up = given_up_;
    }
    if (given_up) core_->end_backlog();
  } else {
    tell(*task, std::move(outcome), node);
  }
}

void ClusterPlace::tell(Task& task, TaskOutcome outcome, const std::string& node) noexcept {
  std::exception_ptr error;
  const bool is_broken = outcome.kind == TaskOutcome::kBroken;
  const bool is_final = outcome.kind == TaskOutcome::kCancelled || is_broken;
  try {
    if (task.state().running()) {
      const pid_t pid = outcome.report ? outcome.report->pid : outcome.pid;
      note_in_trace(task, node, pid, std::chrono::nanoseconds(outcome.took_ns));
    }
    if (outcome.kind == TaskOutcome::kValue) {
      if (!task.state().claim_running()) return;
      Decoder decoder(outcome.value);
      const FutureState::Outcome kind = static_cast<RemoteTask&>(task).take_result(decoder);
      task.forget();
      return core_->finished(task, kind);
    }
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
  std::vector<ClusterTaskId> stopped;
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    if (over_) return;
    note_node(info);
    for (const ClusterTaskId& id : info.running)
      if (id.client == client_) stopped_.append_carried_by(id.number, stopped);
    if (stopped.empty() || engine_ == nullptr || core_ == nullptr) return;
    engine = engine_;
    ++telling_;
  }
  Telling telling(*this);
  telling.engine = std::move(engine);
  // It has not heard of that: the server was away, or the task was elsewhere then.
  for (const ClusterTaskId& id : stopped) cancel(*telling.engine, id, info.node);
}

void ClusterPlace::note_node(const NodeInfo& info) {
  const Clock::time_point now = Clock::now();
  if (info.build_id != options_.engine.build_id) {
    if (nodes_.hear_stranger(info.node, now))
      log_line(LogLevel::Info, "node {} runs another build ({}) and gets no tasks of this one", info.node,
               info.build_id);
    return;
  }
  const bool is_new = !nodes_.all().contains(info.node);
  const std::size_t before = slots();
  HeardNode& node = nodes_.hear(info, now);
  for (const ClusterValueId& id : info.wanted)
    if (id.client == client_ && values_.lose(id.number)) wake();
  for (const ClusterTaskId& id : info.running) {
    if (id.client != client_) continue;
    for (Flights::Map::value_type* const one : flights_.carried_by(id.number)) {
      one->second.running_at = now;
      one->second.node = info.node;
      if (!node.task) node.task = one->first;
    }
  }
  if (is_new || slots() != before) wake();
}

bool ClusterPlace::in_own_thread() const {
  if (t_telling == this) return true;
  const MutexGuard guard(mutex_);
  return is_current(thread_);
}

}  // namespace tandem::detail
