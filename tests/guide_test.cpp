// The code of docs/guide.md, in its order: tools/check_docs holds the two together.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <tandem/tandem.hpp>

#include "support/leak_checked_test.hpp"

using namespace std::chrono_literals;

namespace {

class GuideTest : public tandem::testing::LeakCheckedTest {};

// --- one word

void work(int id, std::int64_t begin, std::int64_t end, tandem::Queue<std::int64_t> result) {
  std::int64_t total = id * 0;
  for (std::int64_t i = begin; i < end; ++i) total += i;
  result.put(total);
}

TEST_F(GuideTest, OneWordTurnsAThreadIntoAProcess) {
  tandem::Queue<std::int64_t> result;
  tandem::Thread a(work, 1, 0, 1000, result);
  tandem::Process b(work, 2, 1000, 2000, result);
  a.start();
  b.start();
  a.join();
  b.join();
  EXPECT_EQ(result.get() + result.get(), 1999000);
}

TEST_F(GuideTest, OptionsComeFirst) {
  tandem::Queue<std::int64_t> result;
  tandem::ProcessOptions options;
  options.name = "summer";
  options.start_method = tandem::StartMethod::Spawn;
  tandem::Process p(options, work, 1, 0, 10, result);
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  EXPECT_EQ(p.name(), "summer");
}

// --- queues

void square(tandem::Queue<int> numbers, tandem::Queue<int> squares) {
  for (int number : numbers) {  // ends when closed and drained
    squares.put(number * number);
  }
}

TEST_F(GuideTest, ALoopTakesItemsUntilTheQueueIsClosed) {
  tandem::Queue<int> numbers, squares;
  tandem::Process first(square, numbers, squares), second(square, numbers, squares);
  first.start();
  second.start();
  for (int i = 1; i <= 10; ++i) numbers.put(i);
  numbers.close();
  first.join();
  second.join();

  squares.close();
  int sum = 0;
  for (int part : squares) sum += part;
  EXPECT_EQ(sum, 385);
}

TEST_F(GuideTest, NotWaitingAndWaitingForAWhile) {
  tandem::Queue<std::string> words(1);
  words.put("first");                            // waits for room, for ever
  EXPECT_FALSE(words.try_put("second"));         // does not wait
  EXPECT_FALSE(words.put_for("second", 10ms));   // waits for a while
  EXPECT_EQ(words.get(), "first");               // waits for an item, for ever
  EXPECT_EQ(words.try_get(), std::nullopt);      // does not wait
  EXPECT_EQ(words.get_for(10ms), std::nullopt);  // waits for a while
}

void handle_jobs(tandem::Queue<int> jobs) {
  for (int job : jobs) {
    static_cast<void>(job);
    jobs.task_done();
  }
}

TEST_F(GuideTest, JoinWaitsUntilEveryItemIsDealtWith) {
  tandem::Queue<int> jobs;
  tandem::Process worker(handle_jobs, jobs);
  worker.start();
  jobs.put_many(std::vector<int>{1, 2, 3});
  jobs.join();
  jobs.close();
  worker.join();
  EXPECT_TRUE(jobs.empty());
}

TEST_F(GuideTest, OtherOrders) {
  tandem::LifoQueue<int> stack;
  tandem::PriorityQueue<int> smallest;
  for (int number : {2, 3, 1}) {
    stack.put(number);
    smallest.put(number);
  }
  EXPECT_EQ(stack.get_many(3), (std::vector{1, 3, 2}));
  EXPECT_EQ(smallest.get_many(3), (std::vector{1, 2, 3}));
}

// --- what travels

struct Job {
  std::string name;
  std::vector<double> samples;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, samples);
  }
};
static_assert(tandem::Portable<Job>);

void add_up(Job job, tandem::Queue<std::map<std::string, double>> totals) {
  double total = 0;
  for (double sample : job.samples) total += sample;
  totals.put({{job.name, total}});
}

TEST_F(GuideTest, AClassTravelsWithSerialize) {
  tandem::Queue<std::map<std::string, double>> totals;
  tandem::Process p(add_up, Job{"march", {1.5, 2.5}}, totals);
  p.start();
  p.join();
  EXPECT_EQ(totals.get().at("march"), 4.0);
}

