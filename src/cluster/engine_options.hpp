/// How a client or an agent finds its engine, and what it must prove to it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <tandem/cluster_options.hpp>

namespace tandem::detail {

/// The most that a lease time or a silence may be: eleven days. Variables of agents take no more either, and sums of
/// what is far beyond overflow in nanoseconds.
inline constexpr std::chrono::milliseconds kMostEngineTime{1'000'000'000};

/// Files in PEM form for a connection by TLS, or the text of such a file, which begins with "-----BEGIN". Value.
struct EngineTls {
  /// Whom the server's certificate must be signed by. Empty: the system's authorities.
  std::string ca_file{};
  /// What this side shows the server, if that asks for it (mutual TLS): both or none. The key is not encrypted.
  std::string certificate_file{};
  std::string key_file{};
};

/// What a token, a user and TLS are: secrets. They go into options and files, never into a command line; Tandem puts
/// none into a log or the text of an error.
struct EngineOptions {
  /// "nats://host:port", or "tls://host:port", which must be by TLS; several servers of one cluster with commas
  /// between. "nats://token@host" and "nats://user:password@host" are understood, before the
  /// first server; `token`, `user` and `password` win. In these a %40 stands for '@', as in any url: a comma must be
  /// %2C.
  std::string url{};
  std::string token{};
  std::string user{};
  std::string password{};
  std::optional<EngineTls> tls{};
  /// Allows a server on anything but loopback without credentials or without TLS, which is refused otherwise: whoever
  /// can write to the queues can make agents run any function of the program, and whoever listens reads every argument.
  bool allow_unprotected_server = false;

  /// Those who meet have the same pool: letters, digits, '-' and '_', at most 64.
  std::string pool = "default";
  /// What this program is built from, of the same characters: tasks go to agents of the same build only.
  std::string build_id{};
  /// How long a task that is not renewed stays an agent's. From 100 ms to kMostEngineTime; the same in all of a pool:
  /// a client logs which agent has another one, and the agent that came last decides for all.
  std::chrono::milliseconds lease_time{10000};
  /// Where tasks and results are kept: in the server's files, or in its memory, which is faster and ends with it.
  bool in_memory = false;
  /// On how many servers of a cluster each is kept; more than before, if the queues are there already and on fewer.
  int replicas = 1;
  /// How much a pool may keep in the store of each of these servers: a quarter each for tasks, for results, and for the
  /// large payloads of tasks and of results, so that tasks never take the room of results. What is beyond waits on its
  /// side. A server that has not so much left gives what it has. Counts for who makes the queues. At least 64 MiB.
  std::size_t store_bytes = std::size_t{16} << 30;
  /// What nobody fetches is dropped after this time: tasks and results of clients that are gone.
  std::chrono::seconds max_age{24 * 3600};
  /// Tasks of a client that agents have not heard for so long are dropped: it is dead, or finds them missing when it is
  /// back. From one second to kMostEngineTime. That of the client counts.
  std::chrono::milliseconds client_silence{60000};
  /// How long the first connection may take to come about.
  std::chrono::milliseconds connect_wait{10000};
  /// Of submitted tasks, or of results, that are on their way and not known to be stored: the most bytes and the most
  /// items, so that a slow server does not fill this process. One item may be larger.
  std::size_t unstored_bytes = std::size_t{64} << 20;
  std::size_t unstored_items = 4096;
};

/// One server of a url, without secrets. Value.
struct EngineServer {
  std::string host{};
  std::uint16_t port = 4222;
  bool tls = false;

  /// "nats://host:port": fit for a log.
  std::string text() const;
  /// Whether it is on this machine for sure: "localhost" or an address of loopback. Names are not looked up: what they
  /// stand for may be another machine tomorrow.
  bool is_loopback() const;
};

/// What a ClusterExecutor's options say of the engine; a token that they do not name is that of the environment
/// variable TANDEM_CLUSTER_TOKEN. Without the build_id.
EngineOptions engine_options(const std::string& url, const ClusterOptions& options);

/// The servers of the url; what that says of token, user and password goes into the options where these say nothing.
/// Throws std::invalid_argument for a text that is no such url; the message repeats no part of it that may be secret.
std::vector<EngineServer> take_servers(EngineOptions& options);

/// Throws std::invalid_argument, which names the option, for times that make no sense.
void check_engine_times(std::chrono::milliseconds lease_time, std::chrono::milliseconds client_silence);

/// Throws std::invalid_argument for options that make no sense, and for a server that is refused (see
/// allow_unprotected_server).
void check_engine_options(const EngineOptions& options, const std::vector<EngineServer>& servers);

/// Whether it can be a pool, a build id, the name of a node or of a client: 1 to 64 letters, digits, '-' and '_', and
/// not "_" alone.
bool is_engine_name(const std::string& text);
/// Throws std::invalid_argument, "the name of a node must ...", if it cannot.
void check_engine_name(const std::string& text, const char* of_what);

}  // namespace tandem::detail
