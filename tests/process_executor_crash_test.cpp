// Workers that die, and tasks that cannot be sent or answered: each costs itself and nothing else.
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <tandem/event.hpp>
#include <tandem/executor.hpp>
#include <tandem/queue.hpp>
#include <tandem/value.hpp>

#include "support/executor_places.hpp"
#include "support/process_fixture.hpp"
#include "support/sanitizers.hpp"
#include "support/trouble.hpp"

namespace tandem::testing {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::HasSubstr;

class ProcessExecutorCrashTest : public LeakCheckedTest {};
class ProcessExecutorTroubleTest : public LeakCheckedTestWith<std::tuple<Stage, Mischief>> {};

/// Submits a task that makes trouble, as the parameters say; gives what its future throws.
std::exception_ptr trouble(ProcessExecutor& executor, Stage stage, Mischief mischief) {
  switch (stage) {
    case Stage::Unpack:
      return executor.submit(take, Trouble{Mischief::None, mischief}).exception();
    case Stage::Run:
      return executor.submit(run, mischief).exception();
    case Stage::PackResult:
      return executor.submit(give, mischief, Mischief::None).exception();
    case Stage::UnpackResult:
      return executor.submit(give, Mischief::None, mischief).exception();
  }
  return nullptr;
}

void expect_error_of(const std::exception_ptr& error, Mischief mischief) {
  ASSERT_NE(error, nullptr);
  try {
    std::rethrow_exception(error);
  } catch (const TaskCrashed& crash) {
    EXPECT_EQ(crash.attempts(), 1u);
    EXPECT_GT(crash.report().pid, 0);
    if (mischief == Mischief::Crash && kSanitized) return;  // Reported by the sanitizer, which leaves with a code.
    EXPECT_EQ(crash.report().exit_code, mischief == Mischief::Crash  ? -SIGSEGV
                                        : mischief == Mischief::Kill ? -SIGKILL
                                                                     : kMischiefCode);
    EXPECT_THAT(crash.what(), HasSubstr(std::to_string(crash.report().pid)));
    EXPECT_THAT(crash.what(), AnyOf(HasSubstr("exit code 7"), HasSubstr("SIGSEGV"), HasSubstr("SIGKILL")));
  } catch (const std::out_of_range& thrown) {
    EXPECT_EQ(mischief, Mischief::Throw);
    EXPECT_STREQ(thrown.what(), "mischief");
  } catch (const Error& asked) {
    EXPECT_EQ(mischief, Mischief::AskToExit);
    EXPECT_THAT(asked.what(), HasSubstr("exit(7)"));
  }
}

// CRS-03, CRS-14, CRS-15, CRS-16, CRS-18, CRS-19, CRS-21, CRS-22, CRS-23, CRS-24, CRS-30, CRS-37, TMO-09, TMO-12,
// TMO-13: the future says what happened, the next task runs.
TEST_P(ProcessExecutorTroubleTest, CostsItsTaskOnly) {
  const auto [stage, mischief] = GetParam();
  ProcessExecutor executor(2);
  for (int round = 0; round < 3; ++round) {
    const Future<int> before = executor.submit(tasks::twice, 1);
    expect_error_of(trouble(executor, stage, mischief), mischief);
    EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4);
    EXPECT_EQ(before.get(), 2);
  }
}

// CRS-31: the same out of a callback.
TEST_P(ProcessExecutorTroubleTest, CostsItsTaskOnlyWhenSubmittedInACallback) {
  const auto [stage, mischief] = GetParam();
  ProcessExecutor executor(2);
  std::vector<Future<int>> from_callback;
  Event submitted;
  executor.submit(tasks::twice, 1).add_done_callback([&](const Future<int>&) {
    from_callback.push_back(executor.submit(run, mischief));
    submitted.set();
  });
  submitted.wait();
  expect_error_of(from_callback[0].exception(), mischief);
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4);
}

