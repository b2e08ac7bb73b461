#include "cluster/engine_options.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

namespace tandem::detail {
namespace {

constexpr std::size_t kMaxNameLength = 64;
constexpr std::chrono::milliseconds kMinLease{100};
constexpr std::chrono::milliseconds kMinSilence{1000};

[[noreturn]] void refuse_url(const char* why) {
  throw std::invalid_argument(std::string("the url of the engine ") + why);
}

std::uint16_t parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0)
    refuse_url("has a port that is not a number from 1 to 65535");
  return port;
}

// "host", "host:port", "[address]:port".
EngineServer parse_server(std::string_view text, bool tls) {
  EngineServer server;
  server.tls = tls;
  std::string_view rest;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) refuse_url("has a '[' without a ']'");
    server.host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
  } else {
    const std::size_t colon = text.find(':');
    server.host = text.substr(0, colon);
    if (colon != std::string_view::npos) rest = text.substr(colon);
  }
  if (server.host.empty()) refuse_url("names no host");
  const auto ordinary = [](unsigned char c) {
    return c > ' ' && c < 127 && c != '/' && c != '@' && c != '?' && c != '#';
  };
  if (!std::all_of(server.host.begin(), server.host.end(), ordinary)) refuse_url("has a host that cannot be one");
  if (!rest.empty()) {
    if (rest.front() != ':') refuse_url("has something behind the host that is no port");
    server.port = parse_port(rest.substr(1));
  }
  return server;
}

// "%40" is '@'. What is refused is not repeated: it is a secret.
std::string decoded(std::string_view text) {
  std::string all;
  for (; !text.empty(); text.remove_prefix(1)) {
    if (text.front() != '%') {
      all += text.front();
      continue;
    }
    unsigned code = 0;
    const char* const digits = text.data() + 1;
    if (text.size() < 3 || std::from_chars(digits, digits + 2, code, 16).ptr != digits + 2 || code == 0)
      refuse_url("has a '%' before the '@' without the two digits of a character: '%' itself is %25");
    all += static_cast<char>(code);
    text.remove_prefix(2);
  }
  return all;
}

void take_credentials(std::string_view text, EngineOptions& options) {
  const std::size_t colon = text.find(':');
  const std::string first = decoded(text.substr(0, colon));
  const std::string second = colon == std::string_view::npos ? std::string() : decoded(text.substr(colon + 1));
  if (!options.token.empty() || !options.user.empty()) return;
  (colon == std::string_view::npos ? options.token : options.user) = first;
  options.password = second;
}

bool has_credentials(const EngineOptions& options) {
  return !options.token.empty() || !options.user.empty() || (options.tls && !options.tls->certificate_file.empty());
}

}  // namespace

std::string EngineServer::text() const {
  const bool six = host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", tls ? "tls" : "nats", six ? "[" : "", host, six ? "]" : "", port);
}

