/// A nats-server for one program.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "cluster/bound_program.hpp"

namespace tandem::detail {

/// Removes a folder with all that is in it. A server that is about to die may still put files there: tries again until
/// it is gone, for a second at the most.
void remove_folder_of_the_dying(const std::filesystem::path& folder) noexcept;

/// A folder that others cannot look into. Owner: removes it with all that is in it.
class PrivateFolder {
 public:
  /// Makes it. Throws std::system_error, also if it is there already.
  explicit PrivateFolder(std::filesystem::path path);
  ~PrivateFolder();
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

/// For a PrivateFolder: in TMPDIR, or /tmp, a name that nobody else has. It is not made: so a process can know of the
/// folder of another one before that lives.
std::filesystem::path free_folder_name();

/// A nats-server with JetStream, on a port that the kernel chose, of an address of loopback that nobody else has by
/// chance, so that it can have the same one again after it died. Its token stands in a file that others cannot read.
/// Owner: kills it.
class PrivateServer {
 public:
  /// Throws ClusterError if there is no nats-server.
  explicit PrivateServer(std::filesystem::path folder);

  /// Starts it, and waits until it takes connections; again after it died. Returns early, without a server, once
  /// `stop_fd` is readable or `life_fd` hangs up. Throws ClusterError with its log if it does not come up.
  void start(int stop_fd, int life_fd);
  BoundProgram& program() noexcept { return program_; }
  std::string url() const;
  const std::string& token() const noexcept { return token_; }

 private:
  void write_configuration() const;
  /// False if it ended before it took connections.
  bool wait_for_port(int watch, const std::filesystem::path& ports, int stop_fd, int life_fd);
  std::string log() const;

  const std::filesystem::path folder_;
  const std::string path_;
  const std::string host_;
  const std::string token_;
  std::uint16_t port_ = 0;  // 0: any.
  BoundProgram program_;
};

}  // namespace tandem::detail
