/// The seam between Tandem and an engine that carries tasks between machines: all that a client (a Place of an
/// executor) and an agent (a loop over a ProcessExecutor) need of it. What an engine must keep is said here, and tested
/// by tests/cluster for any engine.
///
/// What holds for all of it:
/// 1. A submitted task is delivered at least once while the engine has it. A lease that is not renewed ends, and the
///    task goes to another agent within the lease time and a second.
/// 2. A lease ends for good only when its result is stored.
/// 3. Duplicates are allowed everywhere: of deliveries, runs and results. So ids tell client, number and attempt.
/// 4. An engine may forget (a store that is deleted, or rolled back by a power failure): the client keeps every task
///    that is not finished, sees by census() that the engine has fewer, and submits them again.
/// 5. That a node is gone is a hint (its announcements stop). Nothing depends on it.
/// 6. Agents join at any time, and need an outgoing connection only.
/// 7. An agent of another build gets no tasks; one that cannot prove who it is gets no connection.
/// 8. An outage is a pause: calls give up after the time that they are given, and no task fails for it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tandem/cluster_options.hpp>

#include "cluster/engine_options.hpp"

namespace tandem::detail {

/// The engine cannot be used: it cannot be reached, refuses this side, or lacks something. Names the server.
using EngineError = ClusterError;

/// One run of a task that was asked for. Value.
///
/// `attempt` counts how often the client submitted the task on purpose: once more because a run failed, or because the
/// engine forgot it. Submitting the same id again, because it is not known whether it was stored, stores it once if the
/// engine can tell; another attempt is always another task.
struct ClusterTaskId {
  std::string client{};
  std::uint64_t number = 0;
  std::uint32_t attempt = 1;

  bool operator==(const ClusterTaskId&) const = default;
};

/// Who is to run a task. Value.
struct TaskTarget {
  enum class Kind {
    AnyNode,
    OneNode,   ///< `node`, now or when it is back; nobody else.
    AllNodes,  ///< Each node of this build that is known now, once: as many results.
  };
  Kind kind = Kind::AnyNode;
  std::string node{};
};

/// A value that a client keeps for tasks on any node, by its number. Value.
struct ClusterValueId {
  std::string client{};
  std::uint64_t number = 0;

  auto operator<=>(const ClusterValueId&) const = default;
};

/// What a node says about itself. Value.
struct NodeInfo {
  std::string node{};
  std::string host{};
  std::string build_id{};
  std::uint32_t slots = 0;
  /// It takes no more tasks and is about to go.
  bool leaving = false;
  /// What it runs now.
  std::vector<ClusterTaskId> running{};
  /// EngineOptions::lease_time of its side, so that one that differs is found out; 0 if it does not say.
  std::chrono::milliseconds lease_time{0};
  /// Values that it looked for and did not find: their clients are to store them again.
  std::vector<ClusterValueId> wanted{};
  /// Of its worker processes, together: CPU time so far of those that live, and resident memory.
  std::int64_t cpu_time_ns = 0;
  std::uint64_t memory_bytes = 0;
};

/// A node of the pool and when it was last heard. Value.
struct SeenNode {
  NodeInfo info{};
  std::chrono::steady_clock::time_point heard_at{};
};

/// What the engine holds. Value.
struct Census {
  /// Of this client: tasks that wait or are leased, and results that it has not taken yet.
  std::uint64_t tasks = 0;
  std::uint64_t results = 0;
  /// Which of these tasks are for one node, by its name: those of a node that does not come back stay, and must not
  /// hide that others are missing.
  std::map<std::string, std::uint64_t> tasks_of_nodes{};
  /// Of all clients of this build, for any node: what waits, and what is leased.
  std::uint64_t queued_in_pool = 0;
  std::uint64_t leased_in_pool = 0;
  /// Another number than before: the engine has forgotten something, by what it can tell. The same number is no proof.
  std::uint64_t generation = 0;
};

enum class EngineState {
  Connected,
  Away,     ///< The connection is lost; the engine tries to get it back for as long as it takes.
  Refused,  ///< The server does not accept this side any more: a new engine object is needed.
};

/// What an engine tells a client. The members are called from threads of the engine, never from within a call of the
/// client, several at once but on_result() one at a time. They must not throw, must not wait for a call of the engine
/// to get something done, and must not destroy it.
class EngineClientEvents {
 public:
  virtual ~EngineClientEvents() = default;
  /// The task is stored. `nodes` says for whom, if it was for all; it is empty otherwise.
  virtual void on_stored(const ClusterTaskId& id, const std::vector<std::string>& nodes) = 0;
  /// It is not known to be stored: submit it again, with the same id, after a moment.
  virtual void on_submit_error(const ClusterTaskId& id, const std::string& why) = 0;
  /// A result, which may be one that was told before. When this returns the engine forgets it; if this process dies
  /// before, it is told again. `node` ran it.
  virtual void on_result(const ClusterTaskId& id, const std::string& node, std::vector<std::byte> result) = 0;
  /// An announcement of a node of the pool, of this build or another.
  virtual void on_node(const NodeInfo& node) { static_cast<void>(node); }
  /// The engine is Refused from now on: nothing more will come. Told once.
  virtual void on_refused() {}
};

/// The client's side. Owner. Its destructor waits for callbacks that run, and gives up what the engine still has of it.
///
/// Threads: every member may be called from any thread.
/// Killed peers: agents may die at any time (see 1). If the client dies, agents drop its tasks, and the results that
/// they stored, when they have not heard it for EngineOptions::client_silence; what nobody fetches is dropped after
/// EngineOptions::max_age. Cost: memory for
/// what is not stored yet (EngineOptions::unstored_bytes) and for one burst of results (16 MiB).
class EngineClient {
 public:
  virtual ~EngineClient() = default;

