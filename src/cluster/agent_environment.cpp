#include "cluster/agent_environment.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>

#include <fmt/format.h>

#include <tandem/cluster_status.hpp>
#include <tandem/cpu.hpp>

#include "core/system.hpp"
#include "wire/modules.hpp"

namespace tandem::detail {
namespace {

constexpr const char* kTokenFile = "TANDEM_CLUSTER_TOKEN_FILE";
constexpr const char* kUser = "TANDEM_CLUSTER_USER";
constexpr const char* kPassword = "TANDEM_CLUSTER_PASSWORD";
constexpr const char* kCa = "TANDEM_CLUSTER_CA";
constexpr const char* kCertificate = "TANDEM_CLUSTER_CERTIFICATE";
constexpr const char* kKey = "TANDEM_CLUSTER_KEY";
constexpr const char* kUnprotected = "TANDEM_CLUSTER_ALLOW_UNPROTECTED";
constexpr const char* kPool = "TANDEM_CLUSTER_POOL";
constexpr const char* kLease = "TANDEM_CLUSTER_LEASE_MS";
constexpr const char* kSilence = "TANDEM_CLUSTER_SILENCE_MS";
constexpr const char* kCache = "TANDEM_AGENT_CACHE_MIB";
constexpr const char* kReplicas = "TANDEM_CLUSTER_REPLICAS";
constexpr const char* kStore = "TANDEM_CLUSTER_STORE_MIB";
constexpr const char* kNode = "TANDEM_AGENT_NODE";
constexpr const char* kSlots = "TANDEM_AGENT_SLOTS";
constexpr const char* kDrain = "TANDEM_AGENT_DRAIN_MS";
constexpr std::array kAll = {AgentEnvironment::kUrl,
                             AgentEnvironment::kClusterUrl,
                             AgentEnvironment::kToken,
                             kTokenFile,
                             kUser,
                             kPassword,
                             kCa,
                             kCertificate,
                             kKey,
                             kUnprotected,
                             kPool,
                             kLease,
                             kSilence,
                             kCache,
                             kReplicas,
                             kStore,
                             kNode,
                             kSlots,
                             kDrain};

// A time of as many milliseconds is one that every client may have.
constexpr std::uint64_t kMostNumber = kMostEngineTime.count();

std::string look(const char* name) {
  const char* const text = std::getenv(name);
  return text != nullptr ? text : "";
}

// The kernel shows the environment that a process was started with, the very bytes, to its user's other processes
// (/proc/<pid>/environ): what is only unset can still be read there.
std::string take(const char* name) {
  std::string value = look(name);
  if (char* const text = std::getenv(name); text != nullptr) ::explicit_bzero(text, std::strlen(text));
  ::unsetenv(name);
  return value;
}

std::optional<std::uint64_t> number(const char* name, const std::string& text) {
  if (text.empty()) return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(text.c_str(), &end, 10);
  if (errno != 0 || *end != '\0' || text[0] == '-' || value == 0 || value > kMostNumber)
    throw std::invalid_argument(fmt::format("{} must be a number from 1 to {}", name, kMostNumber));
  return value;
}
std::optional<std::uint64_t> take_number(const char* name) {
  return number(name, take(name));
}

std::string own_node_name() {
  std::array<char, 256> host{};
  static_cast<void>(::gethostname(host.data(), host.size() - 1));
  std::string name = host.data();
  name = name.substr(0, std::min<std::size_t>(name.find('.'), 40));
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '-';
  std::random_device device;
  return fmt::format("{}-{:08x}", name.empty() ? "node" : name, device());
}

// A file of one line, as schedulers of containers make of secrets.
std::string token_of_file(const std::string& path) {
  std::string text = read_small_file(path);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  if (text.empty()) throw std::invalid_argument(fmt::format("{}: no token can be read from {}", kTokenFile, path));
  return text;
}

[[noreturn]] void agent_main() {
  // The name of a program that was executed by way of a link is the link's otherwise.
  ::prctl(PR_SET_NAME, program_invocation_short_name);
  // A shell that starts it in the background has these ignored, and so had all that tasks start.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGQUIT, SIG_DFL);
  int code = 127;
  try {
    code = run_agent(take_agent_environment());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tandem: this agent cannot work: %s\n", error.what());
  }
  std::exit(code);
}

}  // namespace

std::map<std::string, std::optional<std::string>> AgentEnvironment::variables() const {
  std::map<std::string, std::optional<std::string>> all;
  for (const char* name : kAll) all[name] = std::nullopt;
  all[kUrl] = url;
  all[kToken] = token;
  if (!node.empty()) all[kNode] = node;
  if (slots != 0) all[kSlots] = std::to_string(slots);
  all[kLease] = std::to_string(lease_time.count());
  all[kSilence] = std::to_string(client_silence.count());
  return all;
}

AgentSettings take_agent_environment() {
  AgentSettings settings;
  EngineOptions& engine = settings.engine;
  engine.url = take(AgentEnvironment::kUrl);
  engine.token = take(AgentEnvironment::kToken);
  const std::string token_file = take(kTokenFile);
  if (engine.token.empty() && !token_file.empty()) engine.token = token_of_file(token_file);
  engine.user = take(kUser);
  engine.password = take(kPassword);
  EngineTls tls{take(kCa), take(kCertificate), take(kKey)};
  if (!tls.ca_file.empty() || !tls.certificate_file.empty()) engine.tls = std::move(tls);
  engine.allow_unprotected_server = take(kUnprotected) == "1";
  if (std::string pool = take(kPool); !pool.empty()) engine.pool = std::move(pool);
  if (const auto lease = take_number(kLease)) engine.lease_time = std::chrono::milliseconds(*lease);
  if (const auto silence = take_number(kSilence)) engine.client_silence = std::chrono::milliseconds(*silence);
  if (const auto cache = take_number(kCache)) settings.cache_bytes = *cache << 20;
  if (const auto replicas = take_number(kReplicas))
    engine.replicas = static_cast<int>(std::min<std::uint64_t>(*replicas, 1000));
  if (const auto mebibytes = take_number(kStore)) engine.store_bytes = std::size_t{*mebibytes} << 20;
  engine.build_id = to_text(program_module().build_id);
  settings.node = take(kNode);
  if (settings.node.empty()) settings.node = own_node_name();
  settings.slots = take_number(kSlots).value_or(cpu_count());
  if (const auto drain = take_number(kDrain)) settings.drain_time = std::chrono::milliseconds(*drain);
  return settings;
}

}  // namespace tandem::detail

