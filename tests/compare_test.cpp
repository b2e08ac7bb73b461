// compare() as a library: what it measures, in which order, how it fails, and its advice.
#include <gmock/gmock.h>
#include <tandem/compare.hpp>

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "compare/memory.hpp"
#include "support/leak_checked_test.hpp"
#include "support/tool.hpp"

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CompareTest : public LeakCheckedTest {};

// ---------------------------------------------------------------------------------------------------------------------
// Work to measure: how many numbers there are from 0 to 99, counted in ranges.

struct Numbers {
  int first = 0;
  int step = 1;
};

std::vector<Numbers> split_numbers(std::size_t workers) {
  std::vector<Numbers> tasks;
  for (std::size_t i = 0; i < workers; ++i) tasks.push_back({static_cast<int>(i), static_cast<int>(workers)});
  return tasks;
}

int count_numbers(const Numbers& numbers) {
  int count = 0;
  for (int i = numbers.first; i < 100; i += numbers.step) ++count;
  return count;
}

std::string add_up(const std::vector<int>& counts) {
  int total = 0;
  for (const int count : counts) total += count;
  return std::to_string(total);
}

template <class Part>
Workload numbers_work(Part part) {
  return workload("numbers", split_numbers, part, add_up);
}

TEST_F(CompareTest, MeasuresEveryPlace) {
  const Comparison found = compare(numbers_work(count_numbers), {.workers = 3, .runs = 2});
  EXPECT_EQ(found.work, "numbers");
  EXPECT_EQ(found.workers, 3U);
  EXPECT_EQ(found.runs, 2U);
  EXPECT_TRUE(found.agree);
  ASSERT_EQ(found.rows.size(), 4U);
  for (const ComparisonRow& row : found.rows) {
    EXPECT_EQ(row.result, "100");
    EXPECT_GT(row.wall_s.min, 0);
    EXPECT_LE(row.wall_s.min, row.wall_s.median);
    EXPECT_LE(row.wall_s.median, row.wall_s.max);
    EXPECT_GT(row.peak_memory_bytes, 0U);
  }
  EXPECT_EQ(found.row(Where::Serial)->speedup, 1);
  EXPECT_GT(found.machine.limit, 0);
  EXPECT_GE(found.advice.reasons.size(), 2U);
}

TEST_F(CompareTest, TakesLambdasAndAnyPortableTypes) {
  const Workload work = workload(
      "text", [](std::size_t workers) { return std::vector<std::string>(workers, "ab"); },
      [](const std::string& task) { return std::vector<std::string>{task, task}; },
      [](const std::vector<std::vector<std::string>>& results) { return results.front().back(); });
  EXPECT_EQ(compare(work, {.workers = 2, .runs = 1}).row(Where::Processes)->result, "ab");
}

TEST_F(CompareTest, WorksUnderEveryStartMethod) {
  for (const StartMethod method : {StartMethod::ForkServer, StartMethod::Spawn})
    EXPECT_TRUE(compare(numbers_work(count_numbers),
                        {.workers = 2, .runs = 1, .where = {Where::Processes}, .start_method = method})
                    .agree);
}

TEST_F(CompareTest, TakesFewerTasksThanWorkers) {
  const Workload none = workload("none", [](std::size_t) { return std::vector<Numbers>(); }, count_numbers, add_up);
  EXPECT_EQ(compare(none, {.workers = 2, .runs = 1}).row(Where::Processes)->result, "0");
  const Workload one = workload("one", [](std::size_t) { return split_numbers(1); }, count_numbers, add_up);
  EXPECT_EQ(compare(one, {.workers = 5, .runs = 1}).row(Where::Threads)->result, "100");
}

TEST_F(CompareTest, RefusesWhatMakesNoSense) {
  const Workload work = numbers_work(count_numbers);
  EXPECT_THROW(compare(work, {.runs = 0}), std::invalid_argument);
  EXPECT_THROW(compare(work, {.where = {}}), std::invalid_argument);
  EXPECT_THROW(compare(work, {.workers = 5000}), std::invalid_argument);
  EXPECT_THROW(compare(work, {.where = {Where::Cluster}}), std::invalid_argument);
}

