#include <tandem/journal.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/journal_fixture.hpp"

namespace tandem::testing {
namespace {

// What has run since the count was last taken.
std::atomic<int> calls{0};
int taken_calls() {
  return calls.exchange(0);
}

class JournalTest : public JournalFixture {
 protected:
  void SetUp() override {
    JournalFixture::SetUp();
    taken_calls();
  }
};

int twice(int value) {
  ++calls;
  return 2 * value;
}
int thrice(int value) {
  return 3 * value;
}
std::vector<int> numbers(int count) {
  std::vector<int> all(count);
  std::iota(all.begin(), all.end(), 0);
  return all;
}
std::vector<int> doubled(int count) {
  std::vector<int> all = numbers(count);
  for (int& value : all) value *= 2;
  return all;
}

TEST_F(JournalTest, ASecondCallRunsNothingAndGivesTheSame) {
  ThreadExecutor executor(2);
  EXPECT_EQ(executor.map(journal(), twice, numbers(100)).to_vector(), doubled(100));
  EXPECT_EQ(taken_calls(), 100);
  EXPECT_EQ(executor.map(journal(), twice, numbers(100)).to_vector(), doubled(100));
  EXPECT_EQ(taken_calls(), 0);
}

TEST_F(JournalTest, WhatWasReadBeforeAnEarlyEndIsNotRunAgain) {
  ThreadExecutor executor(2);
  {
    auto results = executor.map(journal({.chunk_size = 1}), twice, numbers(100));
    for (int at = 0; at < 40; ++at) ASSERT_EQ(results.next(), 2 * at);
  }
  const int before = taken_calls();
  EXPECT_GE(before, 40);
  EXPECT_EQ(executor.map(journal(), twice, numbers(100)).to_vector(), doubled(100));
  EXPECT_LE(taken_calls(), 60 + 2) << "what was running when the first one ended is run again";
}

TEST_F(JournalTest, MissingItemsAmongRecordedOnesAreRun) {
  ThreadExecutor executor(2);
  executor.map(journal({.chunk_size = 3}), twice, numbers(300)).to_vector();
  taken_calls();
  run_sql("DELETE FROM item WHERE number % 7 < 3 OR number > 290");
  const std::int64_t kept = query("SELECT count(*) FROM item");
  EXPECT_EQ(executor.map(journal(), twice, numbers(300)).to_vector(), doubled(300));
  EXPECT_EQ(taken_calls(), 300 - kept);
}

TEST_F(JournalTest, ALongerInputIsTakenUp) {
  ThreadExecutor executor(2);
  executor.map(journal(), twice, numbers(50)).to_vector();
  taken_calls();
  EXPECT_EQ(executor.map(journal(), twice, numbers(80)).to_vector(), doubled(80));
  EXPECT_EQ(taken_calls(), 30);
}

TEST_F(JournalTest, AnUnorderedMapTakesUpAnOrderedOne) {
  ThreadExecutor executor(2);
  {
    auto results = executor.map(journal({.chunk_size = 1}), twice, numbers(100));
    for (int at = 0; at < 10; ++at) ASSERT_EQ(results.next(), 2 * at);
  }
  std::vector<int> all = executor.map_unordered(journal(), twice, numbers(100)).to_vector();
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, doubled(100));
  EXPECT_LE(taken_calls(), 100 + 2) << "what was running when the first one ended is run again";
}

TEST_F(JournalTest, ForEachRunsEachItemOnce) {
  static std::atomic<int> done{0};
  const auto note = [](int) { ++done; };
  ThreadExecutor executor(2);
  done = 0;
  executor.for_each(journal(), note, numbers(64));
  EXPECT_EQ(done, 64);
  executor.for_each(journal(), note, numbers(64));
  EXPECT_EQ(done, 64);
}

TEST_F(JournalTest, StarmapAndSeveralInputs) {
  ThreadExecutor executor(2);
  const auto add = [](int a, int b) { return a + b; };
  const std::vector<std::pair<int, int>> pairs = {{1, 2}, {3, 4}};
  EXPECT_EQ(executor.starmap(journal(), add, pairs).to_vector(), (std::vector<int>{3, 7}));
  EXPECT_EQ(executor.starmap(journal(), add, pairs).to_vector(), (std::vector<int>{3, 7}));
  std::filesystem::remove(file());
  EXPECT_EQ(executor.map(journal(), add, numbers(5), numbers(9)).to_vector(), doubled(5));
}

TEST_F(JournalTest, AFailedItemIsRunAgainByTheNextCall) {
  static std::atomic<bool> fails{true};
  const auto half = [](int value) {
    ++calls;
    if (value == 7 && fails) throw std::runtime_error("seven");
    return value / 2;
  };
  fails = true;
  ThreadExecutor executor(2);
  auto results = executor.map(journal({.chunk_size = 4}), half, numbers(20));
  int given = 0, failed = 0;
  for (;;) {
    try {
      if (!results.next()) break;
      ++given;
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "seven");
      EXPECT_EQ(given, 7);
      ++failed;
    }
  }
  EXPECT_EQ(given, 19);
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(taken_calls(), 20);
  fails = false;
  EXPECT_EQ(executor.map(journal(), half, numbers(20)).to_vector().size(), 20u);
  EXPECT_EQ(taken_calls(), 1);
}

