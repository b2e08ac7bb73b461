// A journal in each of the places where executors run tasks.
#include <algorithm>
#include <csignal>
#include <cstddef>
#include <numeric>
#include <ranges>
#include <string>
#include <vector>

#include <tandem/executor.hpp>
#include <tandem/journal.hpp>

#include "support/executor_places.hpp"
#include "support/journal_fixture.hpp"

namespace tandem::testing {
namespace {

constexpr int kItems = 200;

std::vector<std::string> letters(int item) {
  return {std::string(static_cast<std::size_t>(item), 'x'), std::to_string(item)};
}
int die_at_7(int item) {
  if (item == 7) std::raise(SIGKILL);
  return item;
}

template <class Place>
class JournalPlaceTest : public JournalFixture {
 protected:
  bool keep_services() const override { return true; }
  static auto make() {
    ExecutorOptions options = Place::options();
    options.workers = 2;
    return typename Place::Executor(std::move(options));
  }
};
TYPED_TEST_SUITE(JournalPlaceTest, ExecutorPlaces, ExecutorPlaceNames);

TYPED_TEST(JournalPlaceTest, AnyPlaceTakesUpWhatAnotherBegan) {
  auto executor = this->make();
  {
    ThreadExecutor threads(2);
    auto results = threads.map(this->journal({.chunk_size = 3}), letters, std::views::iota(0, kItems));
    for (int item = 0; item < kItems / 4; ++item) ASSERT_EQ(results.next(), letters(item));
  }
  {
    auto results = executor.map_unordered(this->journal({.chunk_size = 3}), letters, std::views::iota(0, kItems));
    for (int item = 0; item < kItems / 2; ++item) ASSERT_TRUE(results.next());
  }
  const auto all = executor.map(this->journal(), letters, std::views::iota(0, kItems)).to_vector();
  ASSERT_EQ(all.size(), std::size_t{kItems});
  for (int item = 0; item < kItems; ++item) EXPECT_EQ(all[static_cast<std::size_t>(item)], letters(item));
  EXPECT_EQ(this->query("SELECT count(*) FROM item"), kItems);
}

class JournalProcessTest : public JournalPlaceTest<InThreads> {};

TEST_F(JournalProcessTest, AnItemWhoseWorkerDiedIsNotRecorded) {
  ProcessExecutor executor(2);
  int given = 0, died = 0;
  auto results = executor.map(journal({.chunk_size = 1}), die_at_7, std::views::iota(0, 30));
  for (;;) {
    try {
      if (!results.next()) break;
      ++given;
    } catch (const TaskCrashed&) {
      ++died;
    }
  }
  EXPECT_EQ(given, 29);
  EXPECT_EQ(died, 1);
  EXPECT_EQ(query("SELECT count(*) FROM item WHERE number != 7"), 29);
  EXPECT_EQ(query("SELECT count(*) FROM item"), 29);
}

}  // namespace
}  // namespace tandem::testing