TEST_F(CompareTest, MorePartsThanWorkersAreHandedOutByAPool) {
  const Workload many = workload("many", [](std::size_t) { return split_numbers(10); }, count_numbers, add_up);
  const Comparison found = compare(many, {.workers = 2, .runs = 1});
  EXPECT_TRUE(found.agree);
  for (const ComparisonRow& row : found.rows) {
    EXPECT_EQ(row.result, "100") << to_string(row.where);
    EXPECT_GT(row.wall_s.median, 0);
    EXPECT_GT(row.peak_memory_bytes, 0u) << to_string(row.where);
    EXPECT_GE(row.wall_s.median, row.start_s.median);
  }
}

TEST_F(CompareTest, APartOfAPoolThatFailsIsNamed) {
  const auto fails = [](const Numbers& numbers) {
    if (numbers.first > 5) throw std::runtime_error("more than 5");
    return 1;
  };
  const Workload many = workload("many", [](std::size_t) { return split_numbers(10); }, fails, add_up);
  for (const Where where : {Where::Threads, Where::Processes}) try {
      compare(many, {.workers = 2, .runs = 1, .where = {where}});
      ADD_FAILURE() << "it did not fail";
    } catch (const WorkerFailed& failed) {
      EXPECT_THAT(failed.what(), ::testing::HasSubstr("more than 5"));
    }
}

TEST_F(CompareTest, RunsEveryRowOnceARoundInARotatingOrder) {
  std::vector<std::string> seen;
  CompareOptions options{.workers = 2, .runs = 2, .where = {Where::Threads}};
  options.on_progress = [&](std::size_t done, std::size_t total, std::string_view what) {
    EXPECT_EQ(done, seen.size());
    EXPECT_EQ(total, 9U);
    seen.emplace_back(what);
  };
  compare(numbers_work(count_numbers), options);
  EXPECT_THAT(seen, ElementsAre("serial", "threads", "limit",  // Warms up.
                                "serial", "threads", "limit",  //
                                "threads", "limit", "serial", ""));
}

TEST_F(CompareTest, NoticesResultsThatDiffer) {
  const Workload work = numbers_work(+[](const Numbers&) { return static_cast<int>(::getpid()); });
  const Comparison found = compare(work, {.workers = 2, .runs = 1, .where = {Where::Serial, Where::Processes}});
  EXPECT_FALSE(found.agree);
  EXPECT_THAT(found.difference, HasSubstr("processes gave"));
  EXPECT_THAT(found.difference, HasSubstr("where serial gave " + std::to_string(::getpid())));
}

// ---------------------------------------------------------------------------------------------------------------------
// Failures

TEST_F(CompareTest, SaysWhichPartThrewAndWhere) {
  const pid_t here = ::getpid();
  const Workload work = workload(
      "thrower", [here](std::size_t workers) { return std::vector<pid_t>(workers, here); },
      [](const pid_t& first) -> int {
        if (::getpid() != first) throw std::out_of_range("too far");
        return 1;
      },
      add_up);
  try {
    compare(work, {.workers = 2, .runs = 1, .where = {Where::Processes}});
    FAIL() << "nothing was thrown";
  } catch (const WorkerFailed& error) {
    EXPECT_STREQ(error.what(), "part 1 of 2 failed (processes): too far");
    EXPECT_FALSE(error.crash_report().has_value());
  }
}

TEST_F(CompareTest, SaysHowAWorkerDiedAndLeavesNone) {
  const pid_t here = ::getpid();
  const Workload work = workload(
      "killed", [here](std::size_t workers) { return std::vector<pid_t>(workers, here); },
      [](const pid_t& first) -> int {
        if (::getpid() != first) ::raise(SIGKILL);
        return 1;
      },
      add_up);
  try {
    compare(work, {.workers = 2, .runs = 1, .where = {Where::Processes}});
    FAIL() << "nothing was thrown";
  } catch (const WorkerFailed& error) {
    EXPECT_THAT(error.what(), HasSubstr("part 1 of 2 failed (processes): killed by SIGKILL"));
    ASSERT_TRUE(error.crash_report().has_value());
    EXPECT_EQ(error.crash_report()->signal, SIGKILL);
  }
  EXPECT_TRUE(active_children().empty());
}

