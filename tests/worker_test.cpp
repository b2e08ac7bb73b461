// What holds for a Thread and for a Process alike: each test runs as a thread and by every start method.
#include <gmock/gmock.h>

#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <tandem/queue.hpp>

#include "support/bodies.hpp"
#include "support/process_fixture.hpp"
#include "support/where.hpp"

namespace tandem::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class WorkerTest : public EverywhereTest {
 protected:
  void SetUp() override {
    // A report reads the files with the symbols, and they are kept open.
    const ExceptHook before = set_excepthook([](const ExceptHookArgs&) {});
    Thread thread([] { throw std::runtime_error("reads the symbols"); });
    thread.start();
    thread.join();
    set_excepthook(before);
    EverywhereTest::SetUp();
  }

  template <class F, class... Args>
  Worker worker(F&& fn, Args&&... args) {
    return Worker(GetParam(), std::forward<F>(fn), std::forward<Args>(args)...);
  }
};

std::string text_of(Worker& worker) {
  return worker.visit([](auto& w) { return w.to_string(); });
}

// What the worker says of itself in its place.
std::string name_inside(bool process) {
  return process ? current_process().name : current_thread().name();
}
bool daemon_inside(bool process) {
  return process ? current_process().daemon : current_thread().daemon();
}

void report_arguments(int scalar, std::string text, bodies::NestedArgument nested, Queue<bool> result) {
  bodies::expect_arguments(scalar, text, nested);
  result.put(true);
}

// THR-02
TEST_P(WorkerTest, ArgumentsReachTheBodyUnchanged) {
  Queue<bool> result;
  Worker w =
      worker(report_arguments, bodies::kScalarArgument, bodies::kTextArgument, bodies::nested_argument(), result);
  w.start();
  w.join();
  EXPECT_EQ(result.try_get(), true);
}

void enter_and_leave(Queue<int> room, Queue<int> lock, Queue<int> inside, Queue<std::uint64_t> ids, bool process) {
  const int place = room.get();
  const int most = lock.get();
  inside.put(1);
  lock.put(std::max(most, static_cast<int>(inside.size())));
  ids.put(process ? static_cast<std::uint64_t>(current_process().pid) : current_thread().id());
  static_cast<void>(inside.get());
  room.put(place);
}

// THR-03: with queues of three tokens and of one, which are a semaphore and a lock.
TEST_P(WorkerTest, TenShareThreePlaces) {
  const bool process = GetParam() != Where::Thread;
  Queue<int> room, lock, inside;
  Queue<std::uint64_t> ids;
  for (int place = 0; place < 3; ++place) room.put(place);
  lock.put(0);
  std::vector<Worker> workers;
  for (int i = 0; i < 10; ++i) workers.push_back(worker(enter_and_leave, room, lock, inside, ids, process));
  for (Worker& w : workers) {
    EXPECT_FALSE(w.visit([](auto& each) { return each.id(); }).has_value());
    EXPECT_FALSE(w.visit([](auto& each) { return each.native_id(); }).has_value());
    EXPECT_THAT(text_of(w), HasSubstr("initial"));
  }
  for (Worker& w : workers) w.start();
  std::set<std::uint64_t> known;
  for (Worker& w : workers) {
    known.insert(w.visit([](auto& each) { return each.id(); }).value());
    w.join();
    EXPECT_FALSE(w.is_alive());
    EXPECT_THAT(text_of(w), HasSubstr("stopped"));
  }
  EXPECT_EQ(known.size(), 10u);
  EXPECT_LE(lock.get(), 3);
  std::set<std::uint64_t> inside_ids;
  while (const auto id = ids.try_get()) inside_ids.insert(*id);
  EXPECT_EQ(inside_ids.size(), 10u);
}

std::size_t listed(bool process) {
  return process ? active_children().size() : enumerate().size();
}

// THR-10
TEST_P(WorkerTest, OneThatWasJoinedIsNeverListed) {
  const bool process = GetParam() != Where::Thread;
  const std::size_t before = listed(process);
  for (int i = 0; i < 100; ++i) {
    Worker w = worker(bodies::do_nothing);
    w.start();
    w.join();
    ASSERT_EQ(listed(process), before);
  }
}

