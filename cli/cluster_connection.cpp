#include "cluster_connection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <tandem/cluster_status.hpp>

#include "bad_input.hpp"
#include "text.hpp"

namespace tandem::tool {
namespace {

std::string absolute(const std::string& file) {
  return file.empty() ? "" : std::filesystem::absolute(file).string();
}

void check_readable(const char* option, const std::string& file) {
  if (file.empty()) return;
  const std::string text = read_text_file(file);
  if (text.find("-----BEGIN") == std::string::npos)
    throw BadInput(fmt::format("{} {}: is not a file in PEM form", option, printable(file)));
}

std::optional<std::string> variable(const std::string& value) {
  return value.empty() ? std::nullopt : std::optional(value);
}

}  // namespace

void Connection::add_options(CLI::App& app, const char* about_url) {
  app.add_option("--url", url, about_url)->type_name("URL");
  app.add_option("--pool", pool, "who meet have the same pool (default: default)")->type_name("NAME");
  app.add_option("--token-file", token_file, "file with the server's token; or the variable TANDEM_CLUSTER_TOKEN")
      ->type_name("FILE");
  app.add_option("--tls-ca", ca_file, "whom the server's certificate must be signed by (default: the system's)")
      ->type_name("FILE");
  app.add_option("--tls-cert", certificate_file, "what this side shows the server, with --tls-key")->type_name("FILE");
  app.add_option("--tls-key", key_file, "the key of --tls-cert")->type_name("FILE");
  app.add_flag("--allow-unprotected-server", allow_unprotected_server,
               "allow a server on anything but loopback without a token or without TLS");
}

ClusterOptions Connection::options() const {
  ClusterOptions options;
  check_name("--pool", pool);
  options.pool = pool;
  if (!token_file.empty()) options.token = read_token(token_file);
  if (certificate_file.empty() != key_file.empty())
    throw BadInput(certificate_file.empty() ? "--tls-key needs --tls-cert" : "--tls-cert needs --tls-key");
  check_readable("--tls-ca", ca_file);
  check_readable("--tls-cert", certificate_file);
  check_readable("--tls-key", key_file);
  if (!ca_file.empty() || !certificate_file.empty())
    options.tls = ClusterTls{absolute(ca_file), absolute(certificate_file), absolute(key_file)};
  options.allow_unprotected_server = allow_unprotected_server;
  if (lease_time) options.lease_time = *lease_time;
  if (!from_environment) return options;
  const auto look = [](const char* name) {
    const char* const text = std::getenv(name);
    return std::string(text != nullptr ? text : "");
  };
  if (options.token.empty()) {
    options.user = look("TANDEM_CLUSTER_USER");
    options.password = look("TANDEM_CLUSTER_PASSWORD");
    if (options.user.empty()) options.token = look("TANDEM_CLUSTER_TOKEN");
    const std::string file = look("TANDEM_CLUSTER_TOKEN_FILE");
    if (options.user.empty() && options.token.empty() && !file.empty()) options.token = read_token(file);
  }
  if (!options.tls) {
    ClusterTls tls{look("TANDEM_CLUSTER_CA"), look("TANDEM_CLUSTER_CERTIFICATE"), look("TANDEM_CLUSTER_KEY")};
    if (!tls.ca_file.empty() || !tls.certificate_file.empty()) options.tls = std::move(tls);
  }
  return options;
}

void Connection::check() const {
  const std::string& text = url.value();
  // Everybody on this machine sees a command line.
  if (text.find('@') != std::string::npos)
    throw BadInput("--url: no secret may stand on a command line: say --token-file, or set TANDEM_CLUSTER_TOKEN");
  try {
    static_cast<void>(checked_cluster_url(text, options()));
  } catch (const std::invalid_argument& error) {
    std::string why = error.what();
    if (const std::size_t at = why.find("or say allow_unprotected_server"); at != std::string::npos)
      why.replace(at, std::string::npos, "or say --allow-unprotected-server");
    throw BadInput(fmt::format("--url {}: {}", printable(text), why));
  }
}

Environment Connection::environment() const {
  Environment all;
  for (const char* name :
       {"TANDEM_AGENT_NODE", "TANDEM_AGENT_SLOTS", "TANDEM_AGENT_DRAIN_MS", "TANDEM_AGENT", "TANDEM_CLUSTER_URL"})
    all[name] = std::nullopt;
  if (!from_environment || !token_file.empty()) {
    for (const char* name : {"TANDEM_CLUSTER_TOKEN", "TANDEM_CLUSTER_USER", "TANDEM_CLUSTER_PASSWORD"})
      all[name] = std::nullopt;
    all["TANDEM_CLUSTER_TOKEN_FILE"] = variable(absolute(token_file));
  }
  if (!from_environment || !ca_file.empty() || !certificate_file.empty()) {
    all["TANDEM_CLUSTER_CA"] = variable(absolute(ca_file));
    all["TANDEM_CLUSTER_CERTIFICATE"] = variable(absolute(certificate_file));
    all["TANDEM_CLUSTER_KEY"] = variable(absolute(key_file));
  }
  all["TANDEM_CLUSTER_ALLOW_UNPROTECTED"] = allow_unprotected_server ? std::optional<std::string>("1") : std::nullopt;
  all["TANDEM_CLUSTER_POOL"] = pool;
  all["TANDEM_CLUSTER_LEASE_MS"] =
      lease_time ? std::optional(std::to_string(lease_time->count())) : std::optional<std::string>();
  return all;
}

std::string read_token(const std::string& file) {
  std::string text = read_text_file(file);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  if (text.empty() || text.find_first_of("\r\n") != std::string::npos || text.find('\0') != std::string::npos)
    throw BadInput(fmt::format("{}: does not hold a token: one line that is not empty", printable(file)));
  return text;
}

std::chrono::milliseconds parse_duration(const std::string& option, const std::string& text,
                                         std::chrono::milliseconds least, std::chrono::milliseconds most) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(end, text.data() + text.size());
  const std::uint64_t factor = unit == "ms"  ? 1
                               : unit == "s" ? 1000
                               : unit == "m" ? 60'000
                               : unit == "h" ? 3'600'000
                                             : 0;
  const auto most_ms = static_cast<std::uint64_t>(most.count());
  if (error != std::errc() || factor == 0 || number > most_ms / factor ||
      number * factor < static_cast<std::uint64_t>(least.count()))
    throw BadInput(fmt::format("{} {}: must be a whole number with ms, s, m or h, from {} ms to {} h", option,
                               printable(text), least.count(), most.count() / 3'600'000));
  return std::chrono::milliseconds(number * factor);
}

void check_name(const std::string& option, const std::string& text) {
  const auto ordinary = [](unsigned char c) { return (c < 128 && std::isalnum(c) != 0) || c == '-' || c == '_'; };
  if (text.empty() || text.size() > 64 || text == "_" || !std::all_of(text.begin(), text.end(), ordinary))
    throw BadInput(fmt::format("{} {}: must be 1 to 64 letters, digits, '-' and '_'", option, printable(text)));
}

}  // namespace tandem::tool
