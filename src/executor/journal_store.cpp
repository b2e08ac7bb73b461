#include "executor/journal_store.hpp"

#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include <tandem/journal.hpp>

#include "core/kill_point.hpp"
#include "core/log.hpp"
#include "core/system.hpp"

namespace tandem::detail {
namespace {

// "Tndm", for file(1) and for whoever opens it with sqlite3.
constexpr std::int64_t kApplicationId = 0x546e646d;
constexpr std::int64_t kFormat = 1;

/// What a journal is of, as it is in the file.
std::array<std::pair<const char*, std::string>, 4> rows_of(const JournalIdentity& identity) {
  return {{{"function", identity.function},
           {"call", identity.call},
           {"code", identity.code},
           {"function object", identity.object}}};
}

Fingerprint digest_of_record(std::uint64_t number, const Fingerprint& fingerprint, std::span<const std::byte> result) {
  std::vector<std::byte> all(sizeof number + fingerprint.size() + result.size());
  std::memcpy(all.data(), &number, sizeof number);
  std::memcpy(all.data() + sizeof number, fingerprint.data(), fingerprint.size());
  if (!result.empty()) std::memcpy(all.data() + sizeof number + fingerprint.size(), result.data(), result.size());
  return digest_of(all);
}

std::span<const std::byte> blob(sqlite3_stmt* row, int column) {
  const auto* bytes = static_cast<const std::byte*>(sqlite3_column_blob(row, column));
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(row, column))};
}
std::string text(sqlite3_stmt* row, int column) {
  const std::span<const std::byte> bytes = blob(row, column);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
bool read_fingerprint(sqlite3_stmt* row, int column, Fingerprint& fingerprint) {
  const std::span<const std::byte> bytes = blob(row, column);
  if (bytes.size() != fingerprint.size()) return false;
  std::copy(bytes.begin(), bytes.end(), fingerprint.begin());
  return true;
}

/// Makes a statement ready for its next use, however this one ends.
class ResetAtEnd {
 public:
  explicit ResetAtEnd(sqlite3_stmt* statement) noexcept : statement_(statement) {}
  ~ResetAtEnd() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
  ResetAtEnd(const ResetAtEnd&) = delete;
  ResetAtEnd& operator=(const ResetAtEnd&) = delete;

 private:
  sqlite3_stmt* const statement_;
};

}  // namespace

void JournalStore::Finalize::operator()(sqlite3_stmt* statement) const noexcept {
  sqlite3_finalize(statement);
}
void JournalStore::Close::operator()(sqlite3* database) const noexcept {
  sqlite3_close(database);
}

JournalStore::JournalStore(std::filesystem::path file, const JournalIdentity& identity) : file_(std::move(file)) {
  if (file_.empty()) throw std::invalid_argument("a journal needs the name of a file");
  open();
  if (number("PRAGMA application_id") == 0 && number("SELECT count(*) FROM sqlite_master") == 0)
    create(identity);
  else
    check(identity);
  find_ = prepare("SELECT fingerprint, result, digest FROM item WHERE number = ?");
  find_from_ = prepare("SELECT fingerprint, result, digest, number FROM item WHERE number >= ? ORDER BY number");
  insert_ = prepare("INSERT OR REPLACE INTO item (number, fingerprint, result, digest) VALUES (?, ?, ?, ?)");
  begin_ = prepare("BEGIN IMMEDIATE");
  commit_ = prepare("COMMIT");
}

JournalStore::~JournalStore() = default;

