/// The functions by which a call of another machine may enter this program. A table here, and not in tandem::cluster,
/// so that also a program that may or may not use a cluster can be asked by one, as compare() is.
#pragma once

#include <tandem/detail/remote_task.hpp>

namespace tandem::detail {

/// Notes one, before main() or when a library is loaded. Always true.
bool note_remote_entry(RemoteEntry entry) noexcept;
bool is_noted_remote_entry(RemoteEntry entry);

}  // namespace tandem::detail
