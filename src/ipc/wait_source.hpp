/// What wait() can wait for.
#pragma once

#include <memory>
#include <optional>

#include "ipc/futex.hpp"

namespace tandem::detail {

/// One of the things that a wait() waits for: either a descriptor, or something that is announced on a futex word.
///
/// A kind of thing that has a word joins by three functions: ready() looks; prepare() says that somebody is about to
/// sleep, as the thing's own waiters do; resume() is called behind the sleep, woken or not, and must pass on a wake-up
/// that was meant for one of several.
///
/// Threads: every member may be called from any, so that one source serves several waits at once.
class WaitSource {
 public:
  virtual ~WaitSource() = default;

  struct Descriptor {
    int fd = -1;
    std::shared_ptr<const void> keeper{};  ///< Keeps it open.
  };
  /// The descriptor that can be read from when the thing is ready; -1 if it has a word instead. Asked in every round:
  /// throws if it is closed by now.
  virtual Descriptor descriptor() { return {}; }

  /// Whether the thing is ready; does not wait.
  virtual bool ready() { return false; }
  /// What to sleep on; empty if the thing is ready.
  virtual std::optional<FutexWait> prepare() { return std::nullopt; }
  virtual void resume() {}
};

}  // namespace tandem::detail
