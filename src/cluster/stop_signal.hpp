/// Signals as something that can be waited for.
#pragma once

#include <initializer_list>

#include "core/system.hpp"

namespace tandem::detail {

/// From now on these signals make a descriptor readable and do nothing else to this process; programs that it executes
/// have the default again. One for each process, for its whole life.
class StopSignal {
 public:
  /// Throws std::system_error.
  explicit StopSignal(std::initializer_list<int> signals);
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  int fd() const noexcept { return fd_.get(); }
  /// Whether one came since the last call.
  bool take() noexcept;

 private:
  Fd fd_;  // An eventfd. The handler has a duplicate, which is never closed: a signal may come at any time.
};

}  // namespace tandem::detail
