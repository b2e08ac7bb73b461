#include "cluster_state.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "bad_input.hpp"
#include "text.hpp"

namespace tandem::tool {
namespace {

using Json = nlohmann::ordered_json;

std::string record_file(const std::string& folder) {
  return folder + "/cluster.json";
}

// Of this user alone: a folder that somebody else made could name another server, and see the token.
void make_private(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    throw BadInput(fmt::format("{}: cannot be made: {}", printable(folder), std::generic_category().message(errno)));
  struct stat info{};
  if (::lstat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() ||
      (info.st_mode & 022) != 0)
    throw BadInput(fmt::format("{}: must be a folder of this user that nobody else can write to", printable(folder)));
}

std::string base_folder() {
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/') return std::string(runtime) + "/tandem";
  const char* const home = std::getenv("HOME");
  if (home == nullptr || *home != '/')
    throw BadInput("neither XDG_RUNTIME_DIR nor HOME says where to keep the cluster");
  return std::string(home) + "/.local/state/tandem";
}

}  // namespace

Connection ClusterRecord::connection() const {
  Connection connection;
  connection.url = url;
  connection.pool = pool;
  connection.token_file = token_file;
  connection.ca_file = ca_file;
  connection.certificate_file = certificate_file;
  connection.key_file = key_file;
  connection.allow_unprotected_server = allow_unprotected_server;
  connection.lease_time = std::chrono::milliseconds(lease_ms);
  // What the caller's environment says is of a server that was there before.
  connection.from_environment = !own_server;
  return connection;
}

std::string state_folder(const std::string& name) {
  check_name("--name", name);
  return base_folder() + "/" + name;
}

void write_record(const std::string& folder, const ClusterRecord& record) {
  const Json value = {{"name", record.name},
                      {"pid", record.pid},
                      {"host", record.host},
                      {"url", record.url},
                      {"own_server", record.own_server},
                      {"launcher", record.launcher},
                      {"hosts", record.hosts},
                      {"nodes", record.nodes},
                      {"run_id", record.run_id},
                      {"program", record.program},
                      {"pool", record.pool},
                      {"lease_ms", record.lease_ms},
                      {"drain_ms", record.drain_ms},
                      {"started", record.started},
                      {"store", record.store},
                      {"token_file", record.token_file},
                      {"ca_file", record.ca_file},
                      {"certificate_file", record.certificate_file},
                      {"key_file", record.key_file},
                      {"allow_unprotected_server", record.allow_unprotected_server}};
  write_private_file(record_file(folder), value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::optional<ClusterRecord> read_record(const std::string& folder) {
  const std::string file = record_file(folder);
  if (::access(file.c_str(), F_OK) != 0) return std::nullopt;
  try {
    const Json value = Json::parse(read_text_file(file));
    ClusterRecord record;
    value.at("name").get_to(record.name);
    value.at("pid").get_to(record.pid);
    value.at("host").get_to(record.host);
    value.at("url").get_to(record.url);
    value.at("own_server").get_to(record.own_server);
    value.at("launcher").get_to(record.launcher);
    value.at("hosts").get_to(record.hosts);
    value.at("nodes").get_to(record.nodes);
    value.at("run_id").get_to(record.run_id);
    value.at("program").get_to(record.program);
    value.at("pool").get_to(record.pool);
    value.at("lease_ms").get_to(record.lease_ms);
    value.at("drain_ms").get_to(record.drain_ms);
    value.at("started").get_to(record.started);
    value.at("store").get_to(record.store);
    value.at("token_file").get_to(record.token_file);
    value.at("ca_file").get_to(record.ca_file);
    value.at("certificate_file").get_to(record.certificate_file);
    value.at("key_file").get_to(record.key_file);
    value.at("allow_unprotected_server").get_to(record.allow_unprotected_server);
    return record;
  } catch (const Json::exception&) {
    throw BadInput(fmt::format("{}: is not what tandem cluster up writes", printable(file)));
  }
}

OwnFd take_folder(const std::string& folder) {
  std::error_code ignored;
  const std::filesystem::path base = std::filesystem::path(folder).parent_path();
  std::filesystem::create_directories(base.parent_path(), ignored);
  make_private(base);
  for (;;) {
    make_private(folder);
    const std::string lock = folder + "/lock";
    OwnFd fd(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) {
      if (errno == ENOENT) continue;  // Just removed by the one before.
      throw BadInput(fmt::format("{}: cannot be made: {}", printable(lock), std::generic_category().message(errno)));
    }
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return OwnFd();
      throw BadInput(fmt::format("{}: cannot be locked: {}", printable(lock), std::generic_category().message(errno)));
    }
    // Unless the one before has removed it meanwhile.
    struct stat held{}, there{};
    if (::fstat(fd.get(), &held) == 0 && ::stat(lock.c_str(), &there) == 0 && held.st_ino == there.st_ino) return fd;
  }
}

bool is_taken(const std::string& folder) {
  const OwnFd fd(::open((folder + "/lock").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  return fd && ::flock(fd.get(), LOCK_SH | LOCK_NB) != 0;
}

void remove_folder(const std::string& folder, const std::optional<ClusterRecord>& record) {
  std::error_code ignored;
  if (record && !record->store.empty()) std::filesystem::remove_all(record->store, ignored);
  // The lock last: who finds it removed begins anew.
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored))
    if (entry.path().filename() != "lock") std::filesystem::remove_all(entry.path(), ignored);
  std::filesystem::remove_all(folder, ignored);
}

ClusterRecord record_of(const std::string& name) {
  const std::string folder = state_folder(name);
  const std::optional<ClusterRecord> record = read_record(folder);
  if (!record) throw BadInput(fmt::format("the cluster {} is not up: tandem cluster up starts it", name));
  if (record->host != own_host())
    throw BadInput(fmt::format("the cluster {} was started on {}: it is asked about and ended there", name,
                               printable(record->host)));
  if (!is_taken(folder))
    throw BadInput(fmt::format("the cluster {} is gone, its keeper was killed: tandem cluster down --name {} clears up",
                               name, name));
  return *record;
}

Connection named_cluster(const std::string& name_or_url, Connection connection) {
  if (name_or_url.find("://") == std::string::npos) return record_of(name_or_url).connection();
  connection.url = name_or_url;
  connection.check();
  return connection;
}

std::string own_host() {
  std::array<char, 256> name{};
  static_cast<void>(::gethostname(name.data(), name.size() - 1));
  return name.data();
}

}  // namespace tandem::tool
