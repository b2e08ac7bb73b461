// The code of docs/reference/journal.md and of its part of docs/pitfalls.md.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include <tandem/executor.hpp>
#include <tandem/journal.hpp>

#include "support/journal_fixture.hpp"

namespace tandem::testing {
namespace {

class JournalReferenceTest : public JournalFixture {};

double volume(double radius) {
  return 4.0 / 3.0 * 3.141592653589793 * radius * radius * radius;
}
double surface(double radius) {
  return 4.0 * 3.141592653589793 * radius * radius;
}

TEST_F(JournalReferenceTest, StandsInFrontOfTheFunction) {
  const std::string file = this->file();
  const std::vector<double> radii = {1, 2, 3};
  tandem::ThreadExecutor executor(2);
  const tandem::Journal journal{.file = file, .version = "2", .map = {.chunk_size = 1}};
  std::vector<double> in_order = executor.map(journal, volume, radii).to_vector();
  EXPECT_EQ(in_order.size(), 3u);
  EXPECT_THROW(executor.map(journal, surface, radii), tandem::JournalRefused);
}

// --- pitfalls: a journal of what is not an argument

double scale = 0;
double scaled_by_global(double value) {
  return scale * value;
}
double scaled(double factor, double value) {
  return factor * value;
}

TEST_F(JournalReferenceTest, AJournalDoesNotSeeGlobals) {
  const std::string file = this->file();
  const std::vector<double> values = {1, 2};
  tandem::ThreadExecutor executor(2);
  scale = 2;
  // Fails: nobody can see that a global variable has changed, and the old results are given.
  executor.map(tandem::Journal{file}, scaled_by_global, values).to_vector();
  scale = 3;
  EXPECT_EQ(executor.map(tandem::Journal{file}, scaled_by_global, values).to_vector(), (std::vector{2.0, 4.0}));
}

TEST_F(JournalReferenceTest, AJournalSeesArguments) {
  const std::string file = this->file();
  const std::vector<double> values = {1, 2};
  tandem::ThreadExecutor executor(2);
  // Works: what the result depends on is an argument. Another one is refused.
  executor.starmap(tandem::Journal{file}, scaled, std::vector{std::pair(2.0, 1.0), std::pair(2.0, 2.0)}).to_vector();
  EXPECT_THROW(executor.starmap(tandem::Journal{file}, scaled, std::vector{std::pair(3.0, 1.0), std::pair(3.0, 2.0)}),
               tandem::JournalRefused);
}

}  // namespace
}  // namespace tandem::testing