TEST_F(JournalTest, AnotherInputIsRefusedAndNamed) {
  ThreadExecutor executor(2);
  executor.map(journal(), twice, numbers(20)).to_vector();
  taken_calls();
  std::vector<int> other = numbers(20);
  other[13] = 99;
  EXPECT_THAT(refusal([&] { executor.map(journal(), twice, other).to_vector(); }),
              ::testing::AllOf(::testing::HasSubstr(file()), ::testing::HasSubstr("item 13 (from 0) was another one")));
  EXPECT_THAT(refusal([&] { static_cast<void>(executor.map(journal(), twice, numbers(19))); }),
              ::testing::AllOf(::testing::HasSubstr(file()), ::testing::HasSubstr("a result of item 19"),
                               ::testing::HasSubstr("19 items")));
  EXPECT_EQ(taken_calls(), 0);
}

TEST_F(JournalTest, AShorterInputOfUnknownLengthIsRefusedAtItsEnd) {
  ThreadExecutor executor(2);
  executor.map(journal(), twice, numbers(20)).to_vector();
  const std::vector<int> input = numbers(20);
  auto some = input | std::views::filter([](int value) { return value < 15; });
  EXPECT_THAT(refusal([&] { executor.map(journal(), twice, some).to_vector(); }), ::testing::HasSubstr("has 15 items"));
}

TEST_F(JournalTest, OtherWorkIsRefusedAndTheDifferenceNamed) {
  ThreadExecutor executor(2);
  executor.map(journal(), twice, numbers(5)).to_vector();
  EXPECT_THAT(refusal([&] { executor.map(journal(), thrice, numbers(5)); }),
              ::testing::AllOf(::testing::HasSubstr(file()),
                               ::testing::HasSubstr("its function is \"twice\", here it is \"thrice\"")));
  const auto twice_too = [](int value) { return 2 * value; };
  EXPECT_THAT(refusal([&] { executor.map(journal(), twice_too, numbers(5)); }),
              ::testing::HasSubstr("its function is"));
  EXPECT_THAT(refusal([&] { executor.map(journal(), twice, std::vector<short>(5)); }),
              ::testing::HasSubstr("its call is \"int from std::tuple<int>\""));
  Journal versioned = journal();
  versioned.version = "2";
  EXPECT_THAT(refusal([&] { executor.map(versioned, twice, numbers(5)); }),
              ::testing::AllOf(::testing::HasSubstr("its code is \"build "), ::testing::HasSubstr("\"version 2\"")));
  EXPECT_EQ(executor.map(journal(), twice, numbers(5)).to_vector(), doubled(5)) << "the refused left it as it was";
}

struct Scaled {
  int factor;
#ifndef __clang__
  double unused = 0;  // Behind bytes without a meaning, which clang cannot leave out: see Fingerprinter.
#endif
  int operator()(int value) const { return factor * value; }
};

TEST_F(JournalTest, AFunctionObjectOfAnotherValueIsRefused) {
  ThreadExecutor executor(2);
  executor.map(journal(), Scaled{2}, numbers(5)).to_vector();
  EXPECT_EQ(executor.map(journal(), Scaled{2}, numbers(5)).to_vector(), doubled(5));
  EXPECT_THAT(refusal([&] { executor.map(journal(), Scaled{3}, numbers(5)); }),
              ::testing::HasSubstr("its function object is"));
}

