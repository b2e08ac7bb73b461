/// How agents are started on hosts: a launcher turns what is to run into commands of this machine. It knows nothing of
/// the engine, and the engine nothing of it.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster_program.hpp"

namespace tandem::tool {

enum class LauncherKind { Ssh, Srun, Mpirun, Local };
std::string_view to_string(LauncherKind kind) noexcept;
std::optional<LauncherKind> parse_launcher(std::string_view text) noexcept;

/// What is to run on every host. Value.
struct AgentPlan {
  std::vector<std::string> program{};
  /// Where it runs, if that folder is there.
  std::string folder{};
  /// Stands in the names of its nodes and in the lines that its launcher is told by.
  std::string run_id{};
  /// What makes it an agent, secrets too.
  std::map<std::string, std::string> variables{};
};

/// A command of this machine that runs agents for as long as it runs. Value.
struct Launch {
  /// For people: the host, or the launcher's name.
  std::string where{};
  std::vector<std::string> words{};
  Environment environment{};
  /// Written to its standard input, which stays open: words follow (see kLeaveWord), and its end has the agents leave.
  /// Empty: SIGUSR1 has them leave, which srun and mpirun hand on; SIGTERM is for them to end at once.
  std::string input{};
};
inline constexpr const char kLeaveWord[] = "leave\n";
inline constexpr const char kKillWord[] = "kill\n";
/// A line that begins so says that an agent was begun, and its node's name.
std::string started_mark(const std::string& run_id);

/// Secrets are in the input of a launch, or, for srun and mpirun, in the environment, which these hand on themselves;
/// never among its words. `ssh`: the command for ssh and its own options. `hosts` may be empty for srun, which then
/// takes the allocation's; `nodes` says how many agents srun or a local launcher start.
std::vector<Launch> make_launches(LauncherKind kind, const AgentPlan& plan, const std::vector<std::string>& hosts,
                                  std::size_t nodes, const std::vector<std::string>& ssh);

/// Throws BadInput for a host that cannot be one: its name becomes an argument of other programs.
void check_host(const std::string& host);
/// For a POSIX shell.
std::string quoted(const std::string& text);

}  // namespace tandem::tool
