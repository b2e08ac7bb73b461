// The code of docs/reference/future.md and executor.md.
#include <gmock/gmock.h>
#include <tandem/executor.hpp>

#include <cmath>
#include <coroutine>
#include <string>
#include <vector>

#include "support/leak_checked_test.hpp"

using namespace std::chrono_literals;

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;

class ExecutorReferenceTest : public LeakCheckedTest {};

double area(double radius) {
  return std::round(3.14159 * radius * radius);
}
double larger(double a, double b) {
  return a > b ? a : b;
}
int parse(const std::string& text) {
  return std::stoi(text);
}

TEST_F(ExecutorReferenceTest, SubmitAndMap) {
  tandem::ThreadExecutor executor({.workers = 2, .name_prefix = "areas"});

  tandem::Future<double> one = executor.submit(area, 10.0);
  double total = 0;
  for (double each : executor.map(area, std::vector{1.0, 2.0, 3.0})) total += each;
  EXPECT_EQ(total + one.get(), 3 + 13 + 28 + 314);
}

TEST_F(ExecutorReferenceTest, FormsOfMap) {
  tandem::ThreadExecutor executor;
  const std::vector<double> radii = {1, 2, 3};
  const std::vector<std::pair<double, double>> pairs = {{1, 2}, {4, 3}};

  std::vector<double> areas = executor.map(area, radii).to_vector();  // in the order of the input
  auto any_order = executor.map_unordered(area, radii);               // as they come
  auto maxima = executor.starmap(larger, pairs);                      // a tuple is the arguments of a call
  auto zipped = executor.map(larger, radii, std::views::iota(2));     // several inputs, read in step
  auto chunked = executor.map({.chunk_size = 2, .window_items = 8}, area, radii);
  executor.for_each([](double radius) { area(radius); }, radii);  // no results
  EXPECT_THAT(areas, ElementsAre(3, 13, 28));
  EXPECT_EQ(any_order.to_vector().size(), 3u);
  EXPECT_THAT(maxima.to_vector(), ElementsAre(2, 4));
  EXPECT_THAT(zipped.to_vector(), ElementsAre(2, 3, 4));
  EXPECT_THAT(chunked.to_vector(), ElementsAre(3, 13, 28));
}

TEST_F(ExecutorReferenceTest, ItemsThatFail) {
  tandem::ThreadExecutor executor;
  const std::vector<std::string> texts = {"1", "two", "3"};
  int good = 0, bad = 0;

  auto numbers = executor.map(parse, texts);
  for (;;) {
    try {
      std::optional<int> number = numbers.next();
      if (!number) break;
      ++good;
    } catch (const std::invalid_argument&) {
      ++bad;  // this item only: the next one follows
    }
  }
  EXPECT_EQ(good, 2);
  EXPECT_EQ(bad, 1);
}

TEST_F(ExecutorReferenceTest, DeadlinesAndRetries) {
  tandem::ThreadExecutor executor;
  auto search = [](const std::stop_token& stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
  };

  tandem::Future<void> late = executor.submit({.name = "search", .deadline = 20ms}, search);
  EXPECT_THROW(late.get(), tandem::DeadlineExceeded);
  tandem::Future<int> tried = executor.submit({.retries = 2}, parse, "three");
  EXPECT_THROW(tried.get(), std::invalid_argument);
  EXPECT_EQ(executor.counters().retried, 2u);
}

TEST_F(ExecutorReferenceTest, Shutdown) {
  tandem::ThreadExecutor executor(1);
  for (int task = 0; task < 10; ++task) static_cast<void>(executor.submit(area, task));

  tandem::ShutdownReport report = executor.shutdown_for(1min, tandem::Backlog::Cancel);
  EXPECT_TRUE(report.given_up.empty());  // all that ran has ended in time
}

TEST_F(ExecutorReferenceTest, SeveralFutures) {
  tandem::ThreadExecutor executor(2);
  std::vector<tandem::Future<double>> futures;
  for (double radius : {3.0, 1.0, 2.0}) futures.push_back(executor.submit(area, radius));

  auto [done, not_done] = tandem::wait(futures, tandem::Until::Any);
  double total = 0;
  for (const tandem::Future<double>& future : tandem::as_completed(futures, 1min)) total += future.get();
  EXPECT_FALSE(done.empty());
  EXPECT_EQ(done.size() + not_done.size(), 3u);
  EXPECT_EQ(total, 44);
}

/// A coroutine that runs on by itself.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

Detached add_areas(tandem::ThreadExecutor& executor, double& total) {
  total += co_await executor.submit(area, 1.0);
  total += co_await executor.submit(area, 2.0);
}

TEST_F(ExecutorReferenceTest, ChainsCallbacksAndCoroutines) {
  double total = 0;
  {
    tandem::ThreadExecutor executor;
    tandem::Future<std::string> text =
        executor.submit(area, 10.0).then([](double value) { return "area " + std::to_string(int(value)); });
    text.add_done_callback([](const tandem::Future<std::string>& future) { EXPECT_EQ(future.get(), "area 314"); });
    EXPECT_EQ(text.get(), "area 314");
    add_areas(executor, total);
    while (executor.counters().submitted < 3 || executor.counters().done < 3) std::this_thread::yield();
  }
  EXPECT_EQ(total, 16);
}

}  // namespace
}  // namespace tandem::testing
