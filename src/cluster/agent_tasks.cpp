#include "cluster/agent_core.hpp"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <tandem/cluster_options.hpp>
#include <tandem/error.hpp>

#include "cluster/batch_message.hpp"
#include "core/kill_point.hpp"
#include "core/log.hpp"

namespace tandem::detail {
namespace {

// How soon a value is looked for again that was not there.
constexpr std::chrono::milliseconds kFetchAgain{200};
// What an outcome has besides its value: less.
constexpr std::size_t kOutcomeCost = 1024;

}  // namespace

/// Kept by the state of a task.
struct AgentCore::OnEnd final : Continuation {
  OnEnd(AgentCore& to, std::string of) : agent(to), key(std::move(of)) {}
  void run(FutureState& state) noexcept override { agent.ended(key, state); }
  AgentCore& agent;
  const std::string key;
};

void AgentCore::begin(TaskLease lease) {
  const std::string key = key_of(lease.id);
  std::vector<std::byte> payload = std::move(lease.payload);
  lease.payload = {};
  const auto carrier = std::make_shared<Carrier>();
  {
    const MutexGuard guard(mutex_);
    if (const CarrierPtr found = carriers_.find(key)) {
      found->lease = std::move(lease);  // The one before has ended by time; the task runs still.
      found->lost_since.reset();
      return;
    }
    carrier->lease = std::move(lease);
    carriers_.add(key, carrier);
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
    carriers_.drop(key);
    carriers_.end(carrier);
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

void AgentCore::begin_task(const Leased& leased, std::vector<std::byte> payload) {
  const std::string key = key_of(leased.id);
  try {
    Parked parts;
    Decoder decoder(payload);
    parts.ticket = decode_ticket(decoder);
    parts.payload = std::move(payload);
    const std::uint64_t deliveries = parts.ticket.earlier_deliveries + leased.carrier->lease.deliveries;
    if (parts.ticket.most_deliveries != 0 && deliveries > parts.ticket.most_deliveries)
      return settle(leased, outcome_of_abandoned(static_cast<std::uint32_t>(deliveries - 1)));
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

void AgentCore::start(const std::string& key, const Parked& parts, TaskNeeds needs) {
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

bool AgentCore::is_broken(const std::string& key) {
  const MutexGuard guard(mutex_);
  const auto found = running_.find(key);
  return found != running_.end() && found->second.pool != nullptr && !found->second.pool->is_open();
}

void AgentCore::settle_running(const std::string& key, TaskOutcome outcome) {
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

std::optional<AgentCore::Leased> AgentCore::take_running(const std::string& key) {
  const auto found = running_.find(key);
  if (found == running_.end()) return std::nullopt;
  std::optional<Leased> leased(std::move(found->second));
  running_.erase(found);
  parked_.erase(key);
  wanted_.erase(key);
  return leased;
}

bool AgentCore::start_parked(const std::string& key) {
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

void AgentCore::fetch_values() {
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

void AgentCore::ended(const std::string& key, FutureState& state) noexcept {
  TaskOutcome outcome;
  if (state.outcome() == FutureState::Outcome::Value) {
    outcome = outcome_of_value(std::move(static_cast<LeasedTask&>(state).value()));
    outcome.pid = static_cast<LeasedTask&>(state).pid();
    try {
      check_fits("a result", outcome.bytes.size() + kOutcomeCost, engine_->most_payload_bytes());
    } catch (const ClusterError&) {
      outcome = outcome_of_error(std::current_exception());
    }
  } else if (state.outcome() == FutureState::Outcome::Error) {
    outcome = is_broken(key) ? outcome_of_broken(state.error()) : outcome_of_error(state.error());
  } else {
    outcome.kind = TaskOutcome::kCancelled;
  }
  settle_running(key, std::move(outcome));
}

void AgentCore::settle(const Leased& leased, TaskOutcome outcome) {
  {
    const MutexGuard guard(mutex_);
    if (!note_outcome(leased, std::move(outcome))) return;
  }
  finish_here(leased.carrier);
}

bool AgentCore::note_outcome(const Leased& leased, TaskOutcome outcome) {
  switch (carriers_.note_outcome(leased.carrier, leased.id, std::move(outcome))) {
    case TaskCarriers::Next::Run:
      if (running_.size() < settings_.slots) room_changed_.notify_all();
      return false;
    case TaskCarriers::Next::HandOver:
      all_ended_.notify_all();
      return false;
    case TaskCarriers::Next::HandOverHere:
      break;
  }
  return true;
}

void AgentCore::finish_here(const CarrierPtr& carrier) {
  finish(carrier);
  const MutexGuard guard(mutex_);
  handed_over();
}

void AgentCore::handed_over() {
  carriers_.handed_over();
  room_changed_.notify_all();
  if (carriers_.ended() > 0) all_ended_.notify_all();
}

void AgentCore::finish(const CarrierPtr& carrier) {
  TANDEM_KILL_POINT("agent.result");
  // It may wait, while the server is away. From then on the engine renews the lease.
  if (!is_batch(carrier->lease.id)) return engine_->finish(carrier->lease, std::move(carrier->outcomes.front().bytes));
  std::vector<std::byte> all;
  for (const BatchItem& item : carrier->outcomes) add_to_batch(all, item);
  if (all.size() > engine_->most_payload_bytes()) {
    // Each by itself has room: once more, alone.
    TaskOutcome again;
    again.kind = TaskOutcome::kGivenBack;
    all.clear();
    for (const BatchItem& item : carrier->outcomes)
      add_to_batch(all, {item.number, item.attempt, encode_outcome(again)});
  }
  engine_->finish(carrier->lease, std::move(all));
}

void AgentCore::on_cancel(const ClusterTaskId& id) {
  const std::string key = key_of(id);
  LeasedTaskPtr task;
  bool waits = false;
  {
    const MutexGuard guard(mutex_);
    if (const auto found = running_.find(key); found != running_.end()) {
      task = found->second.task;
      waits = !task;
    } else {
      cancelled_.remember(key);  // It may come later.
    }
  }
  if (task) static_cast<void>(task->stop());
  if (!waits) return;
  TaskOutcome outcome;
  outcome.kind = TaskOutcome::kCancelled;
  settle_running(key, std::move(outcome));
}

}  // namespace tandem::detail
