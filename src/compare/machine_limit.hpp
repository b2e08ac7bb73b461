/// What a second core is worth at this moment: measured, because a virtual core may be anything from a whole core to
/// none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stop_token>

namespace tandem::detail {

/// Measures how much faster bare forked children finish one chain of dependent additions together than one of them
/// alone.
///
/// The children are forked plainly, share nothing and make no system call until they end: nothing that Tandem adds to a
/// process is in the figure. The chain is the one that scales best, so the limit is what the cores give to work that
/// waits for nothing but its own last result.
class MachineLimit {
 public:
  MachineLimit(std::size_t children, std::stop_token stop);

  /// Makes the chain about as long as the serial run of the work was, so that both meet the same drift.
  void calibrate(double serial_seconds);
  /// One measurement: 1.0 to the number of children. Throws CompareStopped, and std::system_error if fork fails.
  double measure();

 private:
  double seconds_of(std::size_t children, std::uint64_t additions_each) const;

  const std::size_t children_;
  const std::stop_token stop_;
  std::uint64_t additions_;
  bool together_first_ = false;
};

}  // namespace tandem::detail
