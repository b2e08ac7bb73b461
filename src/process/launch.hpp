/// The three ways to start a child, behind one shape.
#pragma once

#include <sys/types.h>

#include <memory>

#include <tandem/detail/process_body.hpp>

#include "core/system.hpp"
#include "process/child.hpp"
#include "process/child_setup.hpp"

namespace tandem::detail {

/// What a launcher is given.
struct Launch {
  Child& child;
  ChildSetup& setup;
  std::unique_ptr<ProcessBody>& body;
  const SharedObjectPtr& record;
  const ProcessOptions& options;
  int lifeline_fd;
  int stderr_fd;  // Becomes the child's standard error; -1: it has this process's.
};

/// A child that was started.
struct Launched {
  pid_t pid = 0;
  Fd pidfd;                // None: it has ended already and the watcher knows.
  Fd channel;              // Closed by the child when it has its own copy of the parcel.
  SharedObjectPtr parcel;  // Until then, or without a channel until it ends; none if the child holds it.
};

// Each throws what Process::start() does, and then no child is left.
/// The child runs the body out of its copy of this process's memory. Never returns in the child.
Launched launch_by_fork(Launch& launch);
Launched launch_by_spawn(Launch& launch);
Launched launch_by_fork_server(Launch& launch);

/// Writes what a child that shares no memory needs; `descriptors` are those of the arguments, valid while the body is.
SharedObjectPtr make_launch_parcel(const Launch& launch, std::vector<int>& descriptors);

/// Throws StateError, or prints a warning, if this process has threads that a forked child would miss.
void check_threads_before_fork(const std::string& child_name);

}  // namespace tandem::detail
