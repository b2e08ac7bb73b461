// Items that are looked at where they lie: QueueView.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/queue.hpp>

#include "core/kill_point.hpp"
#include "support/kill_points.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;

class QueueViewTest : public testing::LeakCheckedTest {};

TEST_F(QueueViewTest, OfPlainItemsSmallAndLarge) {
  Queue<int> small;
  small.put(7);
  EXPECT_EQ(*small.get_view(), 7);
  using Block = std::array<double, 1000>;
  Queue<Block> large;
  large.put(Block{1, 2});
  const auto view = large.get_view();
  EXPECT_EQ((*view)[1], 2);
  EXPECT_EQ(view->size(), 1000U);
}

TEST_F(QueueViewTest, OfStringsAndVectors) {
  Queue<std::string> strings;
  for (const std::string& text : {std::string(), std::string("short"), std::string(100'000, 'x')}) {
    strings.put(text);
    EXPECT_EQ(*strings.get_view(), std::string_view(text));
  }
  Queue<std::vector<double>> vectors;
  const std::vector<double> numbers(100'000, 0.5);
  for (int i = 0; i < 3; ++i) vectors.put(numbers);
  for (int i = 0; i < 3; ++i) {
    const auto view = vectors.get_view();
    EXPECT_TRUE(std::ranges::equal(*view, numbers));
  }
}

TEST_F(QueueViewTest, WithoutAnItem) {
  Queue<int> queue;
  EXPECT_FALSE(queue.try_get_view());
  EXPECT_FALSE(queue.get_view_for(1ms));
  EXPECT_THROW(static_cast<void>(queue.get_view_for(-1ms)), std::invalid_argument);
  queue.close();
  EXPECT_THROW(static_cast<void>(queue.get_view()), QueueClosed);
}

TEST_F(QueueViewTest, SeveralAtOnceInAnyOrderBesideOtherItems) {
  Queue<std::string> queue;
  for (int i = 0; i < 300; ++i) queue.put(std::string(1000, static_cast<char>('a' + i % 26)));
  auto first = queue.get_view();
  auto second = queue.get_view();
  EXPECT_EQ(queue.get().front(), 'c');
  second = queue.get_view();  // The one before is dropped.
  EXPECT_EQ((*first).front(), 'a');
  EXPECT_EQ((*second).front(), 'd');
  // More than once round the ring, past what is held.
  for (int i = 4; i < 2000; ++i) {
    queue.put(std::string(1000, static_cast<char>('a' + (i + 296) % 26)));
    ASSERT_EQ(queue.get().front(), static_cast<char>('a' + i % 26)) << i;
  }
  EXPECT_EQ((*first).front(), 'a');
  first.drop();
  EXPECT_FALSE(first);
  EXPECT_EQ((*second).front(), 'd');
}

TEST_F(QueueViewTest, TheItemIsTakenWhenTheViewIsDropped) {
  Queue<int> queue;
  queue.put(1);
  {
    const auto view = queue.get_view();
    EXPECT_EQ(queue.size(), 0U);
    queue.close();
    // Who is killed now gives it back: so the queue has not ended yet.
    EXPECT_FALSE(queue.get_for(1ms));
  }
  EXPECT_THROW(static_cast<void>(queue.get()), QueueClosed);
  queue.task_done();
  queue.join();
}

TEST_F(QueueViewTest, DroppedInAForkedChildItStaysTheParents) {
  Queue<std::string> queue;
  queue.put(std::string(1000, 'x'));
  auto view = queue.get_view();
  const auto run = testing::run_killed_at(1'000'000, [&] { view.drop(); });
  EXPECT_FALSE(run.killed);
  EXPECT_EQ((*view).size(), 1000U);
}

TEST_F(QueueViewTest, KilledWithAViewTheItemGoesToAnother) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
  const std::string large(100'000, 'x');
  const std::size_t before = arena_usage().in_use_bytes;
  std::optional<Queue<std::string>> queue;
  const auto make = [&] {
    queue.emplace();
    queue->put(large);
    queue->put("second");
  };
  make();
  const auto points = testing::for_each_kill_point(
      [&] {
        auto view = queue->get_view();
        if ((*view).size() != large.size()) std::abort();
        view.drop();
      },
      [&](const std::string& at) {
        queue->close();
        std::vector<std::string> items;
        for (const std::string& item : *queue) items.push_back(item);
        std::ranges::sort(items);
        const bool taken = items == std::vector<std::string>{"second"};
        EXPECT_TRUE(taken || items == (std::vector<std::string>{"second", large})) << items.size();
        if (at == "queue.get.claimed") {
          EXPECT_FALSE(taken);
        }
        if (at == "queue.get.committed") {
          EXPECT_TRUE(taken);
        }
        queue.reset();
        EXPECT_EQ(arena_usage().in_use_bytes, before);
        make();
      });
  EXPECT_GT(std::ranges::count(points, "queue.get.committed"), 0);
}

}  // namespace
}  // namespace tandem
