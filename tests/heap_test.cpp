// The allocator inside the arena, against a model of what it has given out.
#include <gtest/gtest.h>
#include <sys/time.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <system_error>
#include <vector>

#include <tandem/arena.hpp>

#include "ipc/family.hpp"
#include "support/leak_checked_test.hpp"
#include "support/random.hpp"

namespace tandem::detail {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMiB = 1 << 20;

// One block under test. Its owner word is in the arena, as it must be.
struct Allocation {
  std::uint64_t bytes = 0;
  std::uint64_t seed = 0;
};

class HeapTest : public testing::LeakCheckedTest {
 protected:
  static constexpr std::size_t kOwners = 512;

  void SetUp() override {
    testing::LeakCheckedTest::SetUp();
    owners_object_ = make_plain(kOwners * sizeof(Word));
    owners_ = static_cast<Word*>(owners_object_->data());
  }
  void TearDown() override {
    owners_object_.reset();
    testing::LeakCheckedTest::TearDown();
  }

  std::byte* bytes_of(std::size_t i) { return arena_.base() + get(owners_[i]); }
  // Where a block is looked at: all of a small one, about 100 places of a large one, its first and last byte always.
  template <class Look>
  void look_at(const Allocation& allocation, std::size_t i, Look look) {
    const std::uint64_t step = std::max<std::uint64_t>(1, allocation.bytes / 100);
    for (std::uint64_t at = 0; at < allocation.bytes; at += step)
      look(bytes_of(i)[at], static_cast<std::byte>((allocation.seed + at) * 0x9e3779b97f4a7c15 >> 56));
    look(bytes_of(i)[allocation.bytes - 1], static_cast<std::byte>(allocation.seed));
  }
  void fill(const Allocation& allocation, std::size_t i) {
    look_at(allocation, i, [](std::byte& byte, std::byte wanted) { byte = wanted; });
  }
  void check(const Allocation& allocation, std::size_t i) {
    int wrong = 0;
    std::optional<std::pair<std::byte*, std::byte>> last;
    look_at(allocation, i, [&](std::byte& byte, std::byte wanted) {
      // The last byte may have been written twice.
      if (last && last->first != &byte) wrong += *last->first != last->second;
      last = {&byte, wanted};
    });
    wrong += *last->first != last->second;
    EXPECT_EQ(wrong, 0) << "a block of " << allocation.bytes << " bytes was overwritten";
  }

  // Every block's neighbours know it, and free neighbours are one block, unless one has its pages and the other does
  // not. Gives the size of the largest free block.
  std::uint64_t check_structure() {
    constexpr std::uint64_t kFree = 1;
    const HeapState& state = arena_.header().heap;
    const ArenaChange lock(arena_);
    std::uint64_t previous = 0, largest = 0, in_use = 0;
    std::uint64_t previous_flags = 0;
    for (std::uint64_t block = get(state.begin); block != get(state.end);) {
      const auto& header = arena_.at<BlockHeader>(block);
      const std::uint64_t flags = get(header.size_and_flags) % 16;
      const std::uint64_t size = get(header.size_and_flags) - flags;
      EXPECT_EQ(get(header.previous), previous);
      EXPECT_FALSE((previous_flags & flags & kFree) != 0 && previous_flags == flags) << "free neighbours at " << block;
      EXPECT_GE(size, 32U);
      if ((flags & kFree) != 0) largest = std::max(largest, size);
      if ((flags & 4) != 0) in_use += size;
      previous_flags = flags;
      previous = block;
      block += size;
    }
    EXPECT_EQ(get(state.last), previous);
    EXPECT_EQ(get(state.in_use_bytes), in_use);
    return largest;
  }

