/// The process that keeps a cluster on this machine.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

#include <tandem/cluster_options.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>

namespace tandem::detail {

/// How to reach a local cluster, or why there is none. Value; travels.
struct LocalClusterTold {
  std::string url;
  std::string token;
  std::string error;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(url, token, error);
  }
};

/// A local cluster. All of it are children of one process, the keeper, which starts again what dies. Owner: ends it.
///
/// Killed peers: when this process is gone, the keeper learns it by its lifeline, ends the rest and removes the folder.
/// When the keeper is gone, the kernel kills the rest, and this process removes the folder.
class LocalClusterKeeper {
 public:
  /// Throws std::invalid_argument, ClusterError, what Process::start() does.
  explicit LocalClusterKeeper(const LocalClusterOptions& options);
  ~LocalClusterKeeper();
  LocalClusterKeeper(const LocalClusterKeeper&) = delete;
  LocalClusterKeeper& operator=(const LocalClusterKeeper&) = delete;

  const std::string& url() const noexcept { return told_.url; }
  const std::string& token() const noexcept { return told_.token; }
  std::size_t agents() const noexcept { return options_.agents; }
  std::chrono::milliseconds lease_time() const noexcept { return options_.lease_time; }
  std::chrono::milliseconds client_silence() const noexcept { return options_.client_silence; }
  bool is_alive() const { return process_.is_alive(); }
  /// How the keeper ended, for people.
  std::string end() const;

 private:
  const LocalClusterOptions options_;
  const pid_t owner_ = ::getpid();
  /// The keeper's, which this process knows before that lives.
  const std::filesystem::path folder_;
  tandem::Queue<LocalClusterTold> queue_;
  LocalClusterTold told_;
  Process process_;
};

}  // namespace tandem::detail
