/// The nats-server that the keeper of a cluster starts.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "cluster_keeper_messages.hpp"

namespace tandem::tool {

/// Its files are in the cluster's folder. It is killed when this process is gone. For one thread, which waits for it
/// beside other things, so nothing in here waits.
class ClusterServer {
 public:
  /// Throws std::system_error if there can be no folder to store in.
  explicit ClusterServer(const KeeperOrder& order);

  /// Where it stores; made by the constructor.
  const std::string& store() const { return store_; }

  /// Starts it, on the same port as before if it ran already. The descriptor can be read whenever
  /// takes_connections() may say something new. Throws std::system_error.
  OwnFd start();
  /// Whether it does by now; url() is known then.
  bool takes_connections();
  std::string url() const;
  /// The last line of its own log, which says why it does not start, and has no secrets.
  std::string last_word() const;

  bool runs() const { return pid_ > 0; }
  void signal(int number) const;
  /// Looks whether it has ended; once after each end this is its status, as waitpid() has it.
  std::optional<int> take_end();
  /// Whether its last ends came so soon after its starts that one more start is in vain.
  bool ends_again_and_again() const;
  /// After a start that failed: when it is to be started again, later each time. False if all have failed for so long
  /// that no more are to be tried.
  bool start_later();
  /// When that is, for one that does not run; at once, after an end.
  std::chrono::steady_clock::time_point start_at() const { return start_at_; }

 private:
  void write_configuration() const;

  const KeeperOrder::Server order_;
  const std::string folder_;
  const std::string token_;
  std::string store_;
  std::uint16_t port_;
  pid_t pid_ = -1;
  std::chrono::steady_clock::time_point since_{};
  bool took_connections_ = false;  // Since then.
  int short_lives_ = 0;            // One after the other.
  std::optional<std::chrono::steady_clock::time_point> failing_since_{};
  std::chrono::steady_clock::time_point start_at_{};
  std::chrono::milliseconds start_after_{};
};

}  // namespace tandem::tool