  Arena& arena_ = Arena::instance();
  SharedObjectPtr owners_object_;
  Word* owners_ = nullptr;
};

// VAL-13: check_structure() walks from neighbour to neighbour until the end, and adds up what is used.
TEST_F(HeapTest, BlocksKeepTheirContentsAndBecomeOneAgain) {
  auto engine = testing::random_engine();
  std::vector<std::optional<Allocation>> model(kOwners);
  std::uint64_t total = 0;
  const std::size_t before = arena_usage().in_use_bytes;
  const int rounds = testing::kSanitized ? 2'000 : 8'000;
  for (int round = 0; round < rounds; ++round) {
    const std::size_t i = engine() % kOwners;
    if (model[i]) {
      check(*model[i], i);
      total -= model[i]->bytes;
      arena_.free(owners_[i]);
      EXPECT_EQ(get(owners_[i]), 0U);
      model[i].reset();
      continue;
    }
    // As many of 16..32 bytes as of 32..64 MiB, within what a small machine has.
    const std::uint64_t power = std::uint64_t{16} << engine() % 22;
    const Allocation allocation{power + engine() % power, engine()};
    if (total + allocation.bytes > 512 * kMiB) continue;
    arena_.allocate(owners_[i], allocation.bytes);
    ASSERT_EQ(get(owners_[i]) % 16, 0U);
    total += allocation.bytes;
    fill(allocation, i);
    model[i] = allocation;
    if (round % 1000 == 0) check_structure();
  }
  for (std::size_t i = 0; i < kOwners; ++i) {
    if (!model[i]) continue;
    check(*model[i], i);
    arena_.free(owners_[i]);
  }
  EXPECT_EQ(arena_usage().in_use_bytes, before);
  const std::uint64_t largest = check_structure();
  const std::uint64_t end = get(arena_.header().heap.end);
  arena_.allocate(owners_[0], largest - sizeof(BlockHeader));
  EXPECT_EQ(get(arena_.header().heap.end), end) << "the joined free block was not used";
  arena_.free(owners_[0]);
}

TEST_F(HeapTest, BlocksDoNotOverlap) {
  auto engine = testing::random_engine(1);
  std::map<std::uint64_t, std::uint64_t> ranges;  // end by begin
  for (std::size_t i = 0; i < kOwners; ++i) {
    const std::uint64_t bytes = engine() % 5000;
    arena_.allocate(owners_[i], bytes);
    const auto [it, is_new] = ranges.emplace(get(owners_[i]), get(owners_[i]) + bytes);
    ASSERT_TRUE(is_new);
    if (it != ranges.begin()) EXPECT_LE(std::prev(it)->second, it->first);
    if (std::next(it) != ranges.end()) EXPECT_LE(it->second, std::next(it)->first);
  }
  for (std::size_t i = 0; i < kOwners; ++i) arena_.free(owners_[i]);
}

TEST_F(HeapTest, UncommittedAllocationLeavesNothing) {
  const std::size_t before = arena_usage().in_use_bytes;
  for (const std::uint64_t bytes : {std::uint64_t{16}, 5000 * std::uint64_t{1000}, 100 * kMiB}) {
    ArenaChange change(arena_);
    static_cast<void>(arena_.heap().allocate(change, bytes, owners_[0]));
    EXPECT_NE(get(owners_[0]), 0U);
    change.undo();
    EXPECT_EQ(get(owners_[0]), 0U);
  }
  check_structure();
  EXPECT_EQ(arena_usage().in_use_bytes, before);
}

TEST_F(HeapTest, LargeFreedBlocksGoBackToTheKernel) {
  const std::size_t before = arena_usage().resident_bytes;
  constexpr std::size_t kBlocks = 6;
  for (std::size_t i = 0; i < kBlocks; ++i) arena_.allocate(owners_[i], 128 * kMiB);
  EXPECT_GE(arena_usage().resident_bytes, before + kBlocks * 128 * kMiB - 512 * kMiB);
  for (std::size_t i = 0; i < kBlocks; ++i) arena_.free(owners_[i]);
  // What is kept warm for reuse is 256 MiB, and one block may come on top of it.
  EXPECT_LE(arena_usage().resident_bytes, before + 385 * kMiB);
}

class LimitTest : public HeapTest {
 protected:
  // More than what is there now, which other tests of the same run may have left warm.
  void limit_to(std::uint64_t more_bytes) {
    limit_ = arena_usage().resident_bytes + more_bytes;
    set_arena_limit(limit_);
  }
  void TearDown() override {
    set_arena_limit(before_);
    HeapTest::TearDown();
  }
  // What the allocator needs for itself is not refused.
  static constexpr std::uint64_t kRecords = 1 << 20;
  std::uint64_t limit_ = 0;
  const std::uint64_t before_ = arena_usage().limit_bytes;
};

TEST_F(LimitTest, ReachingTheLimitIsAnErrorThatNamesItAndLosesNothing) {
  limit_to(64 * kMiB);
  const std::size_t in_use = arena_usage().in_use_bytes;
  std::size_t made = 0;
  try {
    for (; made < kOwners; ++made) {
      arena_.allocate(owners_[made], 8 * kMiB);
      fill({8 * kMiB, made}, made);
    }
    FAIL() << "never refused";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::not_enough_memory);
    EXPECT_NE(std::string(error.what()).find("limit"), std::string::npos) << error.what();
  }
  EXPECT_GE(made, 6U);
  EXPECT_EQ(get(owners_[made]), 0U);
  EXPECT_LE(arena_usage().resident_bytes, limit_ + kRecords);
  check_structure();
  for (std::size_t i = 0; i < made; ++i) check({8 * kMiB, i}, i);
  arena_.free(owners_[2]);
  arena_.allocate(owners_[2], 8 * kMiB);  // There is room again, of this size to the byte.
  for (std::size_t i = 0; i < made; ++i) arena_.free(owners_[i]);
  EXPECT_EQ(arena_usage().in_use_bytes, in_use);
}

