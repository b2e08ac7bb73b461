// The end of a child, and of a program that has children. A test of the latter runs again in a process of its own.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <latch>
#include <thread>

#include <tandem/thread.hpp>

#include "support/bodies.hpp"
#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::ExitedWithCode;
using ::testing::HasSubstr;
using ::testing::Not;

class ProcessExitTest : public ProcessesTest {};
class ProcessExitDeathTest : public ProcessesTest {
 protected:
  bool keep_services() const override { return false; }
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    ProcessesTest::SetUp();
  }
};

template <class T>
std::vector<T> all_of(Queue<T>& queue) {
  std::vector<T> items;
  while (auto item = queue.try_get()) items.push_back(*std::move(item));
  return items;
}

void leave_threads_behind(Queue<std::string> told) {
  static std::vector<Thread> kept;
  kept.emplace_back(ThreadOptions{.daemon = true}, [] { wait_for_ever(); });
  kept.emplace_back([told]() mutable {
    main_thread().join();  // Until the body has returned.
    told.put("a thread");
  });
  for (Thread& thread : kept) thread.start();
  told.put("the body");
}

// PRC-21
TEST_P(ProcessExitTest, AChildWaitsForItsThreadsThatAreNoDaemons) {
  Queue<std::string> told;
  EXPECT_EQ(exitcode_of(GetParam(), leave_threads_behind, told), 0);
  EXPECT_THAT(all_of(told), ElementsAre("the body", "a thread"));
}

void leave_hooks(Queue<std::string> told) {
  at_exit([told]() mutable { told.put("first hook"); });
  at_exit([told]() mutable { told.put("second hook"); });
  told.put("the body");
}

TEST_P(ProcessExitTest, ExitHooksRunInTheChildAndThoseOfTheParentDoNot) {
  Queue<std::string> told;
  const ExitHookId of_parent = at_exit([told]() mutable { told.put("of the parent"); });
  EXPECT_EQ(exitcode_of(GetParam(), leave_hooks, told), 0);
  EXPECT_TRUE(cancel(of_parent));
  EXPECT_THAT(all_of(told), ElementsAre("the body", "second hook", "first hook"));
}

void leave_children(Queue<std::string> told, Queue<pid_t> pids) {
  static std::vector<Process> kept;
  Queue<int> ready;
  ProcessOptions daemon;
  daemon.daemon = true;
  kept.emplace_back(
      daemon,
      +[](Queue<pid_t> p, Queue<int> r) {
        p.put(::getpid());
        r.put(1);
        wait_for_ever();
      },
      pids, ready);
  kept.emplace_back(
      +[](Queue<std::string> t, Queue<pid_t> p) {
        // Daemons are ended before the others are waited for.
        bool gone = false;
        try {
          gone = ends_within(detail::open_pidfd(p.get()), std::chrono::seconds(60));
        } catch (const std::system_error&) {
          gone = true;  // So much that its pid names nobody.
        }
        t.put(gone ? "the daemon is gone" : "the daemon is there");
      },
      told, pids);
  for (Process& process : kept) process.start();
  static_cast<void>(ready.get());  // The daemon is ended as soon as this body is: not before it has said who it is.
}

TEST_P(ProcessExitTest, AChildEndsItsDaemonsAndWaitsForItsOtherChildren) {
  Queue<std::string> told;
  Queue<pid_t> pids;
  EXPECT_EQ(exitcode_of(GetParam(), leave_children, told, pids), 0);
  EXPECT_THAT(all_of(told), ElementsAre("the daemon is gone"));
}

struct Loud {
  ~Loud() { static_cast<void>(!::write(STDERR_FILENO, "destroyed;", 10)); }
};

void make_static() {
  static Loud loud;
}

// A forked child leaves the destructors of static objects to the process that it is a copy of.
TEST_P(ProcessExitTest, StaticObjectsAreDestroyedWhereTheProgramWasExecuted) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(exitcode_of(GetParam(), make_static), 0);
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(text, GetParam() == Where::Spawn ? "destroyed;" : "");
}

TEST_P(ProcessExitTest, AnExceptionEndsItAfterThreadsAndHooks) {
  Queue<std::string> told;
  EXPECT_EQ(exitcode_of(
                GetParam(),
                +[](Queue<std::string> t) {
                  at_exit([t]() mutable { t.put("hook"); });
                  throw bodies::BodyError("x");
                },
                told),
            1);
  EXPECT_THAT(all_of(told), ElementsAre("hook"));
}

TANDEM_TEST_IN_PROCESSES(ProcessExitTest);

// Keeps a Process beyond the end of main.
Process& keep(Process process) {
  return *new Process(std::move(process));
}

