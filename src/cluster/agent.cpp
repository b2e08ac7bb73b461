#include "cluster/agent.hpp"

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cluster/agent_core.hpp"
#include "cluster/nats_engine.hpp"
#include "core/log.hpp"
#include "executor/process_place.hpp"
#include "executor/worker_usage.hpp"
#include "wire/code_address.hpp"

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;

// How often a node says who it is and what it runs.
constexpr milliseconds kAnnounce{1000};
// How long an idle agent waits at the server for tasks: what it costs then is what it does in between.
constexpr milliseconds kLeaseWait{30000};
// How long results have to be stored when an agent leaves.
constexpr milliseconds kStoreTime{10000};
// Within which a lease that has ended is somebody else's, if the server hands it out.
constexpr milliseconds kTakenBy{1000};
// How long a task waits here behind others, and a result for those of its batch, before the client is told.
constexpr milliseconds kPatience{50};
// Free memory that an agent does not give back to the kernel.
constexpr int kKeptBytes = 64 << 20;

}  // namespace

AgentCore::AgentCore(const AgentSettings& settings)
    : settings_(settings),
      signal_({SIGTERM, SIGINT}),
      values_(settings.cache_bytes),
      pools_(settings.node, settings.slots),
      carriers_(settings.slots) {
  // Names of functions come from others here too.
  find_only_loaded_functions();
  take_back_behind_long_tasks();
  ExecutorOptions options;
  options.workers = settings_.slots;
  options.name_prefix = settings_.node;
  pool_ = make_process_executor(std::move(options), nullptr);
  engine_ = connect_nats_agent(settings_.engine, settings_.node, *this);
  const auto start = [this](const char* name, void (AgentCore::*body)()) {
    threads_.emplace_back(ThreadOptions{.name = name, .daemon = false}, [this, body] { (this->*body)(); });
    threads_.back().start();
  };
  start("agent-signals", &AgentCore::listen);
  start("agent-leases", &AgentCore::keep_leases);
  start("agent-results", &AgentCore::hand_over);
  start("agent-values", &AgentCore::fetch_values);
}

AgentCore::~AgentCore() {
  // What is left if it did not drain is nobody's from now on: its end here is no result, and it runs again elsewhere.
  std::map<std::string, Leased> left;
  {
    const MutexGuard guard(mutex_);
    over_ = true;
    left.swap(running_);
    parked_.clear();
    wake_all();
  }
  // Whoever waits for a signal waits for this one as well.
  static_cast<void>(::kill(::getpid(), SIGTERM));
  for (Thread& thread : threads_) thread.join();
  const Deadline deadline = Deadline::after(std::chrono::seconds(5));
  pools_.shut_down(deadline);
  static_cast<void>(pool_->shutdown(Backlog::Cancel, deadline));
}

int AgentCore::run() {
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

std::size_t AgentCore::wait_for_room() {
  const MutexGuard guard(mutex_);
  for (;;) {
    if (stops_ > 0) return 0;
    if (const std::size_t room = this->room(); room > 0) return room;
    room_changed_.wait(mutex_);
  }
}

std::size_t AgentCore::room() const {
  // Results that cannot be handed over keep their place: this process is not to be filled with them.
  const std::size_t used = running_.size() + carriers_.ended();
  if (used < settings_.slots) return settings_.slots - used;
  return carriers_.may_be_one_more() ? 1 : 0;
}

bool AgentCore::has_batches() const {
  return running_.size() > settings_.slots || carriers_.has_batches();
}

void AgentCore::see_to_batches() {
  std::vector<TaskCarriers::Part> parts;
  std::vector<LeasedTaskPtr> waiting;
  {
    const MutexGuard guard(mutex_);
    const Clock::time_point late = Clock::now() - kPatience;
    parts = carriers_.take_parts(late);
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
  // What no store takes is told at the end, in another way, and so is what there is no room for now.
  for (TaskCarriers::Part& part : parts)
    if (part.bytes.size() <= engine_->most_payload_bytes())
      engine_->tell(part.lease, std::move(part.bytes), part.number);
}

void AgentCore::drop_unwanted(const std::string& key, bool is_lost) {
  CarrierPtr carrier;
  std::vector<LeasedTaskPtr> tasks;
  {
    const MutexGuard guard(mutex_);
    carrier = carriers_.drop(key);
    if (carrier == nullptr) return;
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

void AgentCore::listen() {
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

void AgentCore::keep_leases() {
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
      if (is_due) leases = carriers_.leases();
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

void AgentCore::drop_lost(const std::vector<std::string>& lost) {
  std::vector<std::string> taken;
  {
    const MutexGuard guard(mutex_);
    const Clock::time_point now = Clock::now();
    const bool connected = engine_->state() == EngineState::Connected;
    for (const std::string& key : lost) {
      const CarrierPtr found = carriers_.find(key);
      if (found == nullptr) continue;
      Carrier& carrier = *found;
      // While the server is away nobody else can have it; when it is back, this agent may get it once more.
      if (!carrier.lost_since || !connected) carrier.lost_since = now;
      if (now - *carrier.lost_since >= settings_.engine.lease_time + kTakenBy) taken.push_back(key);
    }
  }
  for (const std::string& key : taken) drop_unwanted(key, true);
}

void AgentCore::drop_silent(const std::vector<TaskLease>& leases) {
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

void AgentCore::announce(bool leaving) {
  NodeInfo info;
  std::array<char, 256> host{};
  static_cast<void>(::gethostname(host.data(), host.size() - 1));
  info.host = host.data();
  info.slots = static_cast<std::uint32_t>(settings_.slots);
  {
    const MutexGuard guard(mutex_);
    info.running = carriers_.ids();
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

void AgentCore::hand_over() {
  for (;;) {
    CarrierPtr next;
    {
      const MutexGuard guard(mutex_);
      while (!over_ && (carriers_.ended() == 0 || carriers_.is_handing_over())) all_ended_.wait(mutex_);
      if (carriers_.ended() == 0) return;
      next = carriers_.hand_over();
    }
    finish(next);
    const MutexGuard guard(mutex_);
    handed_over();
  }
}

void AgentCore::drain() {
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
    while ((carriers_.ended() > 0 || carriers_.is_handing_over()) && !deadline.passed())
      room_changed_.wait_for(mutex_, deadline.left(kStoreTime));
  }
  if (!engine_->drain(kStoreTime))
    log_line(LogLevel::Warning, "agent {} leaves with results that are not stored: their tasks run again",
             settings_.node);
}

int run_agent(const AgentSettings& settings) {
  // Otherwise each payload of some size costs new pages, which the kernel has to fill.
  static_cast<void>(::mallopt(M_MMAP_THRESHOLD, kKeptBytes / 2));
  static_cast<void>(::mallopt(M_TRIM_THRESHOLD, kKeptBytes));
  AgentCore agent(settings);
  return agent.run();
}

}  // namespace tandem::detail