namespace tandem {

std::optional<ClusterEnvironment> cluster_environment(ClusterOptions options) {
  using namespace detail;
  std::string url = look(AgentEnvironment::kClusterUrl);
  if (url.empty()) return std::nullopt;
  if (options.token.empty() && options.user.empty()) {
    options.token = look(AgentEnvironment::kToken);
    const std::string token_file = look(kTokenFile);
    if (options.token.empty() && !token_file.empty()) options.token = token_of_file(token_file);
    options.user = look(kUser);
    options.password = look(kPassword);
  }
  ClusterTls tls{look(kCa), look(kCertificate), look(kKey)};
  if (!options.tls && (!tls.ca_file.empty() || !tls.certificate_file.empty())) options.tls = std::move(tls);
  if (look(kUnprotected) == "1") options.allow_unprotected_server = true;
  const ClusterOptions usual;
  if (const std::string pool = look(kPool); !pool.empty() && options.pool == usual.pool) options.pool = pool;
  if (const auto lease = number(kLease, look(kLease)); lease && options.lease_time == usual.lease_time)
    options.lease_time = std::chrono::milliseconds(*lease);
  if (const auto silence = number(kSilence, look(kSilence)); silence && options.client_silence == usual.client_silence)
    options.client_silence = std::chrono::milliseconds(*silence);
  return ClusterEnvironment{std::move(url), std::move(options)};
}

}  // namespace tandem

namespace tandem::detail {

bool know_agent() noexcept {
  set_agent_main(agent_main);
  return true;
}

}  // namespace tandem::detail
