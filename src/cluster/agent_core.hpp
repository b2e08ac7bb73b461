/// The agent: tasks of clients in pools of processes, and what it tells others meanwhile.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tandem/thread.hpp>

#include "cluster/agent.hpp"
#include "cluster/agent_values.hpp"
#include "cluster/cancelled_tasks.hpp"
#include "cluster/engine.hpp"
#include "cluster/leased_task.hpp"
#include "cluster/stop_signal.hpp"
#include "cluster/task_carriers.hpp"
#include "cluster/task_message.hpp"
#include "core/mutex.hpp"
#include "executor/executor_core.hpp"

namespace tandem::detail {

/// See run_agent(). One thread, that of run(), leases tasks; four others renew leases and tell of this node, hand over
/// results, get values, and wait for signals. agent.cpp has what these do in time, agent_tasks.cpp the way of a task.
class AgentCore final : public EngineAgentEvents {
 public:
  explicit AgentCore(const AgentSettings& settings);
  ~AgentCore() override;

  int run();

 private:
  using Clock = std::chrono::steady_clock;

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
  struct OnEnd;

  // A task.
  void on_cancel(const ClusterTaskId& id) override TANDEM_EXCLUDES(mutex_);
  void begin(TaskLease lease) TANDEM_EXCLUDES(mutex_);
  void begin_task(const Leased& leased, std::vector<std::byte> payload) TANDEM_EXCLUDES(mutex_);
  void start(const std::string& key, const Parked& parts, TaskNeeds needs) TANDEM_EXCLUDES(mutex_);
  /// Starts tasks that wait when what they need is there.
  void fetch_values();
  /// What is to be done now, and when it was not there a moment ago.
  bool start_parked(const std::string& key) TANDEM_EXCLUDES(mutex_);
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
  /// Hands its result over.
  void finish(const CarrierPtr& carrier);
  void handed_over() TANDEM_REQUIRES(mutex_);

  // What is done in time.
  void wake_all() TANDEM_REQUIRES(mutex_) {
    room_changed_.notify_all();
    all_ended_.notify_all();
    parked_changed_.notify_all();
    watch_.notify_all();
  }
  std::size_t room() const TANDEM_REQUIRES(mutex_);
  /// Waits for free slots; 0 if there is something else to do.
  std::size_t wait_for_room() TANDEM_EXCLUDES(mutex_);
  bool has_batches() const TANDEM_REQUIRES(mutex_);
  /// Sends back what waits behind others for too long, and tells what has ended in a batch of which others run on.
  void see_to_batches() TANDEM_EXCLUDES(mutex_);
  /// Stops what nobody wants to have from here any more.
  void drop_unwanted(const std::string& key, bool is_lost) TANDEM_EXCLUDES(mutex_);
  void drop_lost(const std::vector<std::string>& lost) TANDEM_EXCLUDES(mutex_);
  void drop_silent(const std::vector<TaskLease>& leases) TANDEM_EXCLUDES(mutex_);
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
  TaskCarriers carriers_ TANDEM_GUARDED_BY(mutex_);
  CancelledTasks cancelled_ TANDEM_GUARDED_BY(mutex_);
  unsigned stops_ TANDEM_GUARDED_BY(mutex_) = 0;  // Signals to stop.
  bool over_ TANDEM_GUARDED_BY(mutex_) = false;   // The threads are to end.
  Clock::time_point away_at_ = Clock::now();      // Of the thread that keeps leases.
  std::unique_ptr<EngineAgent> engine_;
  std::vector<Thread> threads_;
};

}  // namespace tandem::detail
