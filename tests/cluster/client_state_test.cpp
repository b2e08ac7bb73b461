// What a client remembers of tasks and nodes, as far as that is no matter of threads.
#include <gmock/gmock.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "cluster/batch_message.hpp"
#include "cluster/heard_nodes.hpp"
#include "cluster/stopped_tasks.hpp"

namespace tandem::testing {
namespace {

using detail::ClusterTaskId;
using detail::HeardNodes;
using detail::StoppedTasks;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::uint64_t> carried(const StoppedTasks& tasks, std::uint64_t carrier) {
  std::vector<ClusterTaskId> ids;
  tasks.append_carried_by(carrier, ids);
  std::vector<std::uint64_t> numbers;
  for (const ClusterTaskId& id : ids) numbers.push_back(id.number);
  return numbers;
}

TEST(StoppedTasksTest, KnowsThemByTheirMessageUntilTheyHaveEnded) {
  constexpr std::uint64_t kBatch = detail::kBatchNumbers | 7;
  StoppedTasks tasks;
  tasks.add(kBatch, {"c", 5, 1});
  tasks.add(kBatch, {"c", 6, 1});
  tasks.add(8, {"c", 8, 2});
  EXPECT_THAT(carried(tasks, kBatch), ElementsAre(5, 6));
  EXPECT_THAT(carried(tasks, 8), ElementsAre(8));
  EXPECT_THAT(carried(tasks, 9), IsEmpty());
  tasks.erase(kBatch, {"c", 5, 1});
  tasks.erase(8, {"c", 8, 1});  // An earlier attempt has ended, the later one not.
  EXPECT_THAT(carried(tasks, kBatch), ElementsAre(6));
  EXPECT_THAT(carried(tasks, 8), ElementsAre(8));
}

TEST(StoppedTasksTest, ForgetsTheOldestOfTooMany) {
  StoppedTasks tasks;
  tasks.add(detail::kBatchNumbers | 1, {"c", 1, 1});
  for (std::uint64_t number = 2; number <= 10'001; ++number) tasks.add(number, {"c", number, 1});
  EXPECT_THAT(carried(tasks, detail::kBatchNumbers | 1), IsEmpty());
  EXPECT_THAT(carried(tasks, 2), ElementsAre(2));
  EXPECT_THAT(carried(tasks, 10'001), ElementsAre(10'001));
}

TEST(HeardNodesTest, ForgetsNodesOfOtherBuilds) {
  using std::chrono::seconds;
  HeardNodes nodes;
  const HeardNodes::Clock::time_point now = HeardNodes::Clock::now();
  EXPECT_TRUE(nodes.hear_stranger("old", now - seconds(70)));
  EXPECT_EQ(nodes.strangers(), 0u);
  EXPECT_TRUE(nodes.hear_stranger("new", now));
  EXPECT_FALSE(nodes.hear_stranger("new", now));
  EXPECT_EQ(nodes.strangers(), 1u);
  EXPECT_TRUE(nodes.hear_stranger("old", now)) << "it is news again";
}

}  // namespace
}  // namespace tandem::testing
