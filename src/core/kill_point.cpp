#include "core/kill_point.hpp"

namespace tandem::detail {

std::atomic<KillPointHook> kill_point_hook{nullptr};
#ifdef TANDEM_KILL_POINTS
const bool kHasKillPoints = true;
#else
const bool kHasKillPoints = false;
#endif

}  // namespace tandem::detail
