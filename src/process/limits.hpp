/// Limits that the kernel keeps for a part of this process's life: memory and CPU time.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace tandem::detail {

/// Most memory that was resident at once since the last reset_peak_memory(), shared memory included; 0 if unknown.
std::uint64_t peak_memory_bytes();
void reset_peak_memory() noexcept;
/// Memory of this process alone that is resident now; 0 if unknown.
std::uint64_t private_memory_bytes() noexcept;

/// While it lives, this process can have so many bytes of private writable memory beyond those that it has at the
/// beginning; who asks for more is refused (std::bad_alloc). Not more than one at a time. Owner.
class MemoryLimit {
 public:
  explicit MemoryLimit(std::uint64_t bytes);
  ~MemoryLimit();
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  std::uint64_t limit_before_;
};

/// That of this process now; 0 if there is none.
std::uint64_t memory_limit_bytes() noexcept;

/// While it lives, this process is killed once it has used so much CPU time more, all threads together; before that, 1
/// is written into `note`. Not more than one at a time. Owner.
class CpuTimeLimit {
 public:
  /// Throws std::system_error.
  CpuTimeLimit(std::chrono::nanoseconds time, std::atomic<std::uint32_t>& note);
  ~CpuTimeLimit();
  CpuTimeLimit(const CpuTimeLimit&) = delete;
  CpuTimeLimit& operator=(const CpuTimeLimit&) = delete;

 private:
  void* timer_ = nullptr;
};

/// SIGINT does nothing to this process from now on; programs that it executes have the default again.
void take_no_interrupts() noexcept;
/// If SIGINT would end this process: it still does, with one line on standard error. Once.
void tell_of_interrupts() noexcept;

/// Whether a thread of a process sleeps now, as the kernel says; false also if it is gone.
bool thread_sleeps(pid_t pid, pid_t tid);

}  // namespace tandem::detail
