/// The worker's side: how a task that came from another machine enters this program, and what may not.
#pragma once

#include <span>
#include <string>

#include <tandem/detail/remote_task.hpp>

namespace tandem::detail {

/// The RemoteEntry of every task of a cluster in the processes of an agent: its arguments are the payload of the task
/// as the client made it. Throws WireError for an entry that ClusterExecutor has not made for this program, for a
/// function that is none of a module of this very build, loaded already, or for a result with shared objects.
void enter_cluster_task(const void* function, Decoder& payload, Encoder& result);

/// The plain function of a ticket, for its name; null if there is none, or none that may be called.
const void* function_of_ticket(std::span<const std::byte> code) noexcept;

}  // namespace tandem::detail