// PRC-06 PRC-13
TEST_P(WorkerTest, IsListedBetweenItsStartAndItsEnd) {
  const bool process = GetParam() != Where::Thread;
  const std::size_t before = listed(process);
  Worker w = worker(bodies::wait_for_stop);
  EXPECT_FALSE(w.is_alive());
  EXPECT_EQ(listed(process), before);
  w.start();
  EXPECT_TRUE(w.is_alive());
  EXPECT_EQ(listed(process), before + 1);
  w.request_stop();
  w.join();
  EXPECT_FALSE(w.is_alive());
  EXPECT_EQ(listed(process), before);
}

// Says so when it is destroyed, wherever that is; a copy says so too.
class Witness {
 public:
  Witness() = default;
  explicit Witness(Queue<int> destroyed) : destroyed_(std::move(destroyed)) {}
  Witness(Witness&& other) noexcept : destroyed_(std::exchange(other.destroyed_, std::nullopt)) {}
  Witness(const Witness&) = default;
  Witness& operator=(const Witness&) = default;
  ~Witness() {
    if (destroyed_) destroyed_->put(1);
  }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(destroyed_);
  }

 private:
  std::optional<Queue<int>> destroyed_;
};

void hold(Witness, Queue<int> ready) {
  ready.put(1);
}
void hold_and_exit(Witness, Queue<int>) {
  tandem::exit();
}

// THR-13 PRC-19: in a process, those of the parent go when the start is done and those of the child when the body is.
TEST_P(WorkerTest, ArgumentsAreDestroyedWhenItEndsAlthoughItsOwnerLives) {
  for (auto* const body : {hold, hold_and_exit}) {
    Queue<int> destroyed, ready;
    Worker w = worker(body, Witness(destroyed), ready);
    w.start();
    w.join();
    std::size_t count = 0;
    while (destroyed.try_get()) ++count;
    EXPECT_GE(count, 1u);
  }
}

// THR-14 THR-15 THR-16
TEST_P(WorkerTest, TextShowsTheStateAndTheDaemonFlag) {
  Worker w = worker(bodies::wait_for_stop);
  EXPECT_FALSE(w.visit([](auto& each) { return each.daemon(); }));
  EXPECT_THAT(text_of(w), Not(HasSubstr("daemon")));
  w.visit([](auto& each) { each.set_daemon(true); });
  EXPECT_TRUE(w.visit([](auto& each) { return each.daemon(); }));
  EXPECT_THAT(text_of(w), HasSubstr("daemon"));
  w.start();
  EXPECT_THAT(text_of(w), HasSubstr("started daemon"));
  w.request_stop();
  // THR-15: by itself, without a join.
  while (text_of(w).find("stopped") == std::string::npos) std::this_thread::yield();
}

void tell_daemon(Queue<bool> told, bool process) {
  told.put(daemon_inside(process));
}

// THR-16
TEST_P(WorkerTest, DaemonFlagGivenIsSeenInside) {
  const bool process = GetParam() != Where::Thread;
  for (const bool daemon : {false, true}) {
    Queue<bool> told;
    Worker w = worker(tell_daemon, told, process);
    w.visit([daemon](auto& each) { each.set_daemon(daemon); });
    w.start();
    w.join();
    EXPECT_EQ(told.try_get(), daemon);
  }
}

void tell_name(Queue<std::string> told, bool process) {
  told.put(name_inside(process));
}

// THR-01 PRC-06
TEST_P(WorkerTest, NameGivenIsSeenInside) {
  Queue<std::string> told;
  Worker w = worker(tell_name, told, GetParam() != Where::Thread);
  w.visit([](auto& each) { each.set_name("a n\xC3\xA4me"); });
  w.start();
  w.join();
  EXPECT_EQ(told.try_get(), "a n\xC3\xA4me");
}

