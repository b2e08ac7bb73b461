/// What the keeper of a cluster says of it.
#pragma once

#include <cstdint>
#include <string>

#include "cluster_keeper_messages.hpp"

namespace tandem::tool {

/// Owner of the log. For one thread.
class KeeperReports {
 public:
  /// The log is the file `log` of the folder.
  explicit KeeperReports(const std::string& folder);

  /// Adds a line to the log. One that has become long is kept as `log.before`, and another one begun.
  void log(const std::string& text);
  /// Tells who waits for the cluster to be up; nobody once nobody does.
  void tell(const KeeperNews& news) const;
  bool attached() const { return attached_; }
  /// Nobody waits any more.
  void detach() { attached_ = false; }

 private:
  void open_log();

  const std::string log_file_;
  OwnFd log_;
  std::uint64_t logged_bytes_ = 0;
  bool attached_ = true;
};

}  // namespace tandem::tool
