/// Other machines as a place where tasks run.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <tandem/thread.hpp>

#include "cluster/census_watch.hpp"
#include "cluster/engine.hpp"
#include "cluster/flights.hpp"
#include "cluster/heard_nodes.hpp"
#include "cluster/kept_values.hpp"
#include "cluster/local_cluster.hpp"
#include "cluster/stopped_tasks.hpp"
#include "cluster/task_message.hpp"
#include "cluster/task_pace.hpp"
#include "core/mutex.hpp"
#include "executor/executor_core.hpp"
#include "executor/place.hpp"

namespace tandem::detail {

/// The client's side of a cluster. Keeps each task until its result is there, whatever the engine forgets.
///
/// As many tasks are out as the nodes that were heard have room for, a few more if they are short: the others wait in
/// the executor's queue, where they can be cancelled. One thread hands tasks to the engine and looks what it holds;
/// results are told in the engine's thread. cluster_place_submit.cpp has the way of a task to the engine,
/// cluster_place_results.cpp what comes back, or does not.
class ClusterPlace final : public Place, private EngineClientEvents {
 public:
  struct Options {
    EngineOptions engine;
    unsigned most_deliveries = 1;
    /// How many tasks may be out at once; empty: as many as the nodes have room for.
    std::optional<std::size_t> workers;
    /// Kept as long as it is used; null for other clusters.
    std::shared_ptr<LocalClusterKeeper> local{};
    /// See make_initializer(); null for none.
    SharedObjectPtr initializer{};
  };

  /// Connects. Throws std::invalid_argument, ClusterError.
  explicit ClusterPlace(Options options);
  ~ClusterPlace() override;

  /// How many tasks the nodes have room for, at least 1: waits until `agents` nodes are heard, at most `patience`.
  std::size_t hear_slots(std::size_t agents, std::chrono::milliseconds patience);

  void open(std::shared_ptr<ExecutorCore> core) override;
  void check(const TaskOptions& options) const override;
  void more_work() override;
  void closed() noexcept override;
  void stop(Task& task, Why why) noexcept override;
  bool in_own_thread() const override;
  bool join(const Deadline& deadline) override;
  std::vector<GivenUpTask> give_up() override;
  std::optional<std::uint64_t> begun_items() const override;
  std::vector<WorkerInfo> workers() const override;
  void run_here(Task& task) noexcept override;

 private:
  using Clock = std::chrono::steady_clock;

  /// How often it is looked whether the engine still has everything: a few round trips each time.
  static constexpr std::chrono::seconds kLook{1};

  /// What is handed to the engine in one message. Value.
  struct Parcel {
    ClusterTaskId id;
    std::vector<std::byte> payload;
  };

  void on_stored(const ClusterTaskId& id, const std::vector<std::string>& nodes) override;
  void on_submit_error(const ClusterTaskId& id, const std::string& why) override;
  void on_result(const ClusterTaskId& id, const std::string& node, std::vector<std::byte> result) override;
  void on_node(const NodeInfo& node) override;
  void note_node(const NodeInfo& info) TANDEM_REQUIRES(mutex_);
  /// One task's result, by its own number.
  void take(const ClusterTaskId& id, std::uint64_t carrier, const std::string& node,
            std::span<const std::byte> result) noexcept;
  void tell(Task& task, TaskOutcome outcome, const std::string& node) noexcept;
  void note_in_trace(const Task& task, const std::string& node, pid_t pid,
                     std::chrono::nanoseconds took) const noexcept;

