/// The keeper of a cluster, as `tandem cluster up` sees it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <string>

#include "cluster_keeper_messages.hpp"

namespace tandem::tool {

/// The keeper, until it is let alone. Owner: has it take down all, and waits for it. Any thread may end it; the rest is
/// for one thread.
class StartedKeeper {
 public:
  /// `lock`: of the cluster's folder, which the keeper has as well from then on. Throws BadInput, std::system_error
  /// and std::runtime_error.
  StartedKeeper(const KeeperOrder& order, const OwnFd& lock);
  ~StartedKeeper() { end(); }
  StartedKeeper(const StartedKeeper&) = delete;
  StartedKeeper& operator=(const StartedKeeper&) = delete;

  /// The next thing that it tells, if there is one in time. Throws std::runtime_error once it has ended.
  std::optional<KeeperNews> hear(std::chrono::milliseconds patience);
  /// It goes on by itself. False if it has ended or is being ended.
  bool let_alone();
  /// Returns when all is taken down; does nothing to one that was let alone.
  void end() noexcept;

 private:
  std::mutex mutex_;
  pid_t pid_ = -1;  // Under mutex_, as in_; -1 once it is let alone or has ended.
  OwnFd in_;
  OwnFd out_;
  std::string text_;
};

}  // namespace tandem::tool