TEST_F(JournalTest, AVersionStandsForTheBuild) {
  ThreadExecutor executor(2);
  Journal versioned = journal();
  versioned.version = "1";
  executor.map(versioned, twice, numbers(5)).to_vector();
  run_sql("UPDATE about SET value = 'version 0' WHERE name = 'code'");
  EXPECT_THAT(refusal([&] { executor.map(versioned, twice, numbers(5)); }),
              ::testing::HasSubstr("its code is \"version 0\", here it is \"version 1\""));
}

TEST_F(JournalTest, AJournalOfAnotherBuildIsRefused) {
  ThreadExecutor executor(2);
  executor.map(journal(), twice, numbers(5)).to_vector();
  run_sql("UPDATE about SET value = replace(value, 'build ', 'build 00') WHERE name = 'code'");
  EXPECT_THAT(refusal([&] { executor.map(journal(), twice, numbers(5)); }),
              ::testing::HasSubstr("its code is \"build 00"));
}

TEST_F(JournalTest, AJournalInUseIsRefused) {
  ThreadExecutor executor(2);
  auto first = executor.map(journal(), twice, numbers(5));
  EXPECT_THAT(refusal([&] { executor.map(journal(), twice, numbers(5)); }), ::testing::HasSubstr("is in use"));
  EXPECT_EQ(first.to_vector(), doubled(5));
  EXPECT_EQ(executor.map(journal(), twice, numbers(5)).to_vector(), doubled(5));
}

TEST_F(JournalTest, OtherFilesAreRefusedAndLeftAlone) {
  ThreadExecutor executor(2);
  for (const std::string& content : {std::string("a"), std::string("no database"), std::string(100'000, 'x')}) {
    std::ofstream(file()) << content;
    EXPECT_THAT(refusal([&] { executor.map(journal(), twice, numbers(5)); }),
                ::testing::AllOf(::testing::HasSubstr(file()), ::testing::HasSubstr("is no journal")));
    EXPECT_TRUE(content_of(file()) == content);
  }
  std::filesystem::remove(file());
  run_sql("CREATE TABLE letters (text TEXT)");
  const std::string content = content_of(file());
  EXPECT_THAT(refusal([&] { executor.map(journal(), twice, numbers(5)); }),
              ::testing::HasSubstr("is the SQLite database of another program"));
  EXPECT_TRUE(content_of(file()) == content);
}

TEST_F(JournalTest, WhatTheSystemRefusesNamesTheFile) {
  ThreadExecutor executor(2);
  const auto open = [&](const std::string& name) {
    return system_refusal([&] { executor.map(Journal{name}, twice, numbers(5)); });
  };
  EXPECT_THAT(open("/no/such/directory/journal"), ::testing::HasSubstr("cannot open the journal /no/such/directory"));
  EXPECT_THAT(open(directory()), ::testing::HasSubstr("cannot open the journal " + directory()));
  EXPECT_THROW(static_cast<void>(executor.map(Journal{}, twice, numbers(5))), std::invalid_argument);
  EXPECT_EQ(taken_calls(), 0);
}

TEST_F(JournalTest, ATaskOfAFullPoolReadsItsJournal) {
  ThreadExecutor executor(1);
  const std::string name = file();
  const int sum = executor
                      .submit([&] {
                        int total = 0;
                        for (const int value : executor.map(Journal{name}, twice, numbers(50))) total += value;
                        return total;
                      })
                      .get();
  EXPECT_EQ(sum, 49 * 50);
}

TEST_F(JournalTest, ATimeoutEndsTheMapAndKeepsWhatIsDone) {
  static std::atomic<bool> release{false};
  const auto work = [](int value) {
    ++calls;
    if (value == 5) release.wait(false);
    return value;
  };
  release = false;
  ThreadExecutor executor(2);
  int given = 0;
  {
    const MapOptions options{.chunk_size = 1, .timeout = std::chrono::milliseconds(200)};
    auto results = executor.map(journal(options), work, numbers(10));
    // On a machine that is busy enough, it is over before anything is done.
    EXPECT_THROW(
        {
          while (results.next()) ++given;
        },
        DeadlineExceeded);
    EXPECT_LE(given, 5);
    release = true;
    release.notify_all();
  }
  taken_calls();
  EXPECT_EQ(executor.map(journal(), work, numbers(10)).to_vector(), numbers(10));
  EXPECT_LE(taken_calls(), 10 - given + 2) << "what was running may run again, and be seen to run";
}

}  // namespace
}  // namespace tandem::testing
