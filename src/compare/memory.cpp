#include "compare/memory.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string>
#include <string_view>

#include "core/system.hpp"

namespace tandem::detail {
namespace {

// A sampler, not a wait: short beside the tens of milliseconds for which a worker lives that is worth measuring.
constexpr std::chrono::milliseconds kSampleInterval{5};

}  // namespace

std::uint64_t pss_bytes(pid_t pid) {
  const std::string text = read_small_file("/proc/" + std::to_string(pid) + "/smaps_rollup");
  constexpr std::string_view kLabel = "\nPss:";
  const std::size_t label = text.find(kLabel);
  if (label == std::string::npos) return 0;
  const std::size_t number = text.find_first_not_of(' ', label + kLabel.size());
  if (number == std::string::npos) return 0;
  std::uint64_t kib = 0;
  std::from_chars(text.data() + number, text.data() + text.size(), kib);
  return kib * 1024;
}

PeakMemory::PeakMemory(std::vector<pid_t> pids) : pids_(std::move(pids)), thread_([this] { run(); }) {}

PeakMemory::~PeakMemory() {
  {
    const std::lock_guard guard(mutex_);
    ending_ = true;
  }
  ended_.notify_one();
  thread_.join();
}

void PeakMemory::sample() {
  std::uint64_t sum = 0;
  for (const pid_t pid : pids_) sum += pss_bytes(pid);
  const std::lock_guard guard(mutex_);
  peak_bytes_ = std::max(peak_bytes_, sum);
}

std::uint64_t PeakMemory::bytes() const {
  const std::lock_guard guard(mutex_);
  return peak_bytes_;
}

void PeakMemory::run() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    lock.unlock();
    sample();
    lock.lock();
    ended_.wait_for(lock, kSampleInterval, [this] { return ending_; });
  }
}

}  // namespace tandem::detail
