/// Kills a process at each of the named points that it passes: how the promises about killed peers are tested.
///
///   for_each_kill_point([&] { queue.put(1); },                 // runs in a forked child, killed at its k-th point
///                       [&](const std::string& at) { ... });   // here: the others go on, whatever `at` was
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace tandem::testing {

/// The names of the kill points that `body` passes when it runs here, in order, in whatever thread. Empty in a build
/// without kill points.
std::vector<std::string> kill_points_passed(const std::function<void()>& body);

/// From now on the calling process dies of SIGKILL when it passes its kill points for the `pass`-th time (from 0) ...
void die_at_kill_point(std::size_t pass);
/// ... or the point called `name` for the `pass`-th time (from 0). For bodies that run in a child.
void die_at_kill_point(const std::string& name, std::size_t pass = 0);

/// How a child ended that was to be killed.
struct KilledRun {
  pid_t pid = 0;
  bool killed = false;  // by a kill point; false: the body came to its end first
  std::string at;       // the point's name
};

/// Runs `body` in a forked child that dies of SIGKILL at its `pass`-th kill point, and waits for its end. The test
/// fails if the child ends in another way: an exception of the body, an abort.
KilledRun run_killed_at(std::size_t pass, const std::function<void()>& body);

/// Kills `body` at each of its points, each time that it passes it, and calls `after` with the point's name each time;
/// gives the names. `body` runs in a child that is forked anew each time and dies at the first pass that none before it
/// died at, until one comes to its end without: so what only some runs pass (a look for the dead that was due, a slot
/// taken over) hides nothing that all pass. Calls nothing in a build without points: see detail::kHasKillPoints. A
/// `step` above 1 leaves passes out, other ones in each run: for bodies of very many points where each fork is dear,
/// under a sanitizer.
std::vector<std::string> for_each_kill_point(const std::function<void()>& body,
                                             const std::function<void(const std::string& at)>& after,
                                             std::size_t step = 1);

/// How long a body of it waits for what does not come: time to fall asleep in on a busy machine too, for one that comes
/// too late for that passes fewer points.
inline constexpr std::chrono::milliseconds kInVain{80};

/// For `after`: whether the child that was killed had come to the point `name`, or died there. What earlier ones had
/// come to says nothing about it, for runs differ.
bool killed_had_passed(const std::string& name);

}  // namespace tandem::testing
