// Memory with a name, and processes: of the family, of nobody's, and those that are gone.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <spawn.h>

#include <cstddef>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include <tandem/log.hpp>
#include <tandem/shared_memory.hpp>

#include "process/executed_child.hpp"
#include "support/process_fixture.hpp"
#include "support/shared_memory_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kStranger[] = "TANDEM_TEST_SHARED_MEMORY";

// What a program does that has nothing to do with the one that made the memory.
const bool was_a_stranger = [] {
  const char* const name = std::getenv(kStranger);
  if (name == nullptr) return false;
  {
    const SharedMemory memory = SharedMemory::attach(name);
    memory.data()[1] = memory.data()[0];
  }
  std::_Exit(0);
}();

int run_stranger(const std::string& name) {
  std::vector<std::string> texts = detail::environment_with({{kStranger, name}});
  std::vector<char*> envp;
  for (std::string& text : texts) envp.push_back(text.data());
  envp.push_back(nullptr);
  char* argv[] = {const_cast<char*>("stranger"), nullptr};
  pid_t pid = 0;
  if (const int error = ::posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, argv, envp.data()))
    detail::throw_system_error(error, "cannot execute this program");
  int status = 0;
  detail::retry_on_signal([&] { return ::waitpid(pid, &status, 0); });
  return status;
}

class SharedMemoryPlaceTest : public EverywhereTest {
 protected:
  const std::string name_ = unique_name("place");
};

class SharedMemoryProcessTest : public EverywhereTest {
 protected:
  const std::string name_ = unique_name("process");
};

// --- handles that travel

void write_through_handle(SharedMemory memory) {
  memory.data()[0] = std::byte{42};
}

// SHM-05, SHM-07
TEST_P(SharedMemoryPlaceTest, AHandleThatIsAnArgumentLeadsToTheSameBytes) {
  const SharedMemory memory = SharedMemory::create(name_, 100);
  Worker worker(GetParam(), write_through_handle, memory);
  worker.start();
  worker.join();
  EXPECT_EQ(memory.data()[0], std::byte{42});
  EXPECT_TRUE(can_attach(name_));
}

void write_by_name(std::string name) {
  SharedMemory::attach(name).data()[0] = std::byte{43};
}

// SHM-07
TEST_P(SharedMemoryPlaceTest, AChildAttachesByNameAndWrites) {
  const SharedMemory memory = SharedMemory::create(name_, 100);
  Worker worker(GetParam(), write_by_name, name_);
  worker.start();
  worker.join();
  EXPECT_EQ(memory.data()[0], std::byte{43});
  EXPECT_TRUE(can_attach(name_));
}

void make_and_send(std::string name, Queue<SharedMemory> out, Queue<bool> adopted) {
  const SharedMemory memory = SharedMemory::create(name, 100);
  memory.data()[0] = std::byte{44};
  out.put(memory);
  static_cast<void>(adopted.get());
}

TEST_P(SharedMemoryPlaceTest, WhoAdoptsWhatItWasSentKeepsTheNameWhenTheMakerIsGone) {
  Queue<SharedMemory> out;
  Queue<bool> adopted;
  Worker worker(GetParam(), make_and_send, name_, out, adopted);
  worker.start();
  SharedMemory memory = out.get();
  EXPECT_FALSE(memory.is_owner());
  EXPECT_TRUE(memory.adopt());
  adopted.put(true);
  worker.join();
  EXPECT_TRUE(can_attach(name_));
  EXPECT_EQ(memory.data()[0], std::byte{44});
  memory.close();
  EXPECT_FALSE(memory_exists(name_));
}

void receive_late(Queue<SharedMemory> in, Queue<std::string> answer) {
  try {
    static_cast<void>(in.get());
  } catch (const StaleHandle& error) {
    answer.put(error.what());
  }
}

// SHM-06
TEST_P(SharedMemoryPlaceTest, ReceivingAHandleToWhatWasRemovedIsAnError) {
  Queue<SharedMemory> in;
  Queue<std::string> answer;
  in.put(SharedMemory::create(name_, 100));
  Worker worker(GetParam(), receive_late, in, answer);
  worker.start();
  worker.join();
  EXPECT_THAT(answer.try_get().value_or("none"), HasSubstr("\"" + name_ + "\""));
}

TANDEM_TEST_EVERYWHERE(SharedMemoryPlaceTest);

// --- who owns

void hold_and_end(SharedMemory memory, std::string name) {
  const SharedMemory again = SharedMemory::attach(name);
  if (memory.is_owner() || again.is_owner()) throw std::logic_error("a child owns its parent's memory");
}

TEST_P(SharedMemoryProcessTest, AChildOwnsNothingOfItsParentsAndItsEndRemovesNothing) {
  const SharedMemory memory = SharedMemory::create(name_, 100);
  EXPECT_EQ(exitcode_of(GetParam(), hold_and_end, memory, name_), 0);
  EXPECT_TRUE(memory.is_owner());
  EXPECT_TRUE(can_attach(name_));
}

void make_and_die(std::string name, int signum) {
  const SharedMemory memory = SharedMemory::create(name, 100);
  ::kill(::getpid(), signum);
  wait_for_ever();
}

