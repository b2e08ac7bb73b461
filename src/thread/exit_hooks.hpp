/// The hooks of at_exit().
#pragma once

namespace tandem::detail {

/// Runs and forgets the hooks whose priority is at least `lowest_priority`, those registered meanwhile included.
void run_exit_hooks(int lowest_priority) noexcept;
/// From now on at_exit() is refused, or accepted again in a forked process that begins anew.
void set_exit_hooks_closed(bool closed) noexcept;

}  // namespace tandem::detail
