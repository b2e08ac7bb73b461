/// The worker's side: how a task that came from another machine enters this program, and what may not.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <tandem/detail/handle.hpp>
#include <tandem/detail/remote_task.hpp>

namespace tandem::detail {

/// A value of a client, as an object of the agent's family, which travels to its workers. Handle.
class NodeValue {
 public:
  NodeValue() = default;  // Of nothing, to be read into.
  explicit NodeValue(SharedObjectPtr object) : object_(std::move(object)) {}

 private:
  friend struct HandleAccess;
  static constexpr ObjectKind kObjectKind = ObjectKind::Broadcast;
  const SharedObjectPtr& shared_object() const noexcept { return object_; }
  SharedObjectPtr object_;
};

/// The values that a task names, and which objects here they are: offset and generation there, the object here. They
/// are what comes first in what a worker gets of a task.
using NodeValues = std::vector<std::tuple<std::uint64_t, std::uint64_t, NodeValue>>;

/// The RemoteEntry of every task of a cluster in the processes of an agent: its arguments are NodeValues, then the
/// payload of the task as the client made it. Throws WireError for an entry that ClusterExecutor has not made for this
/// program, for a function that is none of a module of this very build, loaded already, or for a result with shared
/// objects. Behind the result it writes the pid of this process, see take_pid().
void enter_cluster_task(const void* function, Decoder& payload, Encoder& result);

/// Takes the pid off a result of enter_cluster_task().
std::int32_t take_pid(std::vector<std::byte>& result) noexcept;

/// An initializer, which is the payload of a task, and what its arguments refer to. Value; travels.
struct NodeInitializer {
  NodeValue payload{};
  NodeValues values{};
  template <class Archive>
  void serialize(Archive& archive) {
    archive(payload, values);
  }
};
/// What the worker processes of an agent run first if they are for one client.
void initialize_for_client(const NodeInitializer& initializer);

/// The plain function of a ticket, for its name; null if there is none, or none that may be called.
const void* function_of_ticket(std::span<const std::byte> code) noexcept;

}  // namespace tandem::detail
