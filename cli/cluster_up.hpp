/// `tandem cluster up`.
#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cluster_connection.hpp"
#include "cluster_keeper.hpp"
#include "interruption.hpp"

namespace tandem::tool {

class ClusterUp {
 public:
  explicit ClusterUp(CLI::App& cluster);
  bool is_chosen() const { return command_->parsed(); }
  int run(Interruption& interruption, const std::vector<std::string>& program);

 private:
  /// All that can be known to be wrong is said by this, before anything is made. Throws BadInput.
  KeeperOrder checked_order(const std::vector<std::string>& program);
  void order_server(KeeperOrder& order, LauncherKind launcher);
  void order_hosts(KeeperOrder& order, LauncherKind launcher);
  /// Makes the token and the certificates, in files of the folder.
  void make_secrets(KeeperOrder& order, const ClusterOptions& options) const;

  CLI::App* command_;
  Connection connection_;
  std::string name_ = "default";
  std::string hosts_;
  std::string launcher_ = "ssh";
  std::optional<std::string> agents_;
  std::optional<std::string> slots_;
  std::optional<std::string> drain_;
  std::optional<std::string> lease_;
  std::string wait_ = "60s";
  std::string bind_;
  std::string port_ = "0";
  bool tls_ = false;
  bool mutual_ = false;
  std::string ssh_ = "ssh";
  std::string store_;
};

}  // namespace tandem::tool
