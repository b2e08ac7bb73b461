/// A private nats-server.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "support/temporary_directory.hpp"

namespace tandem::testing {

/// How a NatsServer guards itself. Value.
struct NatsServerSettings {
  /// An address of loopback. Empty: one of its own.
  std::string host{};
  /// Empty: anybody may connect.
  std::string token{};
  /// The server's certificate and key, and the CA of those that it asks clients for; empty for no TLS, or for clients
  /// without certificates.
  std::string certificate_file{};
  std::string key_file{};
  std::string client_ca_file{};
  /// As in the server's configuration.
  std::string max_payload = "8MB";
  std::string max_file = "64GB";
  /// As a member of a cluster of servers: its name, where it listens for the others, and where they do. Empty: it is
  /// alone.
  std::string name{};
  std::string route_address{};
  std::vector<std::string> routes{};
  /// The network namespace that it runs in; empty: that of the test.
  std::string network{};
  /// What is published to the first subject goes to the second instead, as in the server's configuration.
  std::map<std::string, std::string> mappings{};
};

/// A nats-server with JetStream of one test: on a port that the kernel chose, of an address of loopback that no other
/// test has, so that it can have the same port again after it was killed. Its token stands in a file that others
/// cannot read. It ends with this object, or with the test's process. Owner.
class NatsServer {
 public:
  explicit NatsServer(NatsServerSettings settings);
  ~NatsServer();
  NatsServer(const NatsServer&) = delete;
  NatsServer& operator=(const NatsServer&) = delete;

  /// Starts it, and waits until it takes connections; again, after kill(). Throws std::runtime_error with its log if it
  /// does not come up, and if there is no nats-server: what is tested here cannot be left out in silence.
  void start();
  /// By SIGKILL.
  void kill();
  bool is_running() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  /// From its next start on.
  void set_token(const std::string& token) { settings_.token = token; }
  /// At once.
  void set_mappings(std::map<std::string, std::string> mappings);
  /// SIGSTOP and SIGCONT.
  void pause();
  void go_on();

  const std::string& host() const { return host_; }
  std::uint16_t port() const { return port_; }
  /// Where it keeps its streams. To be touched only while it does not run.
  std::filesystem::path store() const { return directory_.path() / "store"; }
  /// All that it ever said.
  std::string log() const;

 private:
  void write_configuration() const;
  void wait_for_port(int watch, const std::filesystem::path& ports);
  bool try_start();

  NatsServerSettings settings_;
  const TemporaryDirectory directory_;
  const std::string host_;
  std::uint16_t port_ = 0;  // 0: any.
  pid_t pid_ = -1;
};

/// An address of loopback that nobody else has, by chance.
std::string random_loopback();

/// A text that nobody can guess.
std::string random_secret();

}  // namespace tandem::testing
