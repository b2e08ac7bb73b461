#include <tandem/executor.hpp>

#include <numeric>
#include <stdexcept>
#include <vector>

#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

class ExecutorTest : public ThreadFixture {};

int twice(int value) {
  return 2 * value;
}

// EXE-01
TEST_F(ExecutorTest, SubmitGivesTheResult) {
  ThreadExecutor executor(2);
  EXPECT_EQ(executor.submit(twice, 21).get(), 42);
}

// EXE-03
TEST_F(ExecutorTest, MapGivesResultsInTheOrderOfTheInput) {
  ThreadExecutor executor(2);
  std::vector<int> input(1000);
  std::iota(input.begin(), input.end(), 0);
  std::vector<int> results = executor.map(twice, input).to_vector();
  ASSERT_EQ(results.size(), input.size());
  for (int at = 0; at < 1000; ++at) EXPECT_EQ(results[at], 2 * at);
}

}  // namespace
}  // namespace tandem::testing