TEST_F(CompareTest, IsStoppedWithItsWorkersGone) {
  const pid_t here = ::getpid();
  // The first part to run in a worker process says so; the others of its kind wait for ever as it does.
  Queue<bool> started;
  const Workload work = workload(
      "endless",
      [&](std::size_t workers) { return std::vector<std::pair<pid_t, Queue<bool>>>(workers, {here, started}); },
      [](const std::pair<pid_t, Queue<bool>>& task) -> int {
        if (::getpid() == task.first) return 1;
        Queue<bool>(task.second).put(true);
        for (;;) ::pause();
      },
      add_up);
  std::stop_source stop;
  std::jthread stopper([&] {
    static_cast<void>(started.get());
    stop.request_stop();
    EXPECT_TRUE(active_children().empty());
  });
  CompareOptions options{.workers = 2, .where = {Where::Processes}};
  options.stop = stop.get_token();
  EXPECT_THROW(compare(work, options), CompareStopped);
}

// ---------------------------------------------------------------------------------------------------------------------
// Memory

TEST_F(CompareTest, SeesTheMemoryOfWorkersAtOneTime) {
  // Each worker holds 40 MiB at its end: seen together, and counted even if they are done before anything is sampled.
  constexpr std::size_t kHeldBytes = 40 << 20;
  const Workload work = numbers_work(+[](const Numbers&) {
    static std::vector<char> held;
    held.assign(kHeldBytes, 'x');
    return 1;
  });
  const Comparison found = compare(work, {.workers = 2, .runs = 1, .where = {Where::Processes}});
  EXPECT_GE(found.rows.front().peak_memory_bytes, 2 * kHeldBytes);
}

