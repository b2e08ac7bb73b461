/// Named points at which a test may kill the process that passes them: how "killed at any instruction" is tested.
#pragma once

#include <atomic>

namespace tandem::detail {

/// Called with the point's name when a build has kill points and a test has set a hook. Null otherwise.
using KillPointHook = void (*)(const char* name);
extern std::atomic<KillPointHook> kill_point_hook;
/// Whether this build of the library has kill points at all.
extern const bool kHasKillPoints;

inline void pass_kill_point(const char* name) {
  if (KillPointHook hook = kill_point_hook.load(std::memory_order_relaxed)) [[unlikely]]
    hook(name);
}

}  // namespace tandem::detail

#ifdef TANDEM_KILL_POINTS
#define TANDEM_KILL_POINT(name) ::tandem::detail::pass_kill_point(name)
#else
#define TANDEM_KILL_POINT(name) static_cast<void>(0)
#endif
