/// The places where executors run tasks, and what tests run there. The body of a TYPED_TEST runs in each place:
///
///   template <class Place>
///   class SubmitTest : public ExecutorPlaceTest<Place> {};
///   TYPED_TEST_SUITE(SubmitTest, ExecutorPlaces, ExecutorPlaceNames);
///   TYPED_TEST(SubmitTest, GivesTheResult) {
///     auto executor = this->make(2);
///     EXPECT_EQ(executor.submit(tasks::twice, 21).get(), 42);
///   }
///
/// So tasks are plain functions that take values and handles; what they tell each other goes through events and queues.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <tandem/event.hpp>
#include <tandem/executor.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>
#include <tandem/thread.hpp>
#include <tandem/value.hpp>

#include "support/leak_checked_test.hpp"

namespace tandem::testing {

/// Whether the worker was there to be killed. Without a look, a pid that is not known would be all of this process's
/// group.
inline bool kill_worker(const WorkerInfo& worker) {
  return worker.pid > 0 && ::kill(worker.pid, SIGKILL) == 0;
}

struct InThreads {
  static constexpr const char* kName = "Threads";
  using Executor = ThreadExecutor;
  /// What a test and its tasks wait for: set() by one, wait() by the other.
  using Gate = Event;
  static ExecutorOptions options() { return {}; }
};

struct InProcesses {
  static constexpr const char* kName = "Processes";
  using Executor = ProcessExecutor;
  using Gate = Event;
  static ExecutorOptions options() { return {}; }
};

using ExecutorPlaces = ::testing::Types<InThreads, InProcesses>;
struct ExecutorPlaceNames {
  template <class Place>
  static std::string GetName(int) {
    return Place::kName;
  }
};

template <class Place>
class ExecutorPlaceTest : public LeakCheckedTest {
 protected:
  using Executor = typename Place::Executor;

  static ExecutorOptions options(std::size_t workers) {
    ExecutorOptions options = Place::options();
    options.workers = workers;
    return options;
  }
  static Executor make(std::size_t workers) { return Executor(options(workers)); }
};

namespace tasks {

inline int twice(int value) {
  return 2 * value;
}
inline int sum(int a, int b) {
  return a + b;
}
inline void nothing() {}
/// What a task of a program may throw: no type of the standard library's.
class TaskError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
inline int throw_out_of_range(const std::string& text) {
  throw std::out_of_range(text);
}
inline int add_to(Value<int> total, int value) {
  return total += value;
}
/// What runs it, as workers() and this know it.
inline std::string worker_name() {
  return parent_process() ? current_process().name : current_thread().name();
}
/// Says that it has begun, and returns `value` once it may.
inline int hold(Event begun, Event go, int value) {
  begun.set();
  go.wait();
  return value;
}
/// The same for gates of any place.
template <class Gate>
int hold_at(Gate begun, Gate go, int value) {
  begun.set();
  go.wait();
  return value;
}
/// Throws for 3 and its multiples.
inline int twice_unless_3(int value) {
  if (value % 3 == 0) throw std::out_of_range(std::to_string(value));
  return 2 * value;
}

}  // namespace tasks
}  // namespace tandem::testing
