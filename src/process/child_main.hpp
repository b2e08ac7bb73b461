/// The life of a child, from its first instruction of ours to its exit code.
#pragma once

#include <memory>
#include <vector>

#include <tandem/detail/process_body.hpp>

#include "core/system.hpp"
#include "process/child_setup.hpp"

namespace tandem::detail {

/// How a child leaves: one that was executed runs the destructors of static objects, as every program; one that was
/// forked does not, because the process that it is a copy of will.
enum class Leave { ByExit, AtOnce };

/// In a child forked off the process that starts it, with what it has from there in memory.
[[noreturn]] void run_forked_child(const ChildSetup& setup, const SharedObjectPtr& record,
                                   std::unique_ptr<ProcessBody>& body);

/// In a child that shares no memory with the process that starts it: what it is to do is in the parcel.
struct PortableChild {
  ObjectId parcel;
  std::vector<Fd> arguments;
  Fd channel;  // Closed once it holds the parcel; a child of the server first says over it that it has begun.
  Leave leave = Leave::ByExit;
};
[[noreturn]] void run_portable_child(PortableChild child);

// What each child of a fork server does at its start and end, done once before. In the server: the functions that it
// calls are then found, and what it looks up is there; otherwise each child would do that anew, in memory of its own.
// In a child that waits for its turn: the memory that it needs is its own by then.
/// The part that uses the arena. In the server only.
void rehearse_parcel() noexcept;
void rehearse_child() noexcept;

}  // namespace tandem::detail
