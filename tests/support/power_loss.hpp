/// What would be on the disk if the power failed now: SQLite's files as they were when they were last waited for.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace tandem::testing {

/// While it lives, the SQLite of this process writes through it, and it notes the writes to files of one directory that
/// were not waited for yet (fsync). Owner; one at a time.
class PowerLoss {
 public:
  explicit PowerLoss(const std::string& directory);
  ~PowerLoss();
  PowerLoss(const PowerLoss&) = delete;
  PowerLoss& operator=(const PowerLoss&) = delete;

  /// Writes the files into another directory as they are after a loss of power now: of the writes that were not waited
  /// for, each has reached the disk with the probability `kept`. A file that was never waited for is there only if 1
  /// of its writes has.
  void write_what_is_left(const std::string& directory, double kept, std::mt19937_64& random) const;
  /// How often something was waited for.
  int syncs() const;

  struct Inside;

 private:
  const std::unique_ptr<Inside> inside_;
};

}  // namespace tandem::testing
