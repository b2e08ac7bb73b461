#include <tandem/executor.hpp>

#include <unistd.h>

#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

class ProcessExecutorTest : public LeakCheckedTest {};

int twice(int value) {
  return 2 * value;
}

// EXE-01
TEST_F(ProcessExecutorTest, SubmitGivesTheResult) {
  ProcessExecutor executor(2);
  EXPECT_EQ(executor.submit(twice, 21).get(), 42);
}

TEST_F(ProcessExecutorTest, ManyTasksGiveTheirResults) {
  ProcessExecutor executor(2);
  std::vector<Future<int>> futures;
  for (int at = 0; at < 20000; ++at) futures.push_back(executor.submit(twice, at));
  for (int at = 0; at < 20000; ++at) ASSERT_EQ(futures[at].get(), 2 * at);
}

// EXE-03
TEST_F(ProcessExecutorTest, MapGivesResultsInTheOrderOfTheInput) {
  ProcessExecutor executor(2);
  std::vector<int> input(1000);
  std::iota(input.begin(), input.end(), 0);
  std::vector<int> results = executor.map(twice, input).to_vector();
  ASSERT_EQ(results.size(), input.size());
  for (int at = 0; at < 1000; ++at) EXPECT_EQ(results[at], 2 * at);
}

}  // namespace
}  // namespace tandem::testing
