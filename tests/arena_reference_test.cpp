// The code of docs/reference/arena.md.
#include <gtest/gtest.h>

#include <cstddef>
#include <iostream>
#include <string>
#include <system_error>

#include <tandem/arena.hpp>
#include <tandem/queue.hpp>

#include "support/leak_checked_test.hpp"

namespace tandem::testing {
namespace {

class ArenaReferenceTest : public LeakCheckedTest {
 protected:
  void TearDown() override {
    tandem::set_arena_limit(before_);
    LeakCheckedTest::TearDown();
  }

 private:
  const std::size_t before_ = tandem::arena_usage().limit_bytes;
};

TEST_F(ArenaReferenceTest, UsageAndLimit) {
  tandem::Queue<std::string> pages;
  pages.put(std::string(1 << 20, 'x'));
  const tandem::ArenaUsage usage = tandem::arena_usage();
  std::cout << usage.in_use_bytes << " bytes in use, of at most " << usage.limit_bytes << '\n';
  EXPECT_GE(usage.in_use_bytes, std::size_t{1} << 20);

  tandem::set_arena_limit(std::size_t{64} << 20);  // for the whole family
  std::size_t put = 0;
  try {
    for (;; ++put) pages.put(std::string(1 << 20, 'x'));
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::not_enough_memory);  // this item was not put; the others wait to be taken
  }
  EXPECT_EQ(pages.size(), 1 + put);
}

}  // namespace
}  // namespace tandem::testing