bool EngineServer::is_loopback() const {
  if (host == "localhost") return true;
  in_addr four{};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 24) == IN_LOOPBACKNET;
  in6_addr six{};
  return ::inet_pton(AF_INET6, host.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

EngineOptions engine_options(const std::string& url, const ClusterOptions& options) {
  EngineOptions engine;
  engine.url = url;
  engine.token = options.token;
  engine.user = options.user;
  engine.password = options.password;
  if (options.tls) engine.tls = EngineTls{options.tls->ca_file, options.tls->certificate_file, options.tls->key_file};
  engine.allow_unprotected_server = options.allow_unprotected_server;
  engine.lease_time = options.lease_time;
  engine.client_silence = options.client_silence;
  engine.pool = options.pool;
  engine.connect_wait = options.connect_wait;
  const char* const token = std::getenv("TANDEM_CLUSTER_TOKEN");
  if (engine.token.empty() && engine.user.empty() && url.find('@') == std::string::npos && token != nullptr)
    engine.token = token;
  return engine;
}

std::vector<EngineServer> take_servers(EngineOptions& options) {
  std::vector<EngineServer> servers;
  std::string_view rest = options.url;
  bool tls = false;
  while (true) {
    const std::size_t comma = rest.find(',');
    std::string_view one = rest.substr(0, comma);
    if (one.starts_with("nats://") || one.starts_with("tls://")) {
      tls = one.starts_with("tls://");
      one.remove_prefix(one.find("//") + 2);
    } else if (servers.empty()) {
      refuse_url("must begin with nats:// or tls://");
    }
    // A password may contain an '@'; a host cannot.
    if (const std::size_t at = one.rfind('@'); at != std::string_view::npos) {
      // A comma in a password would make its first part a host, which is looked up and stands in texts.
      if (!servers.empty()) refuse_url("has an '@' behind a comma: a comma in a secret must be %2C");
      take_credentials(one.substr(0, at), options);
      one.remove_prefix(at + 1);
    }
    servers.push_back(parse_server(one, tls));
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (std::any_of(servers.begin(), servers.end(), [](const EngineServer& server) { return server.tls; })) {
    for (EngineServer& server : servers) server.tls = true;
    if (!options.tls) options.tls.emplace();
  }
  options.url.clear();
  for (const EngineServer& server : servers) options.url += (options.url.empty() ? "" : ",") + server.text();
  return servers;
}

void check_engine_times(std::chrono::milliseconds lease_time, std::chrono::milliseconds client_silence) {
  const auto check = [](const char* name, std::chrono::milliseconds time, std::chrono::milliseconds least) {
    if (time < least || time > kMostEngineTime)
      throw std::invalid_argument(fmt::format("{} must be from {} to {} milliseconds, not {}", name, least.count(),
                                              kMostEngineTime.count(), time.count()));
  };
  check("lease_time", lease_time, kMinLease);
  check("client_silence", client_silence, kMinSilence);
}

void check_engine_options(const EngineOptions& options, const std::vector<EngineServer>& servers) {
  check_engine_name(options.pool, "a pool");
  check_engine_name(options.build_id, "a build");
  if (options.max_age < std::chrono::minutes(5))
    throw std::invalid_argument("tasks of an engine must be kept for at least 5 minutes");
  check_engine_times(options.lease_time, options.client_silence);
  if (options.replicas < 1 || options.replicas > 5)
    throw std::invalid_argument("the number of replicas must be from 1 to 5");
  if (options.store_bytes < (std::size_t{64} << 20) || options.store_bytes > (std::size_t{1} << 60))
    throw std::invalid_argument("a pool must be allowed 64 MiB to 1 EiB of a server's store");
  if (options.unstored_items == 0 || options.unstored_bytes == 0)
    throw std::invalid_argument("the limits of what is not stored yet must not be 0");
  if (options.tls && options.tls->certificate_file.empty() != options.tls->key_file.empty())
    throw std::invalid_argument("a certificate for the engine needs its key, and a key its certificate");
  if (options.allow_unprotected_server) return;
  for (const EngineServer& server : servers) {
    if (server.is_loopback() || (options.tls && has_credentials(options))) continue;
    throw std::invalid_argument(fmt::format(
        "{} is not on loopback and is used without {}: whoever reaches it could have agents run what he likes; give "
        "{}, or say allow_unprotected_server",
        server.text(), options.tls ? "a token, a user or a certificate" : "TLS",
        options.tls ? "one of them" : "TLS files and a token"));
  }
}

bool is_engine_name(const std::string& text) {
  const auto ordinary = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  return !text.empty() && text.size() <= kMaxNameLength && text != "_" &&
         std::all_of(text.begin(), text.end(), ordinary);
}

void check_engine_name(const std::string& text, const char* of_what) {
  if (!is_engine_name(text))
    throw std::invalid_argument(fmt::format("the name of {} must be 1 to 64 letters, digits, '-' and '_', not \"{}\"",
                                            of_what, text.substr(0, 2 * kMaxNameLength)));
}

}  // namespace tandem::detail