TEST_F(CompareTest, KnowsTheMemoryOfThisProcessAndOfNone) {
  EXPECT_GT(detail::pss_bytes(::getpid()), 100'000U);
  EXPECT_EQ(detail::pss_bytes(0x3fffffff), 0U);
}

// ---------------------------------------------------------------------------------------------------------------------
// Advice, on made-up comparisons.

Comparison made_up(double limit, double serial_s, double serial_cpu_s, double threads_s, double gil_s,
                   double processes_s) {
  Comparison found;
  found.machine.limit = limit;
  found.workers = 2;
  const auto add = [&](Where where, double wall_s, double cpu_s, double start_s) {
    ComparisonRow row;
    row.where = where;
    row.wall_s = {wall_s, wall_s, wall_s};
    row.cpu_s = {cpu_s, cpu_s, cpu_s};
    row.start_s = {start_s, start_s, start_s};
    row.speedup = serial_s / wall_s;
    row.of_limit = row.speedup / limit;
    row.peak_memory_bytes = 3 << 20;
    found.rows.push_back(row);
  };
  add(Where::Serial, serial_s, serial_cpu_s, 0);
  add(Where::Threads, threads_s, serial_cpu_s, 0.0001);
  add(Where::Gil, gil_s, serial_cpu_s, 0.0001);
  add(Where::Processes, processes_s, serial_cpu_s, 0.002);
  return found;
}

std::string reasons(const Advice& advice) {
  std::string text;
  for (const std::string& reason : advice.reasons) text += reason + "\n";
  return text;
}

TEST(AdviceTest, IsThreadsWhereBothAreAsFast) {
  const Advice advice = advise(made_up(2, 1, 1, 0.51, 1, 0.5));
  EXPECT_EQ(advice.where, Where::Threads);
  EXPECT_THAT(reasons(advice), HasSubstr("Of the 1 s that one worker took, 100% was CPU and 0% waiting"));
  EXPECT_THAT(reasons(advice), HasSubstr("threads 1.96x, processes 2.00x, threads under one Gil 1.00x"));
  EXPECT_THAT(reasons(advice), HasSubstr("Processes cost 2 ms to start and 3.0 MiB of memory"));
}

TEST(AdviceTest, IsProcessesWhereThreadsHinderEachOther) {
  EXPECT_EQ(advise(made_up(2, 1, 1, 0.9, 1, 0.5)).where, Where::Processes);
}

TEST(AdviceTest, IsSerialWhereNothingIsGained) {
  const Advice short_work = advise(made_up(2, 0.001, 0.001, 0.0012, 0.0012, 0.003));
  EXPECT_EQ(short_work.where, Where::Serial);
  EXPECT_THAT(reasons(short_work), HasSubstr("starting the workers alone took up to 2 ms"));
  const Advice no_core = advise(made_up(1, 1, 1, 1, 1, 1));
  EXPECT_EQ(no_core.where, Where::Serial);
  EXPECT_THAT(reasons(no_core), HasSubstr("no second core"));
}

TEST(AdviceTest, KnowsThatWaitsOverlapWithoutCores) {
  const Advice advice = advise(made_up(1, 1, 0.01, 0.5, 0.4, 0.51));
  EXPECT_EQ(advice.where, Where::Threads);
  EXPECT_THAT(reasons(advice), HasSubstr("1% was CPU and 99% waiting: waits overlap"));
  EXPECT_EQ(reasons(advice).find("of the machine's limit"), std::string::npos);
}

TEST(AdviceTest, DoesNotTakeACrowdedMachineForWaiting) {
  Comparison found = made_up(1.2, 1, 0.4, 0.9, 1, 0.9);
  found.rows.front().crowded_s = 0.55;
  EXPECT_THAT(reasons(advise(found)), HasSubstr("40% was CPU and 5% waiting (55% other programs had the cores)"));
}

Comparison with_cluster(Comparison found, double wall_s) {
  ComparisonRow row;
  row.where = Where::Cluster;
  row.wall_s = {wall_s, wall_s, wall_s};
  row.speedup = found.rows.front().wall_s.median / wall_s;
  found.rows.push_back(row);
  return found;
}

TEST(AdviceTest, IsAClusterOnlyIfThatIsFasterByMoreThanChance) {
  const Advice much = advise(with_cluster(made_up(2, 1, 1, 0.9, 1, 0.5), 0.1));
  EXPECT_EQ(much.where, Where::Cluster);
  EXPECT_THAT(reasons(much), HasSubstr("processes 2.00x, cluster 10.00x"));
  EXPECT_THAT(reasons(much), HasSubstr("In the cluster it took 100 ms"));
  // The limit of this machine says nothing of others.
  EXPECT_EQ(reasons(much).find("of the machine's limit"), std::string::npos);
  EXPECT_EQ(advise(with_cluster(made_up(2, 1, 1, 0.9, 1, 0.5), 0.49)).where, Where::Processes);
  EXPECT_EQ(advise(with_cluster(made_up(2, 1, 1, 0.5, 1, 0.5), 0.49)).where, Where::Threads);
}

TEST(AdviceTest, MakesDoWithFewRows) {
  Comparison found = made_up(2, 1, 1, 0.5, 1, 0.5);
  found.rows.resize(1);
  EXPECT_EQ(advise(found).where, Where::Serial);
  found.rows.clear();
  EXPECT_EQ(advise(found).where, Where::Serial);
}

TEST(WhereTest, HasANameForEachPlace) {
  for (const Where where : {Where::Serial, Where::Threads, Where::Gil, Where::Processes})
    EXPECT_EQ(parse_where(to_string(where)), where);
  EXPECT_EQ(parse_where("Serial"), std::nullopt);
  EXPECT_EQ(parse_where(""), std::nullopt);
}

// ---------------------------------------------------------------------------------------------------------------------
// The note's programs

std::vector<std::string> words_of(const std::string& name) {
  std::ifstream file(source_file("examples/" + name));
  EXPECT_TRUE(file) << name;
  std::vector<std::string> words;
  std::string word;
  for (char c; file.get(c);) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_') {
      word += c;
      continue;
    }
    if (!word.empty()) words.push_back(std::exchange(word, {}));
    words.emplace_back(1, c);
  }
  return words;
}

TEST(ExamplesTest, NeighboursDifferByOneWord) {
  const std::vector<std::string> one = words_of("01_one_thread.cpp");
  const std::vector<std::string> two = words_of("02_two_threads.cpp");
  const std::vector<std::string> processes = words_of("03_two_processes.cpp");
  const auto differences = [](const std::vector<std::string>& a, const std::vector<std::string>& b) {
    EXPECT_EQ(a.size(), b.size());
    std::vector<std::pair<std::string, std::string>> different;
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
      if (a[i] != b[i]) different.emplace_back(a[i], b[i]);
    return different;
  };
  EXPECT_THAT(differences(one, two), ElementsAre(std::pair("1", "2")));
  EXPECT_THAT(differences(two, processes), ElementsAre(std::pair("Thread", "Process")));
}

}  // namespace
}  // namespace tandem::testing