  /// Hands a task to the engine, waiting at most `patience` for room and for the connection. A large payload is copied
  /// and travels afterwards, in pieces of at most 4 MiB, one task after the other, while others go past it. True:
  /// on_stored() or on_submit_error() will follow, once.
  /// False: nothing will follow, try again; a target of all nodes is refused so while no node is known. Throws
  /// std::invalid_argument for an id of another client or a node that cannot be one.
  virtual bool submit(const ClusterTaskId& id, std::span<const std::byte> payload, const TaskTarget& target,
                      std::chrono::milliseconds patience) = 0;
  /// Asks whoever runs the task to stop it; a hint, which may be lost. `node`: who runs it, by its announcements.
  /// Empty: asks every agent.
  virtual void cancel(const ClusterTaskId& id, const std::string& node) = 0;
  /// Stores a value of this client, or stores it again, for EngineAgent::fetch(): true once it is stored. Not empty.
  /// Waits for the store to take it, and at most `patience` for room and for the connection. The engine keeps it until
  /// erase_value(), the client's end or EngineOptions::max_age, but may forget it as anything else.
  virtual bool store_value(std::uint64_t number, std::span<const std::byte> value,
                           std::chrono::milliseconds patience) = 0;
  /// Does not wait.
  virtual void erase_value(std::uint64_t number) = 0;
  /// A task's payload, or a value, that is larger never fits into the store, however long one waits. Does not wait.
  virtual std::uint64_t most_payload_bytes() const = 0;
  /// Looks what the engine holds. Empty if it cannot be asked now. A round trip or three.
  virtual std::optional<Census> census() = 0;
  /// Makes the queues if they are not there; the engine does so itself when it notices. Throws EngineError.
  virtual void ensure() = 0;
  /// Every node of the pool that was heard within the last minute, of whatever build.
  virtual std::vector<SeenNode> nodes() const = 0;
  virtual EngineState state() const = 0;
};

/// A task that an agent has for now. Value.
struct TaskLease {
  ClusterTaskId id{};
  std::vector<std::byte> payload{};
  /// How often it was handed to an agent, this time included, as far as the engine knows.
  std::uint64_t deliveries = 1;
  /// The engine's own.
  std::string ticket{};
};

/// What an engine tells an agent, by the rules of EngineClientEvents.
class EngineAgentEvents {
 public:
  virtual ~EngineAgentEvents() = default;
  /// A client wants the task to stop; most often it is one that this agent does not run.
  virtual void on_cancel(const ClusterTaskId& id) = 0;
  /// The result that was handed over is stored, and the task's lease has ended.
  virtual void on_finished(const ClusterTaskId& id) { static_cast<void>(id); }
  /// As that of a client.
  virtual void on_refused() {}
};

/// A result that an agent handed over and that was not stored. Value.
struct UnstoredResult {
  ClusterTaskId id{};
  std::vector<std::byte> result{};
};

/// The agent's side. Owner. Its destructor waits for callbacks that run. Results that are not stored by then are
/// dropped (see drain()), and its leases end by time.
///
/// Threads: every member may be called from any thread; lease() by one at a time.
/// Cost: an idle lease() a few messages in five seconds; memory for results that are not stored yet.
class EngineAgent {
 public:
  virtual ~EngineAgent() = default;

