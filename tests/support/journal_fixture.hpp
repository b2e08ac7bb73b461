/// A journal in a directory of its own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <system_error>

#include <tandem/journal.hpp>

#include "support/temporary_directory.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {

std::string content_of(const std::string& file);
void write_content(const std::string& file, const std::string& content);

class JournalFixture : public ReportFixture {
 protected:
  const std::string& directory() const { return directory_.path().native(); }
  std::string file() const { return directory() + "/sweep.journal"; }
  Journal journal(MapOptions options = {}) const { return {.file = file(), .map = std::move(options)}; }
  /// Runs a statement on the file, which must not be open.
  void run_sql(const std::string& sql) const;
  /// The first column of the first row, as a number.
  std::int64_t query(const std::string& sql) const;

  /// The text of the JournalRefused that `call` throws.
  static std::string refusal(const std::function<void()>& call);
  /// The same of a std::system_error.
  static std::string system_refusal(const std::function<void()>& call);

 private:
  const TemporaryDirectory directory_{"journal"};
};

}  // namespace tandem::testing
