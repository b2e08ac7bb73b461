#include "cluster_launcher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "bad_input.hpp"
#include "text.hpp"

namespace tandem::tool {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"ssh", "srun", "mpirun", "local"};

// All that makes a program an agent: what a host's own environment has of it would get in the way. A test compares them
// with those that agents know.
constexpr std::array kVariables = {"TANDEM_AGENT",
                                   "TANDEM_AGENT_CACHE_MIB",
                                   "TANDEM_AGENT_DRAIN_MS",
                                   "TANDEM_AGENT_NODE",
                                   "TANDEM_AGENT_SLOTS",
                                   "TANDEM_CLUSTER_ALLOW_UNPROTECTED",
                                   "TANDEM_CLUSTER_CA",
                                   "TANDEM_CLUSTER_CERTIFICATE",
                                   "TANDEM_CLUSTER_KEY",
                                   "TANDEM_CLUSTER_LEASE_MS",
                                   "TANDEM_CLUSTER_PASSWORD",
                                   "TANDEM_CLUSTER_POOL",
                                   "TANDEM_CLUSTER_REPLICAS",
                                   "TANDEM_CLUSTER_SILENCE_MS",
                                   "TANDEM_CLUSTER_STORE_MIB",
                                   "TANDEM_CLUSTER_TOKEN",
                                   "TANDEM_CLUSTER_TOKEN_FILE",
                                   "TANDEM_CLUSTER_URL",
                                   "TANDEM_CLUSTER_USER"};

// What runs on a host, for any POSIX shell. It is read to its end before any of it runs. With `listens` its standard
// input says when the agent is to leave: by a word, or by its end, which comes however the other side ends.
std::string script(const AgentPlan& plan, bool listens, bool sets_variables) {
  std::string text = "tandem_host() {\n";
  text += "unset";
  for (const char* name : kVariables)
    if (!plan.variables.contains(name)) text += fmt::format(" {}", name);
  text += "\n";
  if (sets_variables)
    for (const auto& [name, value] : plan.variables) text += fmt::format("export {}={}\n", name, quoted(value));
  // A login shell of another user may have no such folder.
  text += fmt::format("cd -- {0} 2>/dev/null || cd || exit 126\n", quoted(plan.folder));
  const std::string program = quoted(plan.program.at(0));
  if (plan.program.at(0).find('/') != std::string::npos)
    text += fmt::format(
        "if [ ! -f {0} ]; then echo {1}\": no such program in $(pwd)\"; exit 127; fi\n"
        "if [ ! -x {0} ]; then echo {1}\": is no program that can be executed\"; exit 126; fi\n",
        program, quoted(printable(plan.program.at(0))));
  else
    text +=
        fmt::format("command -v {} >/dev/null || {{ echo {}\": no such program in the search path\"; exit 127; }}\n",
                    program, quoted(printable(plan.program.at(0))));
  text += fmt::format(
      "TANDEM_AGENT_NODE=$(uname -n | cut -d. -f1 | cut -c1-30 | tr -c 'A-Za-z0-9\\n' -)-{}-$$\n"
      "export TANDEM_AGENT_NODE\nexec 3<&0 </dev/null\n",
      plan.run_id);
  std::string words;
  for (const std::string& word : plan.program) words += quoted(word) + " ";
  text += words + "3<&- &\nagent=$!\ntrap 'kill -TERM $agent' USR1 TERM INT HUP\n";
  text += fmt::format("echo \"{} $TANDEM_AGENT_NODE\"\n", started_mark(plan.run_id));
  if (listens)
    text +=
        "{ while read -r word <&3; do\n"
        "case $word in kill) kill -KILL $agent ;; *) kill -TERM $agent ;; esac\n"
        "done; kill -TERM $agent; } >/dev/null 2>&1 &\nlistener=$!\n";
  // A signal ends the waiting before the agent has ended.
  text +=
      "exec 3<&-\n"
      "while :; do wait $agent; code=$?; [ $code -gt 128 ] && [ -d /proc/$agent ] || break; done\n";
  if (listens) text += "kill $listener 2>/dev/null\n";
  // One agent that fails must not have mpirun end the others.
  text += listens ? "exit $code\n" : "[ $code = 0 ] || echo \"agent $TANDEM_AGENT_NODE ended with $code\"\nexit 0\n";
  return text + "}\ntandem_host\n";
}

Launch launch_of_allocation(LauncherKind kind, const AgentPlan& plan, const std::vector<std::string>& hosts,
                            std::size_t nodes) {
  Launch launch;
  launch.where = to_string(kind);
  for (const char* name : kVariables) launch.environment[name] = std::nullopt;
  for (const auto& [name, value] : plan.variables) launch.environment[name] = value;
  std::string list;
  for (const std::string& host : hosts) list += (list.empty() ? "" : ",") + host;
  if (kind == LauncherKind::Srun) {
    // The other agents stay if a node fails; each has all that the job has of its node; other steps may run beside.
    launch.words = {"srun",
                    "--no-kill",
                    "--overlap",
                    "--kill-on-bad-exit=0",
                    "--wait=0",
                    "--cpu-bind=none",
                    "--input=none",
                    "--export=ALL",
                    "--ntasks-per-node=1",
                    fmt::format("--nodes={}", nodes),
                    fmt::format("--ntasks={}", nodes)};
    if (!list.empty()) launch.words.push_back("--nodelist=" + list);
  } else {
    launch.words = {"mpirun", "--host", list, "--map-by", "ppr:1:node", "--bind-to", "none"};
    // By name: the values go from mpirun's environment to the hosts in its own messages.
    for (const auto& [name, value] : plan.variables) launch.words.insert(launch.words.end(), {"-x", name});
  }
  launch.words.insert(launch.words.end(), {"sh", "-c", script(plan, false, false)});
  return launch;
}

}  // namespace

std::string_view to_string(LauncherKind kind) noexcept {
  return kNames[static_cast<std::size_t>(kind)];
}

std::optional<LauncherKind> parse_launcher(std::string_view text) noexcept {
  const auto* const found = std::find(kNames.begin(), kNames.end(), text);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<LauncherKind>(found - kNames.begin());
}

std::string started_mark(const std::string& run_id) {
  return "tandem-agent-" + run_id;
}

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

void check_host(const std::string& host) {
  const auto ordinary = [](unsigned char c) {
    return (c < 128 && std::isalnum(c) != 0) ||
           std::string_view("-_.:@[]").find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (host.empty() || host.size() > 255 || host.front() == '-' || !std::all_of(host.begin(), host.end(), ordinary))
    throw BadInput(fmt::format("--hosts: cannot be a host: '{}'", printable(host)));
}

std::vector<Launch> make_launches(LauncherKind kind, const AgentPlan& plan, const std::vector<std::string>& hosts,
                                  std::size_t nodes, const std::vector<std::string>& ssh) {
  if (kind == LauncherKind::Srun || kind == LauncherKind::Mpirun)
    return {launch_of_allocation(kind, plan, hosts, nodes)};
  std::vector<Launch> launches;
  const std::string input = script(plan, true, true);
  for (std::size_t at = 0; at < nodes; ++at) {
    Launch launch;
    launch.input = input;
    if (kind == LauncherKind::Local) {
      launch.where = fmt::format("local agent {}", at + 1);
      launch.words = {"sh"};
    } else {
      launch.where = hosts.at(at);
      launch.words = ssh;
      launch.words.insert(launch.words.end(),
                          {"-T", "-x", "-a", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o",
                           "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "--", hosts.at(at), "sh"});
    }
    launches.push_back(std::move(launch));
  }
  return launches;
}

}  // namespace tandem::tool
