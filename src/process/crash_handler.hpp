/// Notes where a child was when a fatal signal struck.
#pragma once

#include <tandem/detail/shared_object.hpp>

namespace tandem::detail {

/// Does what install_crash_handler() does, but for the record: in a fork server, for the children that inherit it.
void prepare_crash_handler();
/// Has the fatal signals that nothing else handles, and std::terminate(), leave a note in the record before they end
/// this process as they would have. In a child, once.
void install_crash_handler(const SharedObjectPtr& record);
/// Undoes what this process has inherited of it.
void remove_crash_handler();
/// Whether the signal is handled by it.
bool is_crash_handled(int signum);

}  // namespace tandem::detail
