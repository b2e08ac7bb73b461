/// The standard error of children on its way to that of this process.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/system.hpp"

namespace tandem::detail {

/// This process's standard error, written to without ever waiting for whoever reads it: a child's end must be noticed
/// also while nobody does. For one thread.
class StderrOut {
 public:
  /// Writes what can be written now, after what is pending, and keeps the rest.
  void write(const char* bytes, std::size_t size);
  /// Writes what can be written now. Whether nothing is pending any more.
  bool flush();
  /// Whether so much is pending that no more should be taken from children that live.
  bool full() const noexcept { return pending_.size() >= kFullBytes; }
  void discard() { pending_.clear(); }

 private:
  // As much as a pipe holds.
  static constexpr std::size_t kFullBytes = 64 * 1024;
  std::string pending_;
};

/// One child's standard error: passes it on and keeps its last lines. For one thread.
class StderrRelay {
 public:
  /// What tail() keeps.
  static constexpr std::size_t kTailBytes = 8 * 1024;
  static constexpr std::size_t kTailLines = 20;

  /// Takes over the reading end of the child's pipe.
  explicit StderrRelay(Fd pipe);

  int fd() const noexcept { return pipe_.get(); }
  /// Reads what is there, but no more once `out` is full unless `all`. False when every writer is gone.
  bool pump(StderrOut& out, bool all);
  /// The last lines, without their line ends.
  std::vector<std::string> tail() const;
  void close() noexcept { pipe_.reset(); }

 private:
  Fd pipe_;
  std::string last_;
};

}  // namespace tandem::detail
