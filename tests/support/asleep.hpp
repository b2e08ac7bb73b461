/// Whether somebody sleeps in the kernel: for tests that wait until those who wait have fallen asleep.
#pragma once

#include <sys/types.h>

#include <string>
#include <thread>

#include "core/system.hpp"

namespace tandem::testing {

/// Whether a thread, or the first thread of a process, sleeps. `native_id` is its number in the kernel.
inline bool is_asleep(pid_t native_id) {
  const std::string stat = detail::read_small_file("/proc/" + std::to_string(native_id) + "/stat");
  const std::size_t name_end = stat.rfind(')');
  return name_end != std::string::npos && stat.compare(name_end, 3, ") S") == 0;
}

/// Waits until it sleeps. It must have said already that it is about to: before that it may sleep for another reason.
inline void wait_until_asleep(pid_t native_id) {
  while (!is_asleep(native_id)) std::this_thread::yield();
}

}  // namespace tandem::testing
