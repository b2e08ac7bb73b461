/// Three servers that keep each stream together.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/engine_options.hpp"
#include "cluster/nats_server.hpp"

namespace tandem::testing {

/// Three nats-servers that are one cluster, each on an address of loopback of its own. Owner: ends them.
class ServerGroup {
 public:
  ServerGroup() : ServerGroup({}, {}) {}
  /// On these addresses, and in these network namespaces.
  ServerGroup(std::vector<std::string> hosts, const std::vector<std::string>& networks);

  NatsServer& server(std::size_t at) { return *servers_.at(at); }
  /// Of all three, with commas between.
  std::string url() const;
  const std::string& token() const { return token_; }
  /// Which of them leads the stream, as they say; empty if there is no leader now, or no such stream. Waits for an
  /// answer for some seconds.
  std::optional<std::size_t> leader_of(const std::string& stream) const;
  /// On how many of them a stream is kept. Asks until they say, for a minute; 0 if they do not.
  std::size_t replicas_of(const std::string& stream) const;
  /// Waits until the stream has a leader and kills that; says which it was. Throws std::runtime_error if there is none
  /// for a minute.
  std::size_t kill_leader_of(const std::string& stream);

 private:
  const std::string token_;
  std::array<std::unique_ptr<NatsServer>, 3> servers_;
};

}  // namespace tandem::testing
