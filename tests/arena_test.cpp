// The arena as a whole: objects of any size, its limit as users meet it, and its use at the very end of a program.
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/queue.hpp>

#include "support/leak_checked_test.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMiB = 1 << 20;

std::size_t available_memory_mib() {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    if (word != "MemAvailable:") continue;
    std::size_t kib = 0;
    file >> kib;
    return kib / 1024;
  }
  return 0;
}

class ArenaTest : public testing::LeakCheckedTest {
 protected:
  std::chrono::seconds time_limit() const override { return 110s; }
};

TEST_F(ArenaTest, UsageTellsOfObjectsAndLimit) {
  const ArenaUsage before = arena_usage();
  EXPECT_GT(before.limit_bytes, kMiB);
  EXPECT_GE(before.resident_bytes, before.in_use_bytes);
  Queue<std::string> queue;
  queue.put(std::string(kMiB, 'x'));
  const ArenaUsage with = arena_usage();
  EXPECT_GE(with.in_use_bytes, before.in_use_bytes + kMiB);
  EXPECT_GE(with.resident_bytes, with.in_use_bytes);
  EXPECT_THROW(set_arena_limit(kMiB - 1), std::invalid_argument);
  EXPECT_EQ(arena_usage().limit_bytes, before.limit_bytes);
}

TEST_F(ArenaTest, TakenItemsAreFreedAlthoughTheQueueNeverRunsEmpty) {
  Queue<std::string> queue;
  for (int i = 0; i < 3000; ++i) queue.put(std::string(10'000, 'x'));
  const std::size_t full = arena_usage().in_use_bytes;
  for (int i = 0; i < 2900; ++i) static_cast<void>(queue.get());
  EXPECT_LE(arena_usage().in_use_bytes, full - 28'000'000);
}

class ArenaLimitTest : public ArenaTest {
 protected:
  void TearDown() override {
    set_arena_limit(before_);
    ArenaTest::TearDown();
  }
  template <class T>
  std::size_t put_until_refused(Queue<T>& queue, const T& item) {
    std::size_t count = 0;
    try {
      for (; count < 10'000'000; ++count) queue.put(item);
      ADD_FAILURE() << "never refused";
    } catch (const std::system_error& error) {
      EXPECT_NE(std::string(error.what()).find("limit"), std::string::npos) << error.what();
    }
    return count;
  }
  const std::size_t before_ = arena_usage().limit_bytes;
};

TEST_F(ArenaLimitTest, PutThatIsRefusedPutsNothingAndWorksAgainLater) {
  Queue<std::string> queue;
  set_arena_limit(arena_usage().resident_bytes + 20 * kMiB);
  const std::string item(kMiB, 'x');
  const std::size_t count = put_until_refused(queue, item);
  EXPECT_GE(count, 10U);
  EXPECT_EQ(queue.size(), count);
  EXPECT_THROW(queue.put(item), std::system_error);
  EXPECT_EQ(queue.size(), count);
  EXPECT_EQ(queue.get(), item);
  queue.put(item);
  for (std::size_t i = 0; i < count; ++i) EXPECT_TRUE(queue.get() == item);
  EXPECT_TRUE(queue.empty());
}

// A thread that is new to the arena needs a little of it to take something out. It must not be refused that, or a full
// arena would stay full.
TEST_F(ArenaLimitTest, FullArenaCanBeEmptiedByANewThread) {
  Queue<int> small;
  Queue<std::string> large;
  Queue<Queue<int>> handles;
  handles.put(Queue<int>());
  set_arena_limit(arena_usage().resident_bytes + 2 * kMiB);
  const std::size_t larges = put_until_refused(large, std::string(10'000, 'x'));
  const std::size_t smalls = put_until_refused(small, 1);
  std::thread emptier([&] {
    EXPECT_TRUE(handles.get().empty());
    for (std::size_t i = 0; i < smalls; ++i) static_cast<void>(small.get());
    for (std::size_t i = 0; i < larges; ++i) EXPECT_EQ(large.get().size(), 10'000U);
  });
  emptier.join();
  EXPECT_TRUE(large.empty());
}

// 3 GiB that are made and looked at in parts, so that they are in memory twice and not four times.
struct Huge {
  static constexpr std::uint64_t kParts = 48;
  static constexpr std::uint64_t kWords = 64 * kMiB / 8;
  std::uint64_t wrong = 0;

  template <class Archive>
  void save(Archive& archive) const {
    std::vector<std::uint64_t> part(kWords);
    for (std::uint64_t i = 0; i < kParts; ++i) {
      for (std::uint64_t at = 0; at < kWords; at += 64) part[at] = i * kWords + at;  // Several in each page.
      archive(cereal::binary_data(part.data(), kWords * 8));
    }
  }
  template <class Archive>
  void load(Archive& archive) {
    std::vector<std::uint64_t> part(kWords);
    for (std::uint64_t i = 0; i < kParts; ++i) {
      archive(cereal::binary_data(part.data(), kWords * 8));
      for (std::uint64_t at = 0; at < kWords; at += 64) wrong += part[at] != i * kWords + at;
    }
  }
};

TEST_F(ArenaTest, ThreeGibibytesArriveWhole) {
  if (testing::kSanitized) GTEST_SKIP() << "a sanitizer needs several times the memory";
  if (available_memory_mib() < 8 * 1024) GTEST_SKIP() << "needs 8 GiB of free memory";
  Queue<Huge> queue;
  const std::size_t before = arena_usage().in_use_bytes;
  queue.put({});
  EXPECT_GE(arena_usage().in_use_bytes, before + 3 * std::size_t{1024} * kMiB);
  EXPECT_EQ(queue.get().wrong, 0U);
  EXPECT_LT(arena_usage().in_use_bytes, before + kMiB);
}

// A queue with static storage ends behind main(), when this library's own static objects may be gone.
struct StaticQueue {
  Queue<std::string> queue;
  StaticQueue() { queue.put("until the very end"); }
  ~StaticQueue() {
    queue.put("still works");
    if (queue.get() == "until the very end") std::_Exit(7);
  }
};

TEST(ArenaAtExitTest, QueueOfStaticStorageWorksUntilTheEnd) {
  EXPECT_EXIT(
      {
        static StaticQueue last;
        std::exit(0);
      },
      ::testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace tandem
