/// Other machines as a place where tasks run.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <tandem/thread.hpp>

#include "cluster/engine.hpp"
#include "cluster/local_cluster.hpp"
#include "cluster/task_message.hpp"
#include "core/mutex.hpp"
#include "executor/executor_core.hpp"
#include "executor/place.hpp"

namespace tandem::detail {

/// For tests: how long each call is taken to take, whatever it took. 0: as measured.
extern std::atomic<std::int64_t> assumed_call_nanoseconds;

/// The client's side of a cluster. Keeps each task until its result is there, whatever the engine forgets.
///
/// As many tasks are out as the nodes that were heard have room for, a few more if they are short: the others wait in
/// the executor's queue, where they can be cancelled. One thread hands tasks to the engine and looks what it holds;
/// results are told in the engine's thread.
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

  /// A task that was taken from the core and has no result yet.
  struct Flight {
    enum class Step {
      ToSubmit,
      Submitted,  ///< The engine has it and has not said whether it is stored.
      Stored,
    };
    TaskPtr task;
    std::uint32_t attempt = 1;
    std::uint64_t carrier = 0;            ///< The number that the engine knows: its own, or that of its batch.
    std::uint32_t deliveries = 0;         ///< Of earlier attempts: agents that did not come back.
    std::vector<std::uint64_t> values{};  ///< What it needs on its node.
    Step step = Step::ToSubmit;
    Clock::time_point stored_at{};   ///< When it was heard that it is.
    Clock::time_point running_at{};  ///< When a node said last that it runs.
    std::string node{};              ///< Which one.
  };
  using Flights = std::map<std::uint64_t, Flight>;
  /// Several flights in one message.
  struct Batch {
    std::vector<std::uint64_t> numbers;
    std::size_t left = 0;  ///< Those that have no result yet.
  };
  /// What is handed to the engine in one message. Value.
  struct Parcel {
    ClusterTaskId id;
    std::vector<std::byte> payload;
  };
  /// A value that tasks refer to, or the initializer.
  struct Kept {
    SharedObjectPtr object;
    bool is_stored = false;
    Clock::time_point used_at{};
  };
  /// A node of this build.
  struct Node {
    std::size_t slots = 0;
    std::chrono::nanoseconds cpu_time{};
    std::uint64_t memory_bytes = 0;
    bool leaving = false;
    Clock::time_point heard_at{};
    std::optional<std::uint64_t> task{};  ///< One that it runs, of this client.
  };

  void on_stored(const ClusterTaskId& id, const std::vector<std::string>& nodes) override;
  void on_submit_error(const ClusterTaskId& id, const std::string& why) override;
  void on_result(const ClusterTaskId& id, const std::string& node, std::vector<std::byte> result) override;
  void on_node(const NodeInfo& node) override;
  /// One task's result, by its own number.
  void take(const ClusterTaskId& id, const std::string& node, std::span<const std::byte> result) noexcept;
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
  std::vector<std::uint64_t> next_numbers(ClusterTaskId& id) TANDEM_REQUIRES(mutex_);
  bool is_to_submit(std::uint64_t number) const TANDEM_REQUIRES(mutex_);
  bool fits_a_batch(const Flight& flight) const TANDEM_REQUIRES(mutex_);
  /// Whether a task that comes now may be handed to the engine by who submits it.
  bool may_submit_here() const TANDEM_REQUIRES(mutex_);
  std::vector<std::uint64_t> numbers_of(std::uint64_t carrier) const TANDEM_REQUIRES(mutex_);
  /// Its batch, if it is in one, is not its carrier any more.
  void leave_batch(Flight& flight) TANDEM_REQUIRES(mutex_);
  void erase(Flights::iterator flight) TANDEM_REQUIRES(mutex_);
  void note_time(std::int64_t nanoseconds) TANDEM_REQUIRES(mutex_);
  /// Notes what a task needs on its node. Whether the engine has all of it.
  bool note_values(Flight& flight) TANDEM_REQUIRES(mutex_);
  void note_value(const SharedObjectPtr& object, Flight& flight) TANDEM_REQUIRES(mutex_);
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
  /// Says so if tasks wait and nobody is there for them.
  void complain_of_no_nodes() TANDEM_REQUIRES(mutex_);
  std::size_t slots_of_nodes() const TANDEM_REQUIRES(mutex_);
  /// How many tasks may run at once.
  std::size_t slots() const TANDEM_REQUIRES(mutex_);
  std::size_t window() const TANDEM_REQUIRES(mutex_);
  std::size_t most_in_batch() const TANDEM_REQUIRES(mutex_);
  bool ended() TANDEM_REQUIRES(mutex_);
  Flights::iterator flight_of(const Task& task) TANDEM_REQUIRES(mutex_);
  void wake() TANDEM_REQUIRES(mutex_) {
    woken_ = true;
    changed_.notify_all();
  }

  const Options options_;
  const std::string client_;
  const pid_t owner_ = ::getpid();
  ExecutorCore* core_ = nullptr;  // Whose place this is.

  mutable Mutex mutex_;
  ConditionVariable changed_;
  Flights flights_ TANDEM_GUARDED_BY(mutex_);
  std::deque<std::uint64_t> to_submit_ TANDEM_GUARDED_BY(mutex_);   // Carriers.
  std::map<std::uint64_t, Kept> values_ TANDEM_GUARDED_BY(mutex_);  // By the generation of their objects.
  std::uint64_t last_number_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::unordered_map<std::uint64_t, Batch> batches_ TANDEM_GUARDED_BY(mutex_);
  std::size_t in_batches_ TANDEM_GUARDED_BY(mutex_) = 0;  // Flights.
  std::size_t share_ TANDEM_GUARDED_BY(mutex_) = 1;       // How many tasks are to go into one message.
  std::map<std::string, Node> nodes_ TANDEM_GUARDED_BY(mutex_);
  std::unordered_set<std::string> strangers_ TANDEM_GUARDED_BY(mutex_);  // Nodes of other builds.
  std::size_t telling_ TANDEM_GUARDED_BY(mutex_) = 0;                    // Results that are being told.
  double task_nanoseconds_ TANDEM_GUARDED_BY(mutex_) = 0;                // 0: unknown.
  bool woken_ TANDEM_GUARDED_BY(mutex_) = false;
  bool given_up_ TANDEM_GUARDED_BY(mutex_) = false;  // Nothing is handed out any more.
  std::optional<Thread> thread_ TANDEM_GUARDED_BY(mutex_);
  std::vector<TaskPtr> taken_ TANDEM_GUARDED_BY(mutex_);  // For fill().
  std::shared_ptr<LocalClusterKeeper> local_ TANDEM_GUARDED_BY(mutex_);
  // Last: its callbacks use the rest.
  std::shared_ptr<EngineClient> engine_ TANDEM_GUARDED_BY(mutex_);

  // Of the place's thread alone.
  std::shared_ptr<EngineClient> own_engine_;
  Clock::time_point look_at_{};
  unsigned looks_ = 0;  // With something missing, one after the other.
  std::optional<std::uint64_t> generation_;
  Clock::time_point lonely_since_{};
  bool complained_ = false;
};

}  // namespace tandem::detail