TEST_F(GuideTest, ForkTakesAnything) {
  const std::vector<int> table(1000, 7);  // read by the child where it is: nothing is copied
  tandem::Queue<int> answer;
  tandem::Process p(tandem::fork, [&table, answer]() mutable { answer.put(table[500]); });
  p.start();
  p.join();
  EXPECT_EQ(answer.get(), 7);
}

// --- ends

void give_up() {
  tandem::exit(3);
}
void fail() {
  throw std::runtime_error("no such sample");
}
void crash() {
  std::raise(SIGSEGV);
}

TEST_F(GuideTest, ExitCodesAreThoseOfPython) {
  tandem::Process p(give_up);
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 3);
}

TEST_F(GuideTest, ACrashComesBackAsAReport) {
  tandem::Process p(crash);
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), -SIGSEGV);
  const tandem::CrashReport report = p.crash_report().value();
  EXPECT_EQ(report.signal, SIGSEGV);
  EXPECT_FALSE(report.stack.empty());
}

TEST_F(GuideTest, AnUncaughtExceptionIsExitCodeOne) {
  tandem::Process p(fail);
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 1);
  const tandem::CrashReport report = p.crash_report().value();
  EXPECT_EQ(report.exception_type, "std::runtime_error");
  EXPECT_EQ(report.exception_text, "no such sample");
}

void count_until_stopped(std::stop_token stop, tandem::Queue<std::int64_t> counted) {
  std::int64_t rounds = 0;
  do {
    ++rounds;
  } while (!stop.stop_requested());
  counted.put(rounds);
}

TEST_F(GuideTest, AStopTokenAsksPolitely) {
  tandem::Queue<std::int64_t> counted;
  tandem::Process p(count_until_stopped, counted);
  p.start();
  p.request_stop();
  p.join();
  EXPECT_GE(counted.get(), 1);
}

void wait_for_ever(tandem::Queue<int> nothing) {
  static_cast<void>(nothing.get());
}

TEST_F(GuideTest, TerminateEndsWhatDoesNotListen) {
  tandem::Queue<int> nothing;
  tandem::Process p(wait_for_ever, nothing);
  p.start();
  EXPECT_FALSE(p.join_for(10ms));
  p.terminate();
  p.join();
  EXPECT_EQ(p.exitcode(), -SIGTERM);
}

// --- shared data

void take_part(tandem::Value<int> done, tandem::Array<double> sums, double part) {
  done += 1;  // one step
  std::scoped_lock guard(sums);
  for (double& sum : sums) sum += part;
}

TEST_F(GuideTest, ProcessesShareValuesAndArrays) {
  tandem::Value<int> done;
  tandem::Array<double> sums(3);  // zeros
  tandem::Process a(take_part, done, sums, 0.5), b(take_part, done, sums, 2.0);
  a.start();
  b.start();
  a.join();
  b.join();
  EXPECT_EQ(done, 2);
  EXPECT_EQ(sums[2], 2.5);
}

// --- the Gil

void count(tandem::Queue<int> counted) {
  int rounds = 0;
  for (; rounds < 1000; ++rounds) tandem::checkpoint();
  counted.put(rounds);
}

TEST_F(GuideTest, ThreadsUnderOneGilTakeTurns) {
  tandem::Gil gil;
  tandem::Queue<int> counted;
  tandem::Thread a(tandem::ThreadOptions{.gil = gil}, count, counted);
  tandem::Thread b(tandem::ThreadOptions{.gil = gil}, count, counted);
  a.start();
  b.start();
  a.join();
  b.join();
  EXPECT_EQ(counted.get() + counted.get(), 2000);
}

// --- compare

std::vector<std::int64_t> split(std::size_t workers) {
  return std::vector<std::int64_t>(workers, 1000);
}
std::int64_t sum_to(const std::int64_t& end) {
  std::int64_t total = 0;
  for (std::int64_t i = 0; i < end; ++i) total += i;
  return total;
}
std::string combine(std::vector<std::int64_t> parts) {
  return std::to_string(parts.front());
}

TEST_F(GuideTest, ComparisonMeasuresTheSameWorkInSeveralPlaces) {
  const tandem::Workload sums = tandem::workload("sums", split, sum_to, combine);
  const tandem::Comparison found = tandem::compare(sums, {.workers = 2, .runs = 1});
  EXPECT_TRUE(found.agree);
  EXPECT_EQ(found.row(tandem::Where::Processes)->result, "499500");
  EXPECT_FALSE(found.advice.reasons.empty());
}

}  // namespace
