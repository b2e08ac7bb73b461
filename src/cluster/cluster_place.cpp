#include "cluster/cluster_place.hpp"

#include <algorithm>
#include <random>
#include <utility>

#include <fmt/format.h>

#include <tandem/error.hpp>

#include "cluster/nats_engine.hpp"
#include "core/check.hpp"

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;

// What was not stored, or not taken, is not tried sooner: during an election a server refuses at once.
constexpr milliseconds kSubmitAgain{200};

std::string random_name() {
  std::random_device device;
  return fmt::format("c{:08x}{:08x}{:08x}", device(), device(), device());
}

}  // namespace

ClusterPlace::ClusterPlace(Options options)
    : options_(std::move(options)), client_(random_name()), flights_(options_.most_deliveries), local_(options_.local) {
  std::shared_ptr<EngineClient> engine = connect_nats_client(options_.engine, client_, *this);
  const MutexGuard guard(mutex_);
  engine_ = std::move(engine);
  own_engine_ = engine_;
}

ClusterPlace::~ClusterPlace() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  if (::getpid() != owner_) {
    // Forked off: the connection and its threads are the other process's, which this one must not disturb. One of them
    // may have had the mutex.
    static_cast<void>(new std::shared_ptr<EngineClient>(std::move(engine_)));
    static_cast<void>(new std::shared_ptr<EngineClient>(std::move(own_engine_)));
    return;
  }
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    over_ = true;
    engine = std::move(engine_);
  }
  own_engine_.reset();
  // Without the mutex: it waits for callbacks.
  engine.reset();
}

std::size_t ClusterPlace::hear_slots(std::size_t agents, milliseconds patience) {
  const Deadline deadline = Deadline::after(patience);
  const MutexGuard guard(mutex_);
  while (nodes_.all().size() < agents && !deadline.passed()) changed_.wait_for(mutex_, deadline.left(kLook));
  return slots();
}

void ClusterPlace::open(std::shared_ptr<ExecutorCore> core) {
  const MutexGuard guard(mutex_);
  core_ = core.get();
}

void ClusterPlace::check(const TaskOptions& options) const {
  check_limits(options);
}

void ClusterPlace::more_work() {
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    if (!thread_) {
      if (over_) throw ExecutorShutDown("the executor " + core_->name() + " was shut down: it takes no more tasks");
      thread_.emplace(ThreadOptions{.name = core_->name() + "-cluster", .daemon = false},
                      [this, core = core_->shared_from_this()] { run(); });
      try {
        thread_->start();
      } catch (...) {
        thread_.reset();
        throw;
      }
    }
    if (flights_.empty()) {
      fill();
      if (may_submit_here()) engine = engine_;
    }
    if (engine == nullptr) return wake();
  }
  // If it is the only one, it is there sooner without another thread.
  if (submit_here(*engine)) return;
  const MutexGuard guard(mutex_);
  wake();
}

void ClusterPlace::closed() noexcept {
  const MutexGuard guard(mutex_);
  wake();
}

std::size_t ClusterPlace::slots() const {
  const std::size_t all = nodes_.slots();
  // One in any case: nothing depends on announcements.
  return std::max<std::size_t>(1, options_.workers ? std::min(all, *options_.workers) : all);
}

std::size_t ClusterPlace::window() const {
  const std::size_t slots = this->slots();
  if (!pace_.is_short()) return slots;
  // Where there is room for more than may run at once, or it is not known for how many, all that is out may run.
  if (nodes_.slots() != slots) return slots;
  return slots * (1 + pace_.ahead());
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
      // In one step: from here on no callback takes a copy of the engine.
      if (over_ = ended(); over_) break;
      if (flights_.none_waits() || refused) {
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

void ClusterPlace::stop(Task& task, Why why) noexcept {
  bool settle = false;
  TaskPtr held;
  ClusterTaskId id;
  std::string node;
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    Flights::Map::value_type* const found = flights_.find(task);
    if (found == nullptr) {
      // It has ended, and the engine's thread is about to say how.
      settle = why != Why::Deadline && task.state().claim_running();
    } else if (why == Why::Deadline) {
      // The agent counts, from the start in its worker, and says so.
    } else if (task.state().claim_running()) {
      settle = true;
      held = std::move(found->second.task);
      id = {client_, found->first, found->second.attempt};
      node = found->second.node;
      stopped_.add(found->second.carrier, id);
      flights_.erase(found->first);
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

bool ClusterPlace::join(const Deadline& deadline) {
  Thread* thread = nullptr;
  std::shared_ptr<EngineClient> engine, own_engine;
  std::shared_ptr<LocalClusterKeeper> local;
  {
    const MutexGuard guard(mutex_);
    if (thread_) {
      thread = &*thread_;
    } else {
      over_ = true;
      engine = std::move(engine_);
      own_engine = std::move(own_engine_);
      local = std::move(local_);
      nodes_.clear();
    }
  }
  return thread == nullptr || thread->join_for(deadline.left(std::chrono::hours(24 * 365)));
}

std::vector<GivenUpTask> ClusterPlace::give_up() {
  std::vector<GivenUpTask> given_up;
  std::vector<TaskPtr> running;
  {
    const MutexGuard guard(mutex_);
    given_up_ = true;
    for (const auto& [number, flight] : flights_.all()) {
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
  for (const auto& [number, flight] : flights_.all()) {
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
    for (const auto& [name, node] : nodes_.all()) {
      if (HeardNodes::is_silent(node, now)) continue;
      all.push_back({name, 0, 0, {}, node.cpu_time, node.memory_bytes});
      const Flight* const found = node.task ? flights_.find(*node.task) : nullptr;
      if (found != nullptr) found->task->state().add_reference();
      running.emplace_back(found != nullptr ? found->task.get() : nullptr);
    }
  }
  for (std::size_t at = 0; at < all.size(); ++at)
    if (running[at] != nullptr) all[at].task = running[at]->name();
  return all;
}

}  // namespace tandem::detail