  /// Waits at most `wait` for tasks and returns what there is, at most `max`: ask for free slots only: tasks for this
  /// node and for any. Empty if there were none, the engine is away, or stop() was called; at
  /// once (within a second or so) if it is Refused. Large payloads take their time besides, some seconds if there is no
  /// answer.
  virtual std::vector<TaskLease> lease(std::size_t max, std::chrono::milliseconds wait) = 0;
  /// Makes the lease last one lease time from now: call it every third of that while the task runs. False: it is lost,
  /// because the engine has confirmed no renewal for a lease time (too late, or an outage), so another agent may run
  /// the task; it stays so, and finish() may still be called. Also false once the task was handed over or given back.
  /// True is no proof. Does not wait.
  virtual bool renew(const TaskLease& lease) = 0;
  /// Hands over the result. The engine stores it, for as long as that takes, and only then ends the lease, which it
  /// renews meanwhile. Waits while more than EngineOptions::unstored_bytes are on their way, unless it is Refused. A
  /// result whose client has ended, or is silent, is dropped with its task.
  virtual void finish(const TaskLease& lease, std::vector<std::byte> result) = 0;
  /// Tells the client a part of the result, `part` being another number each time; the lease stays, and a result that
  /// is told so is part of what finish() hands over in the end. It may be lost, and is if there is no room: this does
  /// not wait.
  virtual void tell(const TaskLease& lease, std::vector<std::byte> result, unsigned part) = 0;
  /// A result that is larger never fits into the store, however long one waits. Does not wait.
  virtual std::uint64_t most_payload_bytes() const = 0;
  /// The task goes to another agent at once.
  virtual void give_back(const TaskLease& lease) = 0;
  /// Looks for a value of `bytes` bytes that a client has stored. Empty if it is not there, or not all of it, or the
  /// engine cannot be asked now. Waits for the answers, some seconds if there are none.
  virtual std::optional<std::vector<std::byte>> fetch(const ClusterValueId& id, std::uint64_t bytes) = 0;
  /// Whether a client has given no sign of life for so long that it is taken for dead. False is no proof.
  virtual bool is_silent(const std::string& client) = 0;
  /// Waits until every result is stored; false after `patience`, or if it is Refused.
  virtual bool drain(std::chrono::milliseconds patience) = 0;
  /// Takes out what is not stored, once it is Refused; empty before.
  virtual std::vector<UnstoredResult> take_unstored() = 0;
  /// Tells clients about this node; about once in a second. `node`, `build_id` and `lease_time` are filled in.
  virtual void announce(NodeInfo info) = 0;
  /// Ends lease() at once and for good.
  virtual void stop() = 0;
  /// As that of a client.
  virtual void ensure() = 0;
  virtual EngineState state() const = 0;
};

/// What the engine holds of a pool, of all clients and builds. Value.
struct PoolCount {
  /// Tasks that wait or are leased, and results that their clients have not taken yet.
  std::uint64_t tasks = 0;
  std::uint64_t results = 0;
};

/// Somebody who only looks: it leaves nothing at the engine. Owner. Threads: every member may be called from any
/// thread.
class EngineObserver {
 public:
  virtual ~EngineObserver() = default;
  /// Every node of the pool that was heard since this object was made, within the last minute, of whatever build.
  virtual std::vector<SeenNode> nodes() const = 0;
  /// Waits at most `patience` until a node says something; false if none did.
  virtual bool hear(std::chrono::milliseconds patience) = 0;
  /// Empty if the engine cannot be asked now. Two round trips.
  virtual std::optional<PoolCount> count() = 0;
  virtual EngineState state() const = 0;
};

}  // namespace tandem::detail
