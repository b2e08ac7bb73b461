/// Ends a hang, and says where it hangs.
#pragma once

#include <chrono>

#include "support/sanitizers.hpp"

namespace tandem::testing {

/// While it lives, a test that takes longer than `limit` ends with abort(), after the stacks of every thread of this
/// process and of all its descendants have been printed, and those were killed. Owner.
///
/// It is a timer of the kernel with a signal, neither a thread nor a process: a test that counts those, or forks, is
/// not disturbed. `limit` is what the test takes at most on a quiet machine: three times that is given for a busy one,
/// five times with a sanitizer, which makes programs slow.
class Watchdog {
 public:
  explicit Watchdog(std::chrono::seconds limit);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void* timer_ = nullptr;
};

}  // namespace tandem::testing