std::string name_of(const ::testing::TestParamInfo<std::tuple<Stage, Mischief>>& test) {
  constexpr const char* kStages[] = {"Unpack", "Run", "PackResult", "UnpackResult"};
  constexpr const char* kMischiefs[] = {"None", "Throw", "AskToExit", "Exit", "ExitAtOnce", "Crash", "Kill"};
  return std::string(kMischiefs[static_cast<int>(std::get<1>(test.param))]) + "At" +
         kStages[static_cast<int>(std::get<0>(test.param))];
}
INSTANTIATE_TEST_SUITE_P(InTheWorker, ProcessExecutorTroubleTest,
                         ::testing::Combine(::testing::Values(Stage::Unpack, Stage::Run, Stage::PackResult),
                                            ::testing::Values(Mischief::Throw, Mischief::AskToExit, Mischief::Exit,
                                                              Mischief::ExitAtOnce, Mischief::Crash, Mischief::Kill)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(AtHome, ProcessExecutorTroubleTest,
                         ::testing::Combine(::testing::Values(Stage::UnpackResult),
                                            ::testing::Values(Mischief::Throw, Mischief::AskToExit)),
                         name_of);

// CRS-13, POL-07, SHD-25: what cannot be encoded fails where it is submitted, and nothing is left of it.
TEST_F(ProcessExecutorCrashTest, WhatCannotBeEncodedFailsInSubmit) {
  const Trouble bad{Mischief::Throw, Mischief::None};
  ProcessExecutor executor(1);
  for (int round = 0; round < 5; ++round) {
    EXPECT_THROW(static_cast<void>(executor.submit(take, bad)), std::out_of_range);
    EXPECT_THROW(executor.map(take, std::vector{bad}).to_vector(), std::out_of_range);
  }
  EXPECT_EQ(executor.submit(tasks::twice, 2).get(), 4);
  executor.close();
  EXPECT_THROW(static_cast<void>(executor.submit(take, bad)), std::out_of_range);  // CRS-26
}

// POL-27: no worker is lost by results that cannot be sent.
TEST_F(ProcessExecutorCrashTest, ResultsThatCannotBeSentCostNoWorker) {
  ProcessExecutor executor(1);
  const pid_t before = executor.submit(::getpid).get();
  for (int round = 0; round < 20; ++round)
    EXPECT_THROW(executor.submit(give, Mischief::Throw, Mischief::None).get(), std::out_of_range);
  EXPECT_EQ(executor.submit(::getpid).get(), before);
}

// CRS-36: many bad ones in front of many good ones.
TEST_F(ProcessExecutorCrashTest, BadTasksInFrontOfGoodOnes) {
  ProcessExecutor executor(2);
  std::vector<Future<int>> bad, good;
  for (int task = 0; task < 100; ++task) bad.push_back(executor.submit(take, Trouble{{}, Mischief::Throw}));
  for (int task = 0; task < 100; ++task) good.push_back(executor.submit(tasks::twice, task));
  for (const Future<int>& future : bad) EXPECT_THROW(future.get(), std::out_of_range);
  for (int task = 0; task < 100; ++task) EXPECT_EQ(good[task].get(), 2 * task);
}

int count(Value<int> begun, Value<int> ended, Mischief mischief) {
  begun += 1;
  make(mischief);
  ended += 1;
  return 0;
}

// CRS-01, TMO-08: of all that is on its way to a killed worker, only what it ran is lost; and nothing is begun twice.
TEST_F(ProcessExecutorCrashTest, OnlyTheTaskThatRanIsLost) {
  ProcessExecutor executor(2);
  for (int warm = 0; warm < 1000; ++warm) static_cast<void>(executor.submit(tasks::nothing));
  Value<int> begun(0), ended(0);
  constexpr int kTasks = 2000, kKills = 40;
  std::vector<Future<int>> futures;
  for (int task = 0; task < kTasks; ++task)
    futures.push_back(
        executor.submit(count, begun, ended, task % (kTasks / kKills) == 25 ? Mischief::Kill : Mischief::None));
  int lost = 0;
  for (int task = 0; task < kTasks; ++task) {
    if (task % (kTasks / kKills) != 25) {
      EXPECT_EQ(futures[task].get(), 0);
      continue;
    }
    EXPECT_THROW(futures[task].get(), TaskCrashed);
    ++lost;
  }
  EXPECT_EQ(lost, kKills);
  EXPECT_EQ(begun.get(), kTasks);
  EXPECT_EQ(ended.get(), kTasks - kKills);
  EXPECT_EQ(executor.counters().failed, static_cast<std::uint64_t>(kKills));
}

int die_until(Value<int> attempts, int good_attempt) {
  if ((attempts += 1) < good_attempt) make(Mischief::Kill);
  return attempts.get();
}

TEST_F(ProcessExecutorCrashTest, DeadWorkersTaskIsTriedAgainIfAskedFor) {
  ProcessExecutor executor(1);
  Value<int> good(0), bad(0);
  EXPECT_EQ(executor.submit(TaskOptions{.retries = 2}, die_until, good, 3).get(), 3);
  try {
    executor.submit(TaskOptions{.retries = 2}, die_until, bad, 10).get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const TaskCrashed& crash) {
    EXPECT_EQ(crash.attempts(), 3u);
  }
  EXPECT_EQ(bad.get(), 3);
  EXPECT_EQ(executor.counters().retried, 4u);
}

int complain_and_crash() {
  std::fputs("reading line 17\nbad tag\n", stderr);
  make(Mischief::Crash);
  return 0;
}

// CRS-43: with the stack, if nothing turns that off.
TEST_F(ProcessExecutorCrashTest, TheErrorHoldsTheReport) {
  ProcessExecutor executor(ExecutorOptions{.workers = 1, .name_prefix = "parser"});
  const pid_t pid = executor.submit(::getpid).get();
  try {
    executor.submit(TaskOptions{.name = "page 3"}, complain_and_crash).get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const TaskCrashed& crash) {
    const CrashReport& report = crash.report();
    EXPECT_EQ(report.pid, pid);
    EXPECT_EQ(report.name, "parser-0");
    EXPECT_THAT(crash.what(), HasSubstr("page 3"));
    EXPECT_THAT(report.stderr_tail, Contains("bad tag"));
    EXPECT_GT(report.peak_memory_bytes, 0u);
    if (!kSanitized) {
      EXPECT_EQ(report.signal, SIGSEGV);
      EXPECT_THAT(report.stack, HasSubstr("complain_and_crash"));
    }
  }
  EXPECT_NE(executor.submit(::getpid).get(), pid);
}

// CRS-02
TEST_F(ProcessExecutorCrashTest, EachFutureHasAnErrorOfItsOwn) {
  ProcessExecutor executor(2);
  const Future<int> first = executor.submit(run, Mischief::Kill), second = executor.submit(run, Mischief::Kill);
  std::set<pid_t> pids;
  for (const Future<int>& future : {first, second}) {
    try {
      future.get();
    } catch (const TaskCrashed& crash) {
      pids.insert(crash.report().pid);
    }
  }
  EXPECT_EQ(pids.size(), 2u);
  EXPECT_NE(first.exception(), second.exception());
}

// CRS-25, CRS-29, CRS-39, SHD-19, SHD-20: crashes behind and before a shutdown.
TEST_F(ProcessExecutorCrashTest, CrashesAroundAShutdown) {
  for (const std::size_t workers : {1, 2, 4}) {
    ExecutorOptions options{.workers = workers};
    if (workers > 1) options.tasks_per_child = 1;
    ProcessExecutor executor(options);
    Event begun, go;
    const Future<int> held = executor.submit(tasks::hold, begun, go, 3);
    const Future<int> bad = executor.submit(run, Mischief::Kill), good = executor.submit(tasks::twice, 1);
    begun.wait();
    executor.close();
    go.set();
    EXPECT_EQ(held.get(), 3);
    EXPECT_THROW(bad.get(), TaskCrashed);
    EXPECT_EQ(good.get(), 2);
    executor.shutdown();
    EXPECT_TRUE(executor.workers().empty());
  }
}

int size_of(const std::vector<char>& bytes, Mischief mischief) {
  make(mischief);
  return static_cast<int>(bytes.size());
}

// CRS-27, TMO-14: large messages, and a worker that dies with one in hand.
TEST_F(ProcessExecutorCrashTest, WorkerDiesWithALargeMessage) {
  ProcessExecutor executor(2);
  const std::vector<char> large(50 * 1024 * 1024, 'x');
  const Future<int> bad = executor.submit(size_of, large, Mischief::Kill);
  const Future<int> good = executor.submit(size_of, large, Mischief::None);
  EXPECT_THROW(bad.get(), TaskCrashed);
  EXPECT_EQ(good.get(), static_cast<int>(large.size()));
}

// CRS-12: workers that are killed while they have nothing to do are replaced when there is work.
TEST_F(ProcessExecutorCrashTest, IdleWorkersMayDie) {
  ProcessExecutor executor(2);
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(executor.submit(tasks::twice, round).get(), 2 * round);
    for (const WorkerInfo& worker : executor.workers()) static_cast<void>(kill_worker(worker));
  }
  // One may have been given a task before its death was noticed: that costs nothing.
  EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2);
}

// CRS-32: a callback that throws, or asks to exit, does not take the pool down.
TEST_F(ProcessExecutorCrashTest, CallbacksMayThrow) {
  ProcessExecutor executor(1);
  const Future<int> future = executor.submit(run, Mischief::Kill);
  future.add_done_callback([](const Future<int>&) { throw std::out_of_range("in a callback"); });
  future.add_done_callback([](const Future<int>&) { throw ExitRequest(3); });
  EXPECT_THROW(future.get(), TaskCrashed);
  EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2);
}

}  // namespace
}  // namespace tandem::testing