// RES-01, RES-03, SHM-14
TEST_P(SharedMemoryProcessTest, WhatAKilledChildOwnedIsGoneWhenItIsJoined) {
  const bool ran = in_private_shm(1 << 20, [&] {
    for (const int signum : {SIGKILL, SIGTERM, SIGSEGV}) {
      EXPECT_EQ(exitcode_of(GetParam(), make_and_die, name_, signum), -signum);
      EXPECT_FALSE(memory_exists(name_));
    }
  });
  if (!ran) GTEST_SKIP() << "this needs the right to mount";
}

void make(std::string name, Queue<SharedMemory> out, Queue<bool> seen) {
  const SharedMemory memory = SharedMemory::create(name, 100);
  out.put(memory);
  static_cast<void>(seen.get());
}
void remove(std::string name) {
  SharedMemory::unlink(name);
}

// RES-05, RES-16
TEST_P(SharedMemoryProcessTest, OneProcessMayRemoveWhatAnotherMadeAndNobodyComplains) {
  ::testing::internal::CaptureStderr();
  {
    const SharedMemory mine = SharedMemory::create(name_, 100);
    EXPECT_EQ(exitcode_of(GetParam(), remove, name_), 0);
    EXPECT_FALSE(memory_exists(name_));
    const std::string other = unique_name("childs");
    Queue<SharedMemory> out;
    Queue<bool> seen;
    Process process = process_in(GetParam(), make, other, out, seen);
    process.start();
    const SharedMemory theirs = out.get();
    SharedMemory::unlink(other);
    seen.put(true);
    process.join();
    EXPECT_EQ(process.exitcode(), 0);
  }
  SharedMemory::remove_leftovers();
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), Not(HasSubstr("shared memory")));
}

void fail_with_memory(std::string name) {
  const SharedMemory memory = SharedMemory::create(name, 100);
  throw std::runtime_error("the nested work fails");
}
void fail_in_nested_work(std::string name) {
  const SharedMemory memory = SharedMemory::create(name + "-outer", 100);
  Process process(fail_with_memory, name);
  process.start();
  process.join();
  throw std::runtime_error("so does this");
}

// RES-17
TEST_P(SharedMemoryProcessTest, AnErrorInNestedWorkLeavesNeitherNamesNorNoise) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(exitcode_of(GetParam(), fail_in_nested_work, name_), 1);
  EXPECT_FALSE(can_attach(name_));
  EXPECT_FALSE(can_attach(name_ + "-outer"));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), Not(HasSubstr("shared memory")));
}

TANDEM_TEST_IN_PROCESSES(SharedMemoryProcessTest);

// --- programs that have nothing else in common

class SharedMemoryStrangerTest : public LeakCheckedTest {
 protected:
  const std::string name_ = unique_name("stranger");
};

// SHM-15
TEST_F(SharedMemoryStrangerTest, AnotherProgramAttachesAndItsEndRemovesNothing) {
  const SharedMemory memory = SharedMemory::create(name_, 100);
  memory.data()[0] = std::byte{5};
  EXPECT_EQ(run_stranger(name_), 0);
  EXPECT_EQ(memory.data()[1], std::byte{5});
  EXPECT_TRUE(can_attach(name_));
}

// --- the end of a whole family

// Starts a child by forkserver that owns memory and waits, and owns some itself.
void found_family(const std::string& name) {
  Queue<SharedMemory> out;
  Queue<bool> never;
  // Neither is ever destroyed: this process is killed.
  new SharedMemory(SharedMemory::create(name, 100));
  auto* const child = new Process(options_for(Where::ForkServer), make, name + "-child", out, never);
  child->start();
  static_cast<void>(out.get());
}

std::string state_of(pid_t pid) {
  const std::string stat = detail::read_small_file("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t name_end = stat.rfind(')');
  return name_end == std::string::npos ? "" : stat.substr(name_end + 2, 1);
}

// RES-01, SHM-14: nobody uses shared memory afterwards; the family's own server, the last to go, removes the names.
TEST_F(SharedMemoryStrangerTest, WhenTheFirstProcessIsKilledTheNamesOfItsFamilyGoWithIt) {
  const bool ran = in_private_shm(1 << 20, [&] {
    WaitingProcess first([&] { found_family(name_); });
    const std::vector<pid_t> children = children_of(first.pid());
    ASSERT_EQ(children.size(), 1u);
    const detail::Fd server = detail::open_pidfd(children[0]);
    EXPECT_TRUE(memory_exists(name_));
    EXPECT_TRUE(memory_exists(name_ + "-child"));
    first.kill();
    EXPECT_TRUE(ends_within(server, std::chrono::seconds(60)));
    EXPECT_FALSE(memory_exists(name_));
    EXPECT_FALSE(memory_exists(name_ + "-child"));
  });
  if (!ran) GTEST_SKIP() << "this needs the right to mount";
}

TEST_F(SharedMemoryStrangerTest, AServerThatWasStoppedGoesTooWhenTheFirstProcessIsKilled) {
  WaitingProcess first([&] { found_family(name_); });
  const std::vector<pid_t> children = children_of(first.pid());
  ASSERT_EQ(children.size(), 1u);
  const detail::Fd server = detail::open_pidfd(children[0]);
  ASSERT_EQ(::kill(children[0], SIGSTOP), 0);
  while (state_of(children[0]) != "T") std::this_thread::yield();
  first.kill();
  EXPECT_TRUE(ends_within(server, std::chrono::seconds(60)));
  EXPECT_FALSE(can_attach(name_));
}

}  // namespace
}  // namespace tandem::testing