TEST_P(ProcessExitDeathTest, LeavingMainWaitsForAChildThatIsNoDaemon) {
  EXPECT_EXIT(
      {
        Queue<int> go;
        keep(process_in(
                 GetParam(),
                 +[](Queue<int> g) {
                   static_cast<void>(g.get());
                   std::fputs("the child has ended", stderr);
                 },
                 go))
            .start();
        at_exit([go]() mutable { go.put(1); });
        std::exit(3);
      },
      ExitedWithCode(3), "^the child has ended$");
}

TEST_P(ProcessExitDeathTest, LeavingMainTerminatesADaemon) {
  EXPECT_EXIT(
      {
        ProcessOptions options = options_for(GetParam());
        options.daemon = true;
        keep(Process(options, wait_for_ever)).start();
        std::exit(3);
      },
      ExitedWithCode(3), "^$");
}

TEST_P(ProcessExitDeathTest, ALeftProgramStartsNoMore) {
  EXPECT_EXIT(
      {
        Process& late = keep(process_in(GetParam(), bodies::do_nothing));
        Process early = process_in(GetParam(), bodies::do_nothing);
        early.start();
        early.join();
        // Behind the end of the children.
        at_exit(
            [&late] {
              try {
                late.start();
              } catch (const StateError& error) {
                std::fputs(error.what(), stderr);
              }
            },
            -1);
        std::exit(0);
      },
      ExitedWithCode(0), "this process is ending");
}

TANDEM_TEST_IN_PROCESSES(ProcessExitDeathTest);

// Runs `program` as the first process of a family of its own, which is left as `leave` says; gives what it told.
std::vector<detail::Fd> leave_family(const std::function<void(Queue<pid_t>)>& program, int expected) {
  Queue<pid_t> pids;
  Process first(tandem::fork, [&] { program(pids); });
  first.start();
  std::vector<detail::Fd> family;
  for (int i = 0; i < expected; ++i) family.push_back(detail::open_pidfd(pids.get()));
  first.kill();
  first.join();
  return family;
}

class FamilyTest : public LeakCheckedTest {};

void tell_pid_and_wait(Queue<pid_t> pids) {
  pids.put(::getpid());
  wait_for_ever();
}

// DESIGN: when the first process dies, however it dies, the whole family is gone; the server too.
TEST_F(FamilyTest, IsGoneWhenItsFirstProcessIsKilled) {
  const auto program = [](Queue<pid_t> pids) {
    std::vector<Process> children;
    for (const Where where : {Where::ForkServer, Where::Spawn, Where::Fork}) {
      children.push_back(process_in(where, tell_pid_and_wait, pids));
      children.back().start();
    }
    pids.put(server_pid().value());
    wait_for_ever();
  };
  for (const detail::Fd& member : leave_family(program, 4)) EXPECT_TRUE(ends_within(member, std::chrono::seconds(60)));
}

// A child that stands still, blocks every signal and ignores what can be ignored goes all the same.
TEST_F(FamilyTest, StubbornMembersGoToo) {
  const auto program = [](Queue<pid_t> pids) {
    Process stubborn(
        +[](Queue<pid_t> p) {
          sigset_t all;
          sigfillset(&all);
          ::sigprocmask(SIG_BLOCK, &all, nullptr);
          for (int signum = 1; signum < 32; ++signum) ::signal(signum, SIG_IGN);
          p.put(::getpid());
          ::raise(SIGSTOP);
          wait_for_ever();
        },
        pids);
    stubborn.start();
    wait_for_ever();
  };
  for (const detail::Fd& member : leave_family(program, 1)) EXPECT_TRUE(ends_within(member, std::chrono::seconds(60)));
}

void tell_pid_when_asked(Queue<pid_t> pids, Queue<int> go) {
  static_cast<void>(go.get());
  tell_pid_and_wait(pids);
}

// A bare fork of the first process does not keep the lifeline, or a pipe, open.
TEST_F(FamilyTest, IsGoneAlthoughABareForkLivesOn) {
  Queue<pid_t> bare;
  const auto program = [&bare](Queue<pid_t> pids) {
    Queue<int> go;
    Process child(tell_pid_when_asked, pids, go);
    child.start();
    if (::fork() == 0) {
      bare.put(::getpid());
      wait_for_ever();
    }
    bare.put(bare.get());  // Once it is there, the child may tell.
    go.put(1);
    wait_for_ever();
  };
  const auto family = leave_family(program, 1);
  EXPECT_TRUE(ends_within(family[0], std::chrono::seconds(60)));
  const detail::Fd left = detail::open_pidfd(bare.get());
  EXPECT_FALSE(ends_within(left, std::chrono::seconds(0)));
  detail::send_signal(left.get(), SIGKILL);
  EXPECT_TRUE(ends_within(left, std::chrono::seconds(60)));
}

}  // namespace
}  // namespace tandem::testing
