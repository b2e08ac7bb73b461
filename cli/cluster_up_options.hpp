/// The options of `tandem cluster up`, and what they order.
#pragma once

#include <CLI/App.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cluster_connection.hpp"
#include "cluster_keeper_messages.hpp"

namespace tandem::tool {

/// Value; filled by the parser.
struct ClusterUpOptions {
  /// Its url: of a server that is there already.
  Connection connection{};
  std::string name = "default";
  std::string hosts{};
  std::string launcher = "ssh";
  std::optional<std::string> agents{};
  std::optional<std::string> slots{};
  std::optional<std::string> drain{};
  std::optional<std::string> lease{};
  std::string wait = "60s";
  std::string bind{};
  std::string port = "0";
  bool tls = false;
  bool mutual = false;
  std::string ssh = "ssh";
  std::string store{};

  void add_to(CLI::App& app);
  /// How long it may take to be up. Throws BadInput.
  std::chrono::milliseconds patience() const;
  /// What a server that is there asks for; of one that is started, only the certificates that were given. Throws
  /// BadInput.
  ClusterOptions server_options() const;
  /// All but the secrets. What can be known to be wrong is said by this, before anything is made. Throws BadInput.
  KeeperOrder checked_order(const std::vector<std::string>& program) const;
};

}  // namespace tandem::tool
