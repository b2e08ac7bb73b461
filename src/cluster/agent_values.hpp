/// What clients keep for many tasks, on a node: values, and processes that a client's initializer has run in.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <tandem/detail/shared_object.hpp>

#include "cluster/cluster_entry.hpp"
#include "cluster/engine.hpp"
#include "cluster/task_message.hpp"
#include "core/mutex.hpp"
#include "executor/executor_core.hpp"

namespace tandem::detail {

/// The values that this node has, each an object in the arena of the agent's family: its workers read them in place.
/// Threads: every member may be called from any thread.
class ValueCache {
 public:
  /// What a value takes beside its bytes: its object, its id and its places here. So empty ones count, too.
  static constexpr std::uint64_t kEntryBytes = 256;

  /// `most_bytes`: of values altogether, those in use included, with kEntryBytes for each; those that were used least
  /// lately go first. One may be larger. What a task uses stays until it has ended, whether it is in here or not.
  explicit ValueCache(std::uint64_t most_bytes) noexcept : most_bytes_(most_bytes) {}

  /// Null if it is not here.
  SharedObjectPtr find(const ClusterValueId& id) TANDEM_EXCLUDES(mutex_);
  /// Throws std::system_error if the arena is full.
  SharedObjectPtr put(const ClusterValueId& id, std::span<const std::byte> value) TANDEM_EXCLUDES(mutex_);

 private:
  struct Kept {
    ClusterValueId id;
    SharedObjectPtr object;
    std::uint64_t bytes = 0;
  };
  using Order = std::list<Kept>;
  const std::uint64_t most_bytes_;
  Mutex mutex_;
  Order kept_ TANDEM_GUARDED_BY(mutex_);  // What was used last comes first.
  std::map<ClusterValueId, Order::iterator> by_id_ TANDEM_GUARDED_BY(mutex_);
  std::uint64_t bytes_ TANDEM_GUARDED_BY(mutex_) = 0;
};

/// What a task needs of this node besides its payload.
struct TaskNeeds {
  NodeValues values{};
  std::shared_ptr<ExecutorCore> pool;  // That of its initializer; null if it has none.
};

/// Pools of processes, one for each initializer, beside the one for tasks without: what an initializer has set up in
/// a process is seen by no task of another client.
class InitializedPools {
 public:
  /// `slots`: how many processes each has at the most. As many tasks run as the agent takes.
  InitializedPools(std::string node, std::size_t slots) : node_(std::move(node)), slots_(slots) {}

  std::shared_ptr<ExecutorCore> find(const ClusterValueId& initializer) TANDEM_EXCLUDES(mutex_);
  std::shared_ptr<ExecutorCore> make(const ClusterValueId& id, const SharedObjectPtr& initializer,
                                     const NodeValues& values) TANDEM_EXCLUDES(mutex_);
  /// Lets those go that have had nothing to do for a minute, or a few seconds if there are many.
  void retire() TANDEM_EXCLUDES(mutex_);
  /// Ends all.
  void shut_down(const Deadline& deadline) TANDEM_EXCLUDES(mutex_);
  /// Of all pools.
  std::vector<std::shared_ptr<ExecutorCore>> all() TANDEM_EXCLUDES(mutex_);

 private:
  using Clock = std::chrono::steady_clock;
  struct Pool {
    std::shared_ptr<ExecutorCore> core;
    Clock::time_point used_at = Clock::now();
  };
  const std::string node_;
  const std::size_t slots_;
  Mutex mutex_;
  std::map<ClusterValueId, Pool> pools_ TANDEM_GUARDED_BY(mutex_);
  std::uint64_t made_ TANDEM_GUARDED_BY(mutex_) = 0;
};

/// Finds, or by `fetch` gets, all that a task of `client` needs. False if `fetch` gave nothing for `missing`. `fetch`
/// may be null: then only what is here is found. Throws WireError for what no client writes.
class NeedsFinder {
 public:
  NeedsFinder(ValueCache& values, InitializedPools& pools) : values_(values), pools_(pools) {}
  bool find(const std::string& client, const TaskTicket& ticket, EngineAgent* engine, TaskNeeds& needs,
            std::optional<ClusterValueId>& missing);

 private:
  bool find_values(const std::string& client, const std::vector<CarriedValue>& wanted, EngineAgent* engine,
                   NodeValues& found, std::optional<ClusterValueId>& missing);
  ValueCache& values_;
  InitializedPools& pools_;
};

}  // namespace tandem::detail
