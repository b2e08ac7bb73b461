// What only a pool of processes does; what it has in common with one of threads is in executor_test.cpp and its like.
#include <gmock/gmock.h>
#include <tandem/executor.hpp>

#include <cstdlib>
#include <string>
#include <vector>

#include "support/executor_places.hpp"
#include "support/process_fixture.hpp"
#include "support/sanitizers.hpp"
#include "support/trouble.hpp"

namespace tandem::testing {
namespace {

using ::testing::HasSubstr;

class ProcessExecutorTest : public LeakCheckedTest {};

// CRS-28
TEST_F(ProcessExecutorTest, ManyShortTasksGiveTheirResults) {
  ProcessExecutor executor(2);
  std::vector<Future<int>> futures;
  for (int task = 0; task < 20000; ++task) futures.push_back(executor.submit(tasks::twice, task));
  for (int task = 0; task < 20000; ++task) ASSERT_EQ(futures[task].get(), 2 * task);
}

class ProcessExecutorMethodTest : public LeakCheckedTestWith<Where> {};

// EXE-92: with the threads that this process has.
TEST_P(ProcessExecutorMethodTest, WorkersAreStartedByEveryMethod) {
  const ForkThreadPolicy before = fork_thread_policy();
  set_fork_thread_policy(ForkThreadPolicy::Allow);
  ExecutorOptions options{.workers = 2};
  options.start_method = start_method_of(GetParam());
  ProcessExecutor executor(options);
  for (const int result : executor.map(tasks::twice, std::vector<int>(100, 4))) EXPECT_EQ(result, 8);
  executor.shutdown();
  set_fork_thread_policy(before);
}

int sum_in_threads(int items) {
  ThreadExecutor executor(2);
  int sum = 0;
  for (const int value : executor.map(tasks::twice, std::vector<int>(static_cast<std::size_t>(items), 1))) sum += value;
  return sum;
}

// CRS-38: a pool of threads that is at work here is no hindrance to one in the worker.
TEST_P(ProcessExecutorMethodTest, PoolsOfThreadsHereAndInWorkers) {
  if (kThreadSanitized && start_method_of(GetParam()) == StartMethod::Fork)
    GTEST_SKIP() << "the thread sanitizer follows no threads of a forked child";
  const ForkThreadPolicy before = fork_thread_policy();
  set_fork_thread_policy(ForkThreadPolicy::Allow);
  ThreadExecutor threads(2);
  Event begun, go;
  const Future<int> held = threads.submit(tasks::hold, begun, go, 1);
  begun.wait();
  ExecutorOptions options{.workers = 2};
  options.start_method = start_method_of(GetParam());
  {
    ProcessExecutor executor(options);
    EXPECT_EQ(executor.submit(sum_in_threads, 100).get(), 200);
  }
  go.set();
  EXPECT_EQ(held.get(), 1);
  threads.shutdown();
  set_fork_thread_policy(before);
}
TANDEM_TEST_IN_PROCESSES(ProcessExecutorMethodTest);

// EXE-98
TEST_F(ProcessExecutorTest, StartMethodMayBeGivenByItsName) {
  ExecutorOptions options{.workers = 1};
  options.start_method = parse_start_method("spawn");
  ProcessExecutor executor(options);
  EXPECT_EQ(executor.submit(tasks::twice, 1).get(), 2);
}

/// Notes in shared memory that it is destroyed, where it was received.
class Witness {
 public:
  Witness() = default;
  explicit Witness(Value<int> destroyed) : destroyed_(destroyed) {}
  Witness(const Witness&) = default;
  Witness& operator=(const Witness&) = default;
  ~Witness() {
    if (parent_process()) destroyed_ += 1;
  }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(destroyed_);
  }

 private:
  Value<int> destroyed_{0};
};
void take(const Witness&) {}

// EXE-22
TEST_F(ProcessExecutorTest, ArgumentsAreDestroyedInTheWorkerBeforeTheResultIsTold) {
  ProcessExecutor executor(1);
  Value<int> destroyed(0);
  executor.submit(take, Witness(destroyed)).get();
  EXPECT_GE(destroyed.get(), 1);
}

// EXE-21, EXE-91: an error of the program's own says its type and its text.
TEST_F(ProcessExecutorTest, ErrorOfAnotherTypeIsRemote) {
  ProcessExecutor executor(1);
  const Future<void> failed = executor.submit([] { throw tasks::TaskError("too far"); });
  try {
    failed.get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const RemoteError& error) {
    EXPECT_THAT(error.type_name(), HasSubstr("TaskError"));
    EXPECT_THAT(error.what(), HasSubstr("too far"));
  }
}

// EXE-106
TEST_F(ProcessExecutorTest, TaskMayStartAnotherProgram) {
  ProcessExecutor executor(1);
  EXPECT_EQ(executor.submit([] { return std::system("head -c 0"); }).get(), 0);
}

void allow_one(Value<int> started) {
  if ((started += 1) > 1) throw std::out_of_range("no licence is left");
}
int die_at_3(int item) {
  make(item == 3 ? Mischief::Kill : Mischief::None);
  return item;
}

// TMO-27, CRS-05: no worker can take the place of the one that died: the rest of the map fails with the reason.
TEST_F(ProcessExecutorTest, ExecutorThatBreaksDoesNotHangItsMap) {
  ProcessExecutor executor(ExecutorOptions{.workers = 1}, allow_one, Value<int>(0));
  auto results = executor.map(MapOptions{.chunk_size = 1}, die_at_3, std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  for (int item = 0; item < 3; ++item) EXPECT_EQ(results.next().value(), item);
  EXPECT_THROW(static_cast<void>(results.next()), TaskCrashed);
  EXPECT_THROW(static_cast<void>(results.next()), BrokenExecutor);
}

std::size_t size_of(const std::string& text) {
  return text.size();
}

// TMO-33: large tasks on their way, and all of them are cancelled.
TEST_F(ProcessExecutorTest, LargeTasksAreCancelled) {
  ProcessExecutor executor(2);
  const std::string large(10 << 20, 'x');
  std::vector<Future<std::size_t>> futures;
  for (int task = 0; task < 20; ++task) futures.push_back(executor.submit(size_of, large));
  for (Future<std::size_t>& future : futures) future.stop();
  for (const Future<std::size_t>& future : futures) future.wait();
  EXPECT_EQ(executor.submit(size_of, large).get(), large.size());
  executor.shutdown();
}

// EXE-88: takes 7 GB of memory.
TEST_F(ProcessExecutorTest, ArgumentOfMoreThan2GbPasses) {
  if (std::getenv("TANDEM_SOAK") == nullptr) GTEST_SKIP() << "only with TANDEM_SOAK";
  ProcessExecutor executor(1);
  const std::size_t size = std::size_t{2200} << 20;
  EXPECT_EQ(executor.submit(size_of, std::string(size, 'x')).get(), size);
}

}  // namespace
}  // namespace tandem::testing
