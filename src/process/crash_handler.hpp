/// Notes where a child was when a fatal signal struck.
#pragma once

#include <tandem/detail/shared_object.hpp>

namespace tandem::detail {

/// Has the fatal signals that nothing else handles, and std::terminate(), leave a note in the record before they end
/// this process as they would have. Once, in a child.
void install_crash_handler(const SharedObjectPtr& record);

}  // namespace tandem::detail
