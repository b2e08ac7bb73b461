// The code of docs/reference/progress.md and trace.md.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <tandem/executor.hpp>
#include <tandem/progress.hpp>

#include "core/trace_file.hpp"
#include "support/thread_fixture.hpp"

namespace tandem::testing {
namespace {

class ProgressReferenceTest : public ThreadFixture {};

double simulate(double setting) {
  return setting / 2;
}
void render(int) {}

TEST_F(ProgressReferenceTest, WrapsTheResultsOfAMap) {
  tandem::ThreadExecutor executor(2);
  const std::vector<double> settings = {1, 2, 3};
  double total = 0;
  for (double score : tandem::progress(executor.map(simulate, settings), {.label = "sweep"})) total += score;
  EXPECT_EQ(total, 3);
}

TEST_F(ProgressReferenceTest, CountsWhatIsNoRange) {
  tandem::ThreadExecutor executor(2);
  const std::vector<int> pages = {1, 2, 3};
  tandem::ProgressBar bar({.label = "pages", .total = pages.size(), .unit = "pages"});
  executor.for_each(
      [&](int page) {
        render(page);
        bar.advance();
      },
      pages);
  EXPECT_EQ(bar.done(), 3u);
}

class TraceReferenceTest : public ThreadFixture {
 protected:
  void SetUp() override {
    static_cast<void>(detail::TraceFile::open(file_, true));  // It stays open.
    ThreadFixture::SetUp();
  }
  void TearDown() override {
    ThreadFixture::TearDown();
    std::filesystem::remove(file_);
  }
  const std::string file_ = "/tmp/tandem_test_reference_" + std::to_string(::getpid());
};

TEST_F(TraceReferenceTest, CountersAddUp) {
  const std::string file = file_;
  const std::vector<double> settings = {1, 2, 3};
  tandem::ThreadExecutor executor({.workers = 2, .name_prefix = "model", .trace = file});
  executor.for_each(simulate, settings);
  tandem::ExecutorCounters now = executor.counters();
  EXPECT_EQ(now.submitted, now.queued + now.running + now.done + now.failed + now.cancelled);
  for (const tandem::WorkerInfo& worker : executor.workers())
    std::cout << worker.name << ": " << worker.cpu_time.count() / 1'000'000 << " ms\n";
}

}  // namespace
}  // namespace tandem::testing