  void run();
  /// Takes tasks for which there is room.
  void fill() TANDEM_REQUIRES(mutex_);
  /// Hands out what waits for it; false if the engine takes nothing now.
  bool submit_what_waits();
  /// The same for another thread, which waits for nothing; false if there is something left.
  bool submit_here(EngineClient& engine);
  bool submit_parcel(EngineClient& engine, const Parcel& parcel, std::chrono::milliseconds patience)
      TANDEM_EXCLUDES(mutex_);
  /// The next message for the engine; empty if nothing waits. What cannot be encoded fails.
  std::optional<Parcel> next_parcel() TANDEM_EXCLUDES(mutex_);
  /// Whether a task that comes now may be handed to the engine by who submits it.
  bool may_submit_here() const TANDEM_REQUIRES(mutex_);
  /// Notes what a task needs on its node, each of at most `most` bytes. Whether the engine has all of it. Throws
  /// ClusterError.
  bool note_values(Flight& flight, std::uint64_t most) TANDEM_REQUIRES(mutex_);
  /// Stores values that the engine has not, or has lost; false if it takes nothing now.
  bool store_values();
  /// Drops those that no task can name any more.
  void drop_values();
  TaskTicket ticket_of(const Flight& flight) const;
  /// Finds out whether the engine has forgotten something, and submits that again.
  void look();
  /// Those that were stored before then.
  void submit_again(const std::vector<std::uint64_t>& numbers, Clock::time_point before) TANDEM_REQUIRES(mutex_);
  /// Fails everything if the cluster is lost for good.
  void find_loss() noexcept;
  void break_off(const std::string& text) noexcept;
  static void cancel(EngineClient& engine, const ClusterTaskId& id, const std::string& node) noexcept;
  /// While it lives the place does not end, and the calling thread counts as one of its own. What copy it has of the
  /// engine goes first: the last one must not go in a thread of the engine.
  class Telling {
   public:
    /// Counted in `telling_` already.
    explicit Telling(ClusterPlace& place) noexcept : place_(place), before_(std::exchange(t_telling, &place)) {}
    ~Telling();
    Telling(const Telling&) = delete;
    Telling& operator=(const Telling&) = delete;

    std::shared_ptr<EngineClient> engine;

   private:
    ClusterPlace& place_;
    const ClusterPlace* const before_;
  };
  static thread_local const ClusterPlace* t_telling;
  /// Says so if tasks wait and nobody is there for them, or if the engine has stored nothing for long.
  void complain_of_no_nodes() TANDEM_REQUIRES(mutex_);
  void complain_of_refusals() TANDEM_REQUIRES(mutex_);
  void note_refusal(const std::string& why) TANDEM_REQUIRES(mutex_);
  /// How many tasks may run at once.
  std::size_t slots() const TANDEM_REQUIRES(mutex_);
  std::size_t window() const TANDEM_REQUIRES(mutex_);
  bool ended() TANDEM_REQUIRES(mutex_);
  void wake() TANDEM_REQUIRES(mutex_) {
    woken_ = true;
    changed_.notify_all();
  }

  const Options options_;
  const std::string client_;
  const pid_t owner_ = ::getpid();
  // Whose place this is. Null before open(), which the engine's thread may see: it looks with the mutex.
  ExecutorCore* core_ = nullptr;

  mutable Mutex mutex_;
  ConditionVariable changed_;
  Flights flights_ TANDEM_GUARDED_BY(mutex_);
  KeptValues values_ TANDEM_GUARDED_BY(mutex_);
  HeardNodes nodes_ TANDEM_GUARDED_BY(mutex_);
  StoppedTasks stopped_ TANDEM_GUARDED_BY(mutex_);
  std::size_t telling_ TANDEM_GUARDED_BY(mutex_) = 0;  // Calls of the engine, and failures, that are under way.
  TaskPace pace_ TANDEM_GUARDED_BY(mutex_);
  bool woken_ TANDEM_GUARDED_BY(mutex_) = false;
  // Since when nothing was stored though something was sent, and why; until when that is not said again.
  std::optional<Clock::time_point> refused_since_ TANDEM_GUARDED_BY(mutex_);
  std::string refused_why_ TANDEM_GUARDED_BY(mutex_){};
  Clock::time_point refusal_told_until_ TANDEM_GUARDED_BY(mutex_){};
  Clock::time_point away_at_ TANDEM_GUARDED_BY(mutex_){};  // When the server was last seen to be away.
  bool given_up_ TANDEM_GUARDED_BY(mutex_) = false;        // Nothing is handed out any more.
  bool over_ TANDEM_GUARDED_BY(mutex_) = false;            // The connection is about to end.
  std::optional<Thread> thread_ TANDEM_GUARDED_BY(mutex_);
  std::vector<TaskPtr> taken_ TANDEM_GUARDED_BY(mutex_);  // For fill().
  std::shared_ptr<LocalClusterKeeper> local_ TANDEM_GUARDED_BY(mutex_);
  // Last: its callbacks use the rest.
  std::shared_ptr<EngineClient> engine_ TANDEM_GUARDED_BY(mutex_);

  // Of the place's thread alone, or, as long as there is none, of who ends the place.
  std::shared_ptr<EngineClient> own_engine_;
  Clock::time_point look_at_{};
  CensusWatch census_;
  Clock::time_point lonely_since_{};
  bool complained_ = false;
};

}  // namespace tandem::detail
