/// How much memory processes use, where what they share counts once.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace tandem::detail {

/// The proportional set size of a process: each page divided by the number of processes that map it. 0 if it is gone.
std::uint64_t pss_bytes(pid_t pid);

/// Samples the memory of processes on a thread of its own and keeps the largest sum seen at one time.
///
/// Reading a process's figure walks its page tables, 0.05 ms for a small one: too dear to run beside a measurement, so
/// compare() samples in its warm-up round only.
class PeakMemory {
 public:
  explicit PeakMemory(std::vector<pid_t> pids);
  ~PeakMemory();
  PeakMemory(const PeakMemory&) = delete;
  PeakMemory& operator=(const PeakMemory&) = delete;

  /// Takes a sample at once, in the calling thread.
  void sample();
  /// The largest sum so far.
  std::uint64_t bytes() const;

 private:
  void run();

  const std::vector<pid_t> pids_;
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  bool ending_ = false;
  std::uint64_t peak_bytes_ = 0;
  std::thread thread_;
};

}  // namespace tandem::detail