TEST_F(LimitTest, AbsurdSizesAreRefused) {
  for (const std::uint64_t bytes :
       {~std::uint64_t{0}, ~std::uint64_t{0} - 15, std::uint64_t{1} << 63, std::uint64_t{1} << 40})
    EXPECT_THROW(arena_.allocate(owners_[0], bytes), std::system_error);
  EXPECT_EQ(get(owners_[0]), 0U);
  EXPECT_THROW(set_arena_limit(1000), std::invalid_argument);
  check_structure();
}

TEST_F(LimitTest, SmallBlocksOfGivenBackMemoryCountToo) {
  // Much free memory without pages, from which small blocks are cut.
  for (std::size_t i = 0; i < 2; ++i) arena_.allocate(owners_[i], 512 * kMiB);
  for (std::size_t i = 0; i < 2; ++i) arena_.free(owners_[i]);
  limit_to(8 * kMiB);
  // Each block owns the next one, so that there may be any number of them.
  std::uint64_t made = 0;
  Word* last = &owners_[0];
  try {
    for (; made < 400'000; ++made) {
      arena_.allocate(*last, 2000);
      std::memset(arena_.base() + get(*last), 0, 2000);
      last = &arena_.at<Word>(get(*last));
    }
    ADD_FAILURE() << "800 MB were made under a limit";
  } catch (const std::system_error& error) {
    EXPECT_NE(std::string(error.what()).find("limit"), std::string::npos) << error.what();
  }
  EXPECT_LE(arena_usage().resident_bytes, limit_ + kRecords);
  EXPECT_GE(made, 2000U);
  while (get(owners_[0]) != 0) {
    // The second becomes the first in the owner's word only when the first is free.
    ArenaChange change(arena_);
    const std::uint64_t first = get(owners_[0]);
    change.set(owners_[1], first);
    change.set(owners_[0], get(arena_.at<Word>(first)));
    arena_.heap().free(change, owners_[1]);
    change.commit();
  }
}

TEST_F(LimitTest, WarmBlockIsReusedAlthoughTheLimitIsReached) {
  arena_.allocate(owners_[0], 40 * kMiB);
  std::memset(bytes_of(0), 1, 40 * kMiB);
  arena_.free(owners_[0]);
  limit_to(0);
  arena_.allocate(owners_[0], 40 * kMiB);
  fill({40 * kMiB, 7}, 0);
  EXPECT_LE(arena_usage().resident_bytes, limit_);  // No other pages than before.
  arena_.free(owners_[0]);
}

TEST_F(HeapTest, LargeAllocationEndsThoughSignalsKeepComing) {
  struct sigaction ignore{}, before{};
  ignore.sa_handler = [](int) {};  // Interrupts system calls, unlike SIG_IGN.
  ASSERT_EQ(sigaction(SIGALRM, &ignore, &before), 0);
  const itimerval often{.it_interval = {.tv_sec = 0, .tv_usec = 1000}, .it_value = {.tv_sec = 0, .tv_usec = 1000}};
  ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
  arena_.allocate(owners_[0], 700 * kMiB);
  const itimerval never{};
  ASSERT_EQ(setitimer(ITIMER_REAL, &never, nullptr), 0);
  ASSERT_EQ(sigaction(SIGALRM, &before, nullptr), 0);
  fill({700 * kMiB, 1}, 0);
  check({700 * kMiB, 1}, 0);
  arena_.free(owners_[0]);
}

}  // namespace
}  // namespace tandem::detail
