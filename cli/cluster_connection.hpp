/// The options that say which server of a cluster, and what it asks for. No secret is ever one of them: files name
/// these.
#pragma once

#include <CLI/App.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <tandem/cluster_options.hpp>

#include "cluster_program.hpp"

namespace tandem::tool {

/// Value; filled by the parser.
struct Connection {
  std::optional<std::string> url{};
  std::string pool = "default";
  std::string token_file{};
  std::string ca_file{};
  std::string certificate_file{};
  std::string key_file{};
  bool allow_unprotected_server = false;
  /// Whether the caller's environment says what this does not: TANDEM_CLUSTER_TOKEN, TANDEM_CLUSTER_CA and their like.
  bool from_environment = true;
  /// Of the cluster, if it is not the usual one.
  std::optional<std::chrono::milliseconds> lease_time{};

  void add_options(CLI::App& app, const char* about_url);
  /// What the files hold is read. Throws BadInput.
  ClusterOptions options() const;
  /// Throws BadInput for a url that is none, has a secret in it, or is of a server that is refused.
  void check() const;
  /// The variables that an agent and a client have in common, files by absolute names; what this does not say of
  /// credentials and certificates is left as it is, or taken away (see from_environment).
  Environment environment() const;
};

/// Reads a token: one line. Throws BadInput.
std::string read_token(const std::string& file);
/// Reads "250ms", "20s", "5m", "2h". Throws BadInput that names the option and the bounds.
std::chrono::milliseconds parse_duration(const std::string& option, const std::string& text,
                                         std::chrono::milliseconds least, std::chrono::milliseconds most);
/// Bounds of what agents and clusters are told.
inline constexpr std::size_t kMostSlots = 65536;
inline constexpr std::chrono::milliseconds kLeastLease{100}, kMostLease{std::chrono::hours(1)};
inline constexpr std::chrono::milliseconds kLeastDrain{1}, kMostDrain{std::chrono::hours(48)};
/// Throws BadInput unless it is 1 to 64 letters, digits, '-' and '_'.
void check_name(const std::string& option, const std::string& text);

}  // namespace tandem::tool
