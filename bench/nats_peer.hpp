/// Tasks and results by NATS alone, without Tandem: what a ClusterExecutor is measured beside. On the server that it
/// uses itself, with two worker processes that are this program started again.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace tandem::bench {

/// What stands in the environment of a worker of these peers; the rest of main() is not for it.
bool is_nats_worker();
int run_nats_worker();

/// How a peer carries tasks and results. Value.
enum class NatsWay {
  JetStream,  ///< Both stored in files by the server, one replica; a task is acknowledged when its result is stored.
  Core,       ///< Requests and replies, which nobody keeps.
};

/// One client and two workers that give back what they are sent, the first byte one higher. Owner.
class NatsPeer {
 public:
  /// `at_once`: how many tasks a worker takes at the most. Throws std::runtime_error.
  NatsPeer(std::string url, std::string token, NatsWay way, int at_once);
  ~NatsPeer();
  NatsPeer(const NatsPeer&) = delete;
  NatsPeer& operator=(const NatsPeer&) = delete;

  /// Sends so many tasks of so many bytes, of which at most `window` are out at the same time, and waits for all
  /// results.
  void run(int tasks, std::size_t bytes, int window);

 private:
  struct Client;
  std::vector<pid_t> workers_;
  std::vector<int> lifelines_;
  std::unique_ptr<Client> client_;
};

}  // namespace tandem::bench
