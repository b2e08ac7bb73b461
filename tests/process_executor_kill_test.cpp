// A worker that is killed at each point of what it does: at most the task that it had begun is lost.
#include <gtest/gtest.h>

#include <vector>

#include <tandem/executor.hpp>
#include <tandem/value.hpp>

#include "core/kill_point.hpp"
#include "support/executor_places.hpp"
#include "support/kill_points.hpp"
#include "support/sanitizers.hpp"

namespace tandem::testing {
namespace {

class ProcessExecutorKillTest : public LeakCheckedTest {
  std::chrono::seconds time_limit() const override { return std::chrono::seconds(200); }
};

/// The first worker is to die.
void doom_the_first(Value<int> started, int pass) {
  if ((started += 1) == 1) die_at_kill_point(static_cast<std::size_t>(pass));
}

int count(Value<int> begun, int value) {
  begun += 1;
  return 2 * value;
}

// TMO-31: also while it has a queue in hand.
TEST_F(ProcessExecutorKillTest, WorkerIsKilledAnywhere) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
  constexpr int kTasks = 6;
  const int step = kSanitized ? 7 : 1;
  int deaths = 0, lost = 0, quiet = 0;
  for (int pass = 0; quiet < 3; pass += step) {
    Value<int> started(0), begun(0);
    ProcessExecutor executor(ExecutorOptions{.workers = 1}, doom_the_first, started, pass);
    std::vector<Future<int>> futures;
    int failed = 0;
    for (int task = 0; task < kTasks; ++task) futures.push_back(executor.submit(count, begun, task));
    for (int task = 0; task < kTasks; ++task) {
      if (futures[task].exception() != nullptr) {
        EXPECT_THROW(futures[task].get(), TaskCrashed);
        ++failed;
      } else {
        EXPECT_EQ(futures[task].get(), 2 * task);
      }
    }
    EXPECT_LE(failed, 1) << "pass " << pass;
    EXPECT_LE(begun.get(), kTasks) << "pass " << pass;
    EXPECT_GE(begun.get(), kTasks - failed) << "pass " << pass;
    executor.shutdown();
    deaths += started.get() - 1;
    lost += failed;
    quiet = started.get() == 1 ? quiet + 1 : 0;
  }
  EXPECT_GT(deaths, 10 / step);
  EXPECT_GT(lost, 0);
}

}  // namespace
}  // namespace tandem::testing