void JournalStore::open() {
  // An absolute name is none of those that SQLite takes for something else, as ":memory:".
  const std::filesystem::path absolute = std::filesystem::absolute(file_);
  check_size(absolute);
  sqlite3* database = nullptr;
  const int code = sqlite3_open_v2(absolute.c_str(), &database,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  database_.reset(database);
  if (database == nullptr) throw std::bad_alloc();
  sqlite3_extended_result_codes(database, 1);
  if (code != SQLITE_OK) fail(sqlite3_extended_errcode(database), "open");
  if (sqlite3_db_readonly(database, "main") == 1) throw_system_error(EACCES, "cannot write " + name());
  // The lock is taken with the first look, and kept. No memory is shared with other programs, so there is no -shm.
  run("PRAGMA locking_mode = EXCLUSIVE");
}

// SQLite takes a file that is too short for a database for an empty one, and would write over it.
void JournalStore::check_size(const std::filesystem::path& absolute) const {
  constexpr std::uintmax_t kSmallestDatabase = 512;
  std::error_code no_file;
  const std::uintmax_t size =
      std::filesystem::is_regular_file(absolute, no_file) ? std::filesystem::file_size(absolute) : 0;
  std::filesystem::path unfinished = absolute;
  unfinished += "-journal";
  if (size != 0 && size < kSmallestDatabase && !std::filesystem::exists(unfinished, no_file))
    throw JournalRefused(file_.native() + " is no journal: it is a file of another kind");
}

void JournalStore::create(const JournalIdentity& identity) {
  // A commit is one write to the log and one wait for the disk, which includes, the first time, the directory.
  TANDEM_KILL_POINT("journal.create");
  run("PRAGMA journal_mode = WAL");
  run("PRAGMA synchronous = FULL");
  TANDEM_KILL_POINT("journal.wal");
  run("BEGIN EXCLUSIVE");
  run(fmt::format("PRAGMA application_id = {}", kApplicationId).c_str());
  run(fmt::format("PRAGMA user_version = {}", kFormat).c_str());
  run("CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)");
  run("CREATE TABLE item (number INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL, result BLOB NOT NULL,"
      " digest BLOB NOT NULL)");
  const Statement insert = prepare("INSERT INTO about (name, value) VALUES (?, ?)");
  for (const auto& [row, value] : rows_of(identity)) {
    const ResetAtEnd reset(insert.get());
    sqlite3_bind_text(insert.get(), 1, row, -1, SQLITE_STATIC);
    sqlite3_bind_text(insert.get(), 2, value.c_str(), static_cast<int>(value.size()), SQLITE_TRANSIENT);
    step(insert.get(), "write");
  }
  TANDEM_KILL_POINT("journal.created");
  run("COMMIT");
}

void JournalStore::check(const JournalIdentity& identity) {
  if (number("PRAGMA application_id") != kApplicationId)
    throw JournalRefused(file_.native() + " is no journal: it is the SQLite database of another program");
  if (const std::int64_t format = number("PRAGMA user_version"); format != kFormat)
    throw JournalRefused(
        fmt::format("{} has format {}, and this version of Tandem reads format {}", name(), format, kFormat));
  const Statement select = prepare("SELECT value FROM about WHERE name = ?");
  for (const auto& [row, value] : rows_of(identity)) {
    const ResetAtEnd reset(select.get());
    sqlite3_bind_text(select.get(), 1, row, -1, SQLITE_STATIC);
    const std::string found = step(select.get(), "read") ? text(select.get(), 0) : std::string();
    if (found != value)
      throw JournalRefused(
          fmt::format("{} is of other work: its {} is \"{}\", here it is \"{}\". Delete the file to "
                      "begin anew",
                      name(), row, found, value));
  }
  run("PRAGMA journal_mode = WAL");
  run("PRAGMA synchronous = FULL");
}

std::optional<JournalStore::Record> JournalStore::find(std::uint64_t number) {
  const ResetAtEnd reset(find_.get());
  sqlite3_bind_int64(find_.get(), 1, static_cast<std::int64_t>(number));
  if (!step(find_.get(), "read")) return std::nullopt;
  return record_of(find_.get(), number);
}

std::optional<std::uint64_t> JournalStore::find_from(std::uint64_t number) {
  const ResetAtEnd reset(find_from_.get());
  sqlite3_bind_int64(find_from_.get(), 1, static_cast<std::int64_t>(number));
  while (step(find_from_.get(), "read")) {
    const auto found = static_cast<std::uint64_t>(sqlite3_column_int64(find_from_.get(), 3));
    if (record_of(find_from_.get(), found)) return found;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> JournalStore::last() {
  const Statement statement = prepare("SELECT max(number) FROM item");
  if (!step(statement.get(), "read") || sqlite3_column_type(statement.get(), 0) == SQLITE_NULL) return std::nullopt;
  return static_cast<std::uint64_t>(sqlite3_column_int64(statement.get(), 0));
}

std::optional<JournalStore::Record> JournalStore::record_of(sqlite3_stmt* row, std::uint64_t number) {
  Record record;
  Fingerprint digest;
  const std::span<const std::byte> result = blob(row, 1);
  if (!read_fingerprint(row, 0, record.fingerprint) || !read_fingerprint(row, 2, digest) ||
      digest != digest_of_record(number, record.fingerprint, result)) {
    log_line(LogLevel::Warning, "{}: the record of item {} is damaged and counts as missing", name(), number);
    return std::nullopt;
  }
  record.result.assign(result.begin(), result.end());
  return record;
}

void JournalStore::begin() {
  const ResetAtEnd reset(begin_.get());
  step(begin_.get(), "write");
}

void JournalStore::insert(std::uint64_t number, const Fingerprint& fingerprint, std::span<const std::byte> result) {
  TANDEM_KILL_POINT("journal.insert");
  const Fingerprint digest = digest_of_record(number, fingerprint, result);
  const ResetAtEnd reset(insert_.get());
  sqlite3_bind_int64(insert_.get(), 1, static_cast<std::int64_t>(number));
  sqlite3_bind_blob(insert_.get(), 2, fingerprint.data(), static_cast<int>(fingerprint.size()), SQLITE_STATIC);
  // Bound so that an empty result is no NULL.
  const int bound = sqlite3_bind_blob64(insert_.get(), 3, result.empty() ? digest.data() : result.data(), result.size(),
                                        SQLITE_STATIC);
  if (bound != SQLITE_OK) fail(bound, "write");
  sqlite3_bind_blob(insert_.get(), 4, digest.data(), static_cast<int>(digest.size()), SQLITE_STATIC);
  step(insert_.get(), "write");
}

void JournalStore::commit() {
  TANDEM_KILL_POINT("journal.commit");
  const ResetAtEnd reset(commit_.get());
  step(commit_.get(), "write");
  TANDEM_KILL_POINT("journal.committed");
}

void JournalStore::roll_back() noexcept {
  if (sqlite3_get_autocommit(database_.get()) == 0)
    sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

JournalStore::Statement JournalStore::prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(database_.get(), sql, -1, &statement, nullptr);
  if (code != SQLITE_OK) fail(code, "read");
  return Statement(statement);
}

void JournalStore::run(const char* sql) {
  const Statement statement = prepare(sql);
  while (step(statement.get(), "write")) continue;
}

std::int64_t JournalStore::number(const char* sql) {
  const Statement statement = prepare(sql);
  return step(statement.get(), "read") ? sqlite3_column_int64(statement.get(), 0) : 0;
}

bool JournalStore::step(sqlite3_stmt* statement, const char* action) {
  const int code = sqlite3_step(statement);
  if (code != SQLITE_ROW && code != SQLITE_DONE) fail(code, action);
  return code == SQLITE_ROW;
}

void JournalStore::fail(int code, const char* action) {
  int error = sqlite3_system_errno(database_.get());
  // SQLite tries to open a file that it may not make for reading only, and remembers that it is not there.
  if (error == ENOENT && ::access(std::filesystem::absolute(file_).parent_path().c_str(), W_OK) != 0) error = errno;
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      throw JournalRefused(name() + " is in use: another program, or another map() of this one, has it open");
    case SQLITE_NOTADB:
      throw JournalRefused(file_.native() + " is no journal: it is a file of another kind");
    case SQLITE_CORRUPT:
      throw JournalRefused(name() + " is damaged and cannot be taken up (" + sqlite3_errstr(code) +
                           "). Delete the file to begin anew");
    case SQLITE_ERROR:
      throw JournalRefused(name() + " is damaged and cannot be taken up (" + sqlite3_errmsg(database_.get()) +
                           "). Delete the file to begin anew");
    case SQLITE_TOOBIG:
      throw std::length_error(name() + " cannot hold a result of more than 1 GB");
    case SQLITE_NOMEM:
      throw std::bad_alloc();
    case SQLITE_FULL:
      throw_system_error(error != 0 ? error : ENOSPC, fmt::format("cannot {} {}", action, name()));
    case SQLITE_READONLY:
    case SQLITE_PERM:
      throw_system_error(error != 0 ? error : EACCES, fmt::format("cannot {} {}", action, name()));
    default:
      throw_system_error(error != 0 ? error : EIO,
                         fmt::format("cannot {} {} ({})", action, name(), sqlite3_errstr(code)));
  }
}

}  // namespace tandem::detail
