/// Runs one test body in each of the places where work can run.
///
///   class QueuePlaceTest : public EverywhereTest {};
///   TEST_P(QueuePlaceTest, ItemArrives) {
///     Queue<int> queue;
///     Worker worker(GetParam(), put_one, queue);
///     worker.start();
///     worker.join();
///     EXPECT_EQ(queue.get(), 1);
///   }
///   TANDEM_TEST_EVERYWHERE(QueuePlaceTest);
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <utility>
#include <variant>

#include <tandem/process.hpp>
#include <tandem/thread.hpp>

#include "support/leak_checked_test.hpp"

namespace tandem::testing {

enum class Where { Thread, ForkServer, Spawn, Fork };

inline const char* name_of(Where where) {
  switch (where) {
    case Where::Thread:
      return "Thread";
    case Where::ForkServer:
      return "ForkServer";
    case Where::Spawn:
      return "Spawn";
    case Where::Fork:
      return "Fork";
  }
  return "?";
}
inline void PrintTo(Where where, std::ostream* out) {
  *out << name_of(where);
}

/// The start method of a place that is a process.
inline StartMethod start_method_of(Where where) {
  return where == Where::Spawn  ? StartMethod::Spawn
         : where == Where::Fork ? StartMethod::Fork
                                : StartMethod::ForkServer;
}

/// A Thread or a Process that runs a portable callable, with the members that both have. Owner.
class Worker {
 public:
  template <class Function, class... Arguments>
  Worker(Where where, Function function, Arguments&&... arguments)
      : worker_(make(where, std::move(function), std::forward<Arguments>(arguments)...)) {}

  void start() {
    std::visit([](auto& worker) { worker.start(); }, worker_);
  }
  void join() {
    std::visit([](auto& worker) { worker.join(); }, worker_);
  }
  template <class Duration>
  [[nodiscard]] bool join_for(Duration timeout) {
    return std::visit([&](auto& worker) { return worker.join_for(timeout); }, worker_);
  }
  [[nodiscard]] bool is_alive() {
    return std::visit([](auto& worker) { return worker.is_alive(); }, worker_);
  }
  /// Its number in the kernel. It must have been started.
  [[nodiscard]] pid_t native_id() {
    return std::visit([](auto& worker) { return worker.native_id().value(); }, worker_);
  }
  void request_stop() {
    std::visit([](auto& worker) { static_cast<void>(worker.request_stop()); }, worker_);
  }
  /// Calls `action` with the Thread& or Process& itself: for the members that have no place here.
  template <class Action>
  decltype(auto) visit(Action&& action) {
    return std::visit(std::forward<Action>(action), worker_);
  }
  /// Null if it is a thread.
  Process* process() { return std::get_if<Process>(&worker_); }

 private:
  template <class... All>
  static std::variant<Thread, Process> make(Where where, All&&... all) {
    if (where == Where::Thread)
      return std::variant<Thread, Process>(std::in_place_type<Thread>, std::forward<All>(all)...);
    ProcessOptions options;
    options.start_method = start_method_of(where);
    return std::variant<Thread, Process>(std::in_place_type<Process>, std::move(options), std::forward<All>(all)...);
  }

  std::variant<Thread, Process> worker_;
};

using EverywhereTest = LeakCheckedTestWith<Where>;

}  // namespace tandem::testing

/// Makes the tests of a fixture derived from EverywhereTest run in all four places ...
#define TANDEM_TEST_EVERYWHERE(fixture)                                                                              \
  INSTANTIATE_TEST_SUITE_P(Where, fixture,                                                                           \
                           ::testing::Values(::tandem::testing::Where::Thread, ::tandem::testing::Where::ForkServer, \
                                             ::tandem::testing::Where::Spawn, ::tandem::testing::Where::Fork),       \
                           ::testing::PrintToStringParamName())
/// ... or in the three that are processes.
#define TANDEM_TEST_IN_PROCESSES(fixture)                                                                           \
  INSTANTIATE_TEST_SUITE_P(Where, fixture,                                                                          \
                           ::testing::Values(::tandem::testing::Where::ForkServer, ::tandem::testing::Where::Spawn, \
                                             ::tandem::testing::Where::Fork),                                       \
                           ::testing::PrintToStringParamName())
