// A journal of a program that is killed, loses power or meets a damaged disk: what was reported as recorded is there,
// the rest is computed again, and nothing wrong is ever given.
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <tandem/journal.hpp>
#include <tandem/thread.hpp>

#include "core/kill_point.hpp"
#include "support/journal_fixture.hpp"
#include "support/kill_points.hpp"
#include "support/outside_memory.hpp"
#include "support/power_loss.hpp"
#include "support/random.hpp"
#include "support/sanitizers.hpp"

namespace tandem::testing {
namespace {

constexpr int kItems = 60;

/// Calls made and results given, seen from outside of a process that is killed.
struct Seen {
  std::atomic<int> calls;
  std::atomic<int> given;
};
Seen* seen = nullptr;

constexpr char kNotCounted[] = "writer";  // Of workers that run while others are counted.

std::string letters(int value) {
  if (!current_thread().name().starts_with(kNotCounted)) ++seen->calls;
  return std::string(static_cast<std::size_t>(value) * 5, static_cast<char>('a' + value % 26));
}
std::vector<int> numbers() {
  std::vector<int> all(kItems);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

class JournalKillTest : public JournalFixture {
 protected:
  void SetUp() override {
    JournalFixture::SetUp();
    seen = memory_.get();
  }
  std::chrono::seconds time_limit() const override { return std::chrono::seconds(300); }

  /// A map over all items; notes how many results were given.
  void run(std::optional<std::size_t> window = {}) {
    ThreadExecutor executor(2);
    int at = 0;
    for (const std::string& text :
         executor.map(journal({.chunk_size = window ? 1 : 4, .window_items = window}), letters, numbers())) {
      if (text.size() != static_cast<std::size_t>(at) * 5 || (at > 0 && text.back() != 'a' + at % 26))
        throw std::logic_error("item " + std::to_string(at) + " is " + text);
      seen->given = ++at;
    }
    if (at != kItems) throw std::logic_error("only " + std::to_string(at) + " items");
  }
  /// The same, and gives how many calls it took.
  int calls_of_run() {
    seen->calls = 0;
    run();
    return seen->calls;
  }
  /// Runs it in a process that is killed when it passes a point for the `pass`-th time.
  void run_killed_at_point(const std::string& name, std::size_t pass) {
    const pid_t child = ::fork();
    if (child == 0) {
      die_at_kill_point(name, pass);
      run(1);  // A commit for each item.
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }

 private:
  OutsideMemory<Seen> memory_;
};

TEST_F(JournalKillTest, KilledAtEachPointItIsTakenUpByTheNextRun) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "no kill points in this build";
  for_each_kill_point(
      [&] {
        seen->given = 0;
        run();
      },
      [&](const std::string& at) {
        SCOPED_TRACE(at);
        const int given = seen->given;
        EXPECT_LE(calls_of_run(), kItems - given) << "what was given is not run again";
        std::filesystem::remove(file());
      },
      kSanitized ? 7 : 1);
}

TEST_F(JournalKillTest, AfterALossOfPowerWhatWasGivenIsThere) {
  // The power fails at each moment that a result is given, and anything that was not waited for may be lost.
  PowerLoss disk(directory());
  std::mt19937_64 random = random_engine();
  ThreadExecutor executor({.workers = 2, .name_prefix = kNotCounted});
  int at = 0;
  for (const std::string& text : executor.map(journal({.chunk_size = 3}), letters, numbers())) {
    ASSERT_EQ(text.size(), static_cast<std::size_t>(at) * 5);
    ++at;
    const std::string after = directory() + "/after";
    for (const bool all_lost : {true, false}) {
      std::filesystem::create_directory(after);
      disk.write_what_is_left(after, all_lost ? 0.0 : 0.5, random);
      ThreadExecutor other(1);
      seen->calls = 0;
      const Journal taken_up{.file = after + "/sweep.journal"};
      EXPECT_EQ(other.map(taken_up, letters, numbers()).to_vector().size(), std::size_t{kItems});
      EXPECT_LE(seen->calls, kItems - at);
      std::filesystem::remove_all(after);
    }
  }
  EXPECT_GT(disk.syncs(), 3);
}

TEST_F(JournalKillTest, ACutFileIsTakenUpWhereItEnds) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "no kill points in this build";
  // Of a program that was killed the log is still there.
  run_killed_at_point("journal.committed", 10);
  const std::string wal = file() + "-wal", before = content_of(file()), log = content_of(wal);
  ASSERT_GT(log.size(), 20'000u);
  int most = 0, least = kItems;
  for (std::size_t length = 0; length <= log.size(); length += 997) {
    write_content(file(), before);
    write_content(wal, log.substr(0, length));
    const int calls = calls_of_run();
    most = std::max(most, calls);
    least = std::min(least, calls);
  }
  EXPECT_EQ(most, kItems);
  EXPECT_LE(least, kItems - 10) << "an uncut log has what ten commits recorded";
}

TEST_F(JournalKillTest, AFlippedByteOfTheLogCostsNoMoreThanWhatStandsBehindIt) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "no kill points in this build";
  run_killed_at_point("journal.committed", 10);
  const std::string wal = file() + "-wal", before = content_of(file()), log = content_of(wal);
  std::mt19937_64 random = random_engine();
  for (int trial = 0; trial < 50; ++trial) {
    std::string damaged = log;
    damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
    write_content(file(), before);
    write_content(wal, damaged);
    EXPECT_LE(calls_of_run(), kItems);
  }
}

TEST_F(JournalKillTest, AFlippedByteOfTheFileIsRunAgainOrRefused) {
  run();
  const std::string good = content_of(file());
  ASSERT_FALSE(std::filesystem::exists(file() + "-wal"));
  std::mt19937_64 random = random_engine();
  int taken_up = 0, again = 0, refused = 0;
  for (int trial = 0; trial < 150; ++trial) {
    std::string damaged = good;
    damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
    write_content(file(), damaged);
    std::filesystem::remove(file() + "-wal");
    try {
      ++(calls_of_run() == 0 ? taken_up : again);
    } catch (const JournalRefused& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr(file()));
      ++refused;
    }
  }
  EXPECT_GT(again, 0);
  EXPECT_GT(taken_up, 0) << "most of the bytes are free space";
  std::printf("taken up %d times, items run again %d times, refused %d times\n", taken_up, again, refused);
}

TEST_F(JournalKillTest, ACutDatabaseIsRunAgainOrRefused) {
  run();
  const std::string good = content_of(file());
  for (std::size_t length = 0; length < good.size(); length += 1021) {
    write_content(file(), good.substr(0, length));
    std::filesystem::remove(file() + "-wal");
    try {
      calls_of_run();
    } catch (const JournalRefused& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr(file()));
    }
  }
}

