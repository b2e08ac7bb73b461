/// What `tandem cluster up` leaves on disk for the other commands: one folder for each name.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cluster_connection.hpp"
#include "cluster_program.hpp"

namespace tandem::tool {

/// A cluster that is up. Value; a file of JSON, without secrets: these have files of their own beside it.
struct ClusterRecord {
  std::string name{};
  /// Of the keeper, and the machine that it runs on.
  pid_t pid = 0;
  std::string host{};
  std::string url{};
  bool own_server = false;
  std::string launcher{};
  std::vector<std::string> hosts{};
  std::size_t nodes = 0;
  /// Stands in the name of each of its nodes.
  std::string run_id{};
  std::vector<std::string> program{};
  std::string pool{};
  std::int64_t lease_ms = 0;
  std::int64_t drain_ms = 0;
  /// Seconds since 1970.
  std::int64_t started = 0;
  std::string store{};
  std::string token_file{};
  std::string ca_file{};
  std::string certificate_file{};
  std::string key_file{};
  bool allow_unprotected_server = false;

  /// How a client of this machine reaches it.
  Connection connection() const;
};
void to_json(nlohmann::ordered_json& value, const ClusterRecord& record);
/// Throws nlohmann::ordered_json::exception.
void from_json(const nlohmann::ordered_json& value, ClusterRecord& record);

/// $XDG_RUNTIME_DIR/tandem/NAME, or ~/.local/state/tandem/NAME. Throws BadInput.
std::string state_folder(const std::string& name);
void write_record(const std::string& folder, const ClusterRecord& record);
/// Empty if there is none. Throws BadInput for one that cannot be understood.
std::optional<ClusterRecord> read_record(const std::string& folder);

/// Makes the folder and takes it for this process and those that get the descriptor; empty if somebody has it. The
/// kernel lets it go with the last of them, however they end.
OwnFd take_folder(const std::string& folder);
/// Whether somebody has it: its keeper lives.
bool is_taken(const std::string& folder);
/// Removes the folder, and the store of the record.
void remove_folder(const std::string& folder, const std::optional<ClusterRecord>& record);

/// The cluster of that name, which must be up on this machine. Throws BadInput.
ClusterRecord record_of(const std::string& name);
/// What --cluster names: a url, or the name of a cluster that is up. Throws BadInput.
Connection named_cluster(const std::string& name_or_url, Connection connection);

std::string own_host();

}  // namespace tandem::tool