// THR-36 THR-38 THR-39
TEST_P(WorkerTest, MembersInTheWrongStateThrow) {
  Worker w = worker(bodies::wait_for_stop);
  EXPECT_THROW(w.join(), StateError);
  w.start();
  EXPECT_THROW(w.start(), StateError);
  EXPECT_THROW(w.visit([](auto& each) { each.set_daemon(true); }), StateError);
  w.request_stop();
  w.join();
  EXPECT_THROW(w.start(), StateError);
  EXPECT_THROW(w.visit([](auto& each) { each.set_daemon(true); }), StateError);
}

// THR-59
TEST_P(WorkerTest, MayBeJoinedSeveralTimes) {
  Worker w = worker(bodies::do_nothing);
  w.start();
  w.join();
  w.join();
  EXPECT_TRUE(w.join_for(std::chrono::seconds(0)));
}

TEST_P(WorkerTest, TimedJoinGivesUp) {
  Worker w = worker(bodies::wait_for_stop);
  w.start();
  EXPECT_FALSE(w.join_for(std::chrono::milliseconds(0)));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(w.join_for(std::chrono::milliseconds(30)));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(30));
  EXPECT_THROW(static_cast<void>(w.join_for(std::chrono::milliseconds(-1))), std::invalid_argument);
  w.request_stop();
  w.join();
}

TEST_P(WorkerTest, IsStoppedByItsDestructor) {
  Queue<int> queue;
  {
    Worker w = worker(bodies::wait_for_stop);
    w.start();
  }
  {
    Worker never_started = worker(bodies::wait_for_stop);
  }
}

TEST_P(WorkerTest, AStopRequestBeforeTheStartIsSeenByTheBody) {
  Worker w = worker(bodies::wait_for_stop);
  w.request_stop();
  w.start();
  w.join();
}

// THR-40 THR-44
TEST_P(WorkerTest, AnUncaughtExceptionIsReportedOnStandardErrorOnly) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  Worker w = worker(bodies::throw_body_error, std::string("the text"));
  w.visit([](auto& each) { each.set_name("the worker"); });
  w.start();
  w.join();
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
  const std::string report = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(report, HasSubstr("the worker"));
  EXPECT_THAT(report, HasSubstr("throw_body_error"));
  EXPECT_THAT(report, HasSubstr("BodyError: the text\n"));
}

// THR-46
TEST_P(WorkerTest, AnExitRequestIsSilent) {
  ::testing::internal::CaptureStderr();
  Worker w = worker(bodies::ask_to_exit, 0);
  w.start();
  w.join();
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

void set_hook_and_throw(Queue<std::string> told, bool process) {
  // In its own process if it is one; the thread's test takes the hook back.
  set_excepthook([told, process](const ExceptHookArgs& args) mutable {
    const std::string who = process ? args.description : args.thread->name();
    told.put(args.type_name + "|" + args.text + "|" + who + "|" +
             (args.stack.find("set_hook_and_throw") != std::string::npos ? "stack" : "no stack"));
  });
  throw std::out_of_range("too far");
}

// THR-47
TEST_P(WorkerTest, AHookOfTheUsersGetsTheException) {
  const ExceptHook before = excepthook();
  Queue<std::string> told;
  Worker w = worker(set_hook_and_throw, told, GetParam() != Where::Thread);
  w.visit([](auto& each) { each.set_name("the worker"); });
  ::testing::internal::CaptureStderr();
  w.start();
  w.join();
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(told.try_get(), "std::out_of_range|too far|the worker|stack");
  set_excepthook(before);
}

struct Summer {
  std::vector<int> numbers;
  Queue<int> result;

  void operator()() const {
    int sum = 0;
    for (const int number : numbers) sum += number;
    Queue<int>(result).put(sum);
  }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(numbers, result);
  }
};

// PRC-24: what a derived class with a run() of its own is elsewhere is a callable class here.
TEST_P(WorkerTest, ACallableClassKeepsItsState) {
  Summer summer{{1, 2, 3}, {}};
  Worker w = worker(summer);
  w.start();
  EXPECT_EQ(summer.result.get(), 6);
  w.join();
}

TANDEM_TEST_EVERYWHERE(WorkerTest);

}  // namespace
}  // namespace tandem::testing
