/// What ends the children of a process that is gone, however it went.
#pragma once

#include "core/system.hpp"

namespace tandem::detail {

/// A pipe that carries nothing. Only the parent has its writing end, so the kernel closes it with the parent.
struct Lifeline {
  Fd read;   // For children to open anew.
  Fd write;  // Never written to.

  static Lifeline make();
};

/// Binds this process to the lifeline with this reading end, and lets go of one that it held before: from now on the
/// kernel sends SIGKILL when the parent is gone. If it is gone already, this process ends here. Once for each process.
void hold_lifeline(Fd read);
/// The same in a process that was forked, for the lifeline that the forking process holds.
void renew_lifeline();
/// From now on the parent's end does not kill this process, which must end by itself: a descriptor whose hang-up tells
/// of it.
int outlive_lifeline();

}  // namespace tandem::detail
