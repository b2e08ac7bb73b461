/// The file of a journal: a SQLite database.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tandem/detail/journal_core.hpp>

struct sqlite3;
struct sqlite3_stmt;

namespace tandem::detail {

/// Owner of the open file, which nobody else opens meanwhile. For one thread at a time.
///
/// Killed programs and loss of power: what commit() returned for stays. It is in the write-ahead log, of which SQLite
/// takes what is complete by its own checksums; each record has a digest besides, so that a damaged one is not there.
/// Errors: JournalRefused; std::system_error. Both name the file.
class JournalStore {
 public:
  JournalStore(std::filesystem::path file, const JournalIdentity& identity);
  ~JournalStore();
  JournalStore(const JournalStore&) = delete;
  JournalStore& operator=(const JournalStore&) = delete;

  struct Record {
    Fingerprint fingerprint;
    std::vector<std::byte> result;
  };
  /// Empty if it is not there, or damaged.
  std::optional<Record> find(std::uint64_t number);
  /// The number of a record that is not below this one.
  std::optional<std::uint64_t> find_from(std::uint64_t number);
  /// The largest number; it may be that of a damaged record.
  std::optional<std::uint64_t> last();
  std::string name() const { return "the journal " + file_.native(); }

  void begin();
  /// Between begin() and commit(); takes the place of one that was there.
  void insert(std::uint64_t number, const Fingerprint& fingerprint, std::span<const std::byte> result);
  void commit();
  /// Takes back what was inserted since begin(), if it is not committed.
  void roll_back() noexcept;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  struct Close {
    void operator()(sqlite3* database) const noexcept;
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

  void open();
  void check_size(const std::filesystem::path& absolute) const;
  void create(const JournalIdentity& identity);
  void check(const JournalIdentity& identity);
  Statement prepare(const char* sql);
  void run(const char* sql);
  std::int64_t number(const char* sql);
  /// Whether there is a row. Throws for any error; `action` is for its text.
  bool step(sqlite3_stmt* statement, const char* action);
  std::optional<Record> record_of(sqlite3_stmt* row, std::uint64_t number);
  [[noreturn]] void fail(int code, const char* action);

  const std::filesystem::path file_;  // As it was given.
  std::unique_ptr<sqlite3, Close> database_;
  Statement find_, find_from_, insert_, begin_, commit_;
};

}  // namespace tandem::detail