TEST_F(JournalKillTest, WhenTheDiskIsFullNothingThatWasRecordedIsLost) {
  if (::mount("tandem", directory().c_str(), "tmpfs", 0, "size=400k") != 0) GTEST_SKIP() << "may not mount: no root";
  const std::unique_ptr<const char, void (*)(const char*)> mounted(directory().c_str(), [](const char* at) {
    if (::umount(at) != 0) ADD_FAILURE() << "cannot unmount " << at;
  });
  const auto large = [](int value) { return std::string(20'000, static_cast<char>('a' + value)); };
  int given = 0;
  {
    ThreadExecutor executor(2);
    auto results = executor.map(journal({.chunk_size = 1, .window_items = 2}), large, numbers());
    EXPECT_THAT(system_refusal([&] {
                  while (results.next()) ++given;
                }),
                ::testing::AllOf(::testing::HasSubstr("cannot write the journal " + file()),
                                 ::testing::HasSubstr("No space left")));
    EXPECT_GT(given, 0);
    EXPECT_LT(given, kItems);
  }
  ASSERT_EQ(::mount("tandem", directory().c_str(), "tmpfs", MS_REMOUNT, "size=10m"), 0);
  {
    ThreadExecutor executor(2);
    EXPECT_EQ(executor.map(journal(), large, numbers()).to_vector().size(), std::size_t{kItems});
  }
}

TEST_F(JournalKillTest, ADirectoryThatCannotBeWrittenIsNamed) {
  const pid_t child = ::fork();
  if (child == 0) {
    // Nobody: root may write anywhere.
    if (::chmod(directory().c_str(), 0555) != 0) ::_exit(3);
    if (::getuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
    const std::string text = system_refusal([&] {
      ThreadExecutor executor(1);
      executor.map(journal(), letters, numbers());
    });
    const bool good = text.starts_with("cannot open the journal " + file()) && text.ends_with("Permission denied");
    if (!good) std::fputs(text.c_str(), stderr);
    std::fflush(stderr);
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(JournalKillTest, AJournalOfALivingProgramIsRefusedAndThatOfADeadOneIsNot) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ThreadExecutor executor(1);
    auto results = executor.map(journal(), letters, numbers());
    static_cast<void>(results.next());
    if (::write(ready[1], "r", 1) != 1) ::_exit(1);
    ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_THAT(refusal([&] { run(); }), ::testing::HasSubstr("is in use: another program"));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  EXPECT_NO_THROW(run());
}

}  // namespace
}  // namespace tandem::testing
