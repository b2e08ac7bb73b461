#include "cluster_state.hpp"

#include <fcntl.h>
#include <fmt/format.h>
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

// Each field of the file, for writing and for reading.
template <class Record, class Visit>
void visit_fields(Record& record, const Visit& visit) {
  visit("name", record.name);
  visit("pid", record.pid);
  visit("host", record.host);
  visit("url", record.url);
  visit("own_server", record.own_server);
  visit("launcher", record.launcher);
  visit("hosts", record.hosts);
  visit("nodes", record.nodes);
  visit("run_id", record.run_id);
  visit("program", record.program);
  visit("pool", record.pool);
  visit("lease_ms", record.lease_ms);
  visit("drain_ms", record.drain_ms);
  visit("started", record.started);
  visit("store", record.store);
  visit("token_file", record.token_file);
  visit("ca_file", record.ca_file);
  visit("certificate_file", record.certificate_file);
  visit("key_file", record.key_file);
  visit("allow_unprotected_server", record.allow_unprotected_server);
}

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

// All of the folder's lock. Of the open file, so that processes which share a descriptor hold it together; and one that
// can be looked at without being taken, which would have somebody who starts a cluster just then find it taken.
struct flock whole_lock() {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
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

void to_json(Json& value, const ClusterRecord& record) {
  visit_fields(record, [&](const char* name, const auto& field) { value[name] = field; });
}

void from_json(const Json& value, ClusterRecord& record) {
  visit_fields(record, [&](const char* name, auto& field) { value.at(name).get_to(field); });
}

void write_record(const std::string& folder, const ClusterRecord& record) {
  const Json value = record;
  write_private_file(record_file(folder), value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::optional<ClusterRecord> read_record(const std::string& folder) {
  const std::string file = record_file(folder);
  if (::access(file.c_str(), F_OK) != 0) return std::nullopt;
  try {
    return Json::parse(read_text_file(file)).get<ClusterRecord>();
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
    struct flock whole = whole_lock();
    if (::fcntl(fd.get(), F_OFD_SETLK, &whole) != 0) {
      if (errno == EAGAIN || errno == EACCES) return OwnFd();
      throw BadInput(fmt::format("{}: cannot be locked: {}", printable(lock), std::generic_category().message(errno)));
    }
    // Unless the one before has removed it meanwhile.
    struct stat held{}, there{};
    if (::fstat(fd.get(), &held) == 0 && ::stat(lock.c_str(), &there) == 0 && held.st_ino == there.st_ino) return fd;
  }
}

bool is_taken(const std::string& folder) {
  const OwnFd fd(::open((folder + "/lock").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  struct flock whole = whole_lock();
  return fd && (::fcntl(fd.get(), F_OFD_GETLK, &whole) != 0 || whole.l_type != F_UNLCK);
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
