#include "support/journal_fixture.hpp"

#include <sqlite3.h>

#include <fstream>
#include <iterator>

namespace tandem::testing {

std::string content_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write_content(const std::string& file, const std::string& content) {
  std::ofstream(file, std::ios::binary | std::ios::trunc)
      .write(content.data(), static_cast<std::streamsize>(content.size()));
}

std::int64_t JournalFixture::query(const std::string& sql) const {
  sqlite3* database = nullptr;
  sqlite3_stmt* statement = nullptr;
  std::int64_t found = 0;
  EXPECT_EQ(sqlite3_open(file().c_str(), &database), SQLITE_OK);
  EXPECT_EQ(sqlite3_prepare_v2(database, sql.c_str(), -1, &statement, nullptr), SQLITE_OK) << sqlite3_errmsg(database);
  int code = sqlite3_step(statement);
  if (code == SQLITE_ROW) {
    found = sqlite3_column_int64(statement, 0);
    code = SQLITE_DONE;
  }
  EXPECT_EQ(code, SQLITE_DONE) << sqlite3_errmsg(database);
  sqlite3_finalize(statement);
  sqlite3_close(database);
  return found;
}
void JournalFixture::run_sql(const std::string& sql) const {
  query(sql);
}

std::string JournalFixture::refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const JournalRefused& refused) {
    return refused.what();
  }
  ADD_FAILURE() << "it was not refused";
  return {};
}
std::string JournalFixture::system_refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::system_error& refused) {
    return refused.what();
  }
  ADD_FAILURE() << "it was not refused";
  return {};
}

}  // namespace tandem::testing
