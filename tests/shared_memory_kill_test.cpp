// Memory with a name whose users are killed: at each point, while others look, and by every other way to end.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include <tandem/log.hpp>
#include <tandem/shared_memory.hpp>
#include <tandem/thread.hpp>

#include "core/kill_point.hpp"
#include "support/kill_points.hpp"
#include "support/process_fixture.hpp"
#include "support/shared_memory_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class SharedMemoryKillTest : public LeakCheckedTest {
 protected:
  // After any kill: the living one is as it was, and the name of the dead one can be had.
  void expect_all_well(const SharedMemory& living) const {
    EXPECT_TRUE(living.is_owner());
    EXPECT_EQ(living.data()[0], std::byte{9});
    EXPECT_EQ(SharedMemory::attach(living.name()), living);
    SharedMemory::remove_leftovers();
    EXPECT_FALSE(memory_exists(name_));
    {
      const SharedMemory anew = SharedMemory::create(name_, 100);
      EXPECT_EQ(anew.data()[0], std::byte{0});
      EXPECT_EQ(SharedMemory::attach(name_), anew);
    }
    EXPECT_FALSE(memory_exists(name_));
  }

  SharedMemory make_living() const {
    SharedMemory living = SharedMemory::create(unique_name("living"), 100);
    living.data()[0] = std::byte{9};
    return living;
  }

  const std::string name_ = unique_name("killed");
};

// Keeps it alive beyond the body, as a killed process does.
void leave_behind(const SharedMemory& memory) {
  new SharedMemory(memory);
}

TEST_F(SharedMemoryKillTest, AMakerKilledAtAnyPointLeavesNothingThatStays) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "no kill points in this build";
  const bool ran = in_private_shm(2 << 20, [&] {
    const SharedMemory living = make_living();
    const auto passed = for_each_kill_point([&] { SharedMemory::create(name_, 1 << 20).data()[5] = std::byte{5}; },
                                            [&](const std::string&) { expect_all_well(living); });
    EXPECT_THAT(passed, AllOf(Contains("segment.create.made"), Contains("segment.create.reserved"),
                              Contains("segment.create.locked"), Contains("segment.create.published"),
                              Contains("segment.remove.locked"), Contains("segment.remove.removed")));
    expect_all_well(living);
  });
  if (!ran) GTEST_SKIP() << "this needs the right to mount";
}

TEST_F(SharedMemoryKillTest, WhoIsKilledWhileItAttachesOrAdoptsHarmsNobody) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "no kill points in this build";
  const bool ran = in_private_shm(2 << 20, [&] {
    const SharedMemory living = make_living();
    const auto passed = for_each_kill_point(
        [&] {
          SharedMemory attached = SharedMemory::attach(living.name());
          EXPECT_TRUE(attached.adopt());
        },
        [&](const std::string&) { expect_all_well(living); });
    EXPECT_THAT(passed, AllOf(Contains("segment.attach.opened"), Contains("segment.attach.mapped"),
                              Contains("segment.adopt.locked"), Contains("segment.adopt.adopted")));
    expect_all_well(living);
  });
  if (!ran) GTEST_SKIP() << "this needs the right to mount";
}

TEST_F(SharedMemoryKillTest, WhoIsKilledWhileItUnlinksLeavesTheNameOrDoesNot) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "no kill points in this build";
  const bool ran = in_private_shm(2 << 20, [&] {
    const SharedMemory living = make_living();
    SharedMemory memory = SharedMemory::create(name_, 100);
    for_each_kill_point([&] { SharedMemory::unlink(name_); },
                        [&](const std::string& at) {
                          EXPECT_EQ(can_attach(name_), at == "segment.remove.locked") << at;
                          memory.close();
                          expect_all_well(living);
                          memory = SharedMemory::create(name_, 100);
                        });
    EXPECT_FALSE(can_attach(name_));
  });
  if (!ran) GTEST_SKIP() << "this needs the right to mount";
}

TEST_F(SharedMemoryKillTest, ASweeperKilledAtAnyPointLeavesTheRestToTheNext) {
  if (!detail::kHasKillPoints) GTEST_SKIP() << "no kill points in this build";
  const bool ran = in_private_shm(1 << 20, [&] {
    const SharedMemory living = make_living();
    for (std::size_t pass = 0;; ++pass) {
      WaitingProcess([&] {
        leave_behind(SharedMemory::create(name_, 100));
        leave_behind(SharedMemory::create(name_ + "-second", 100));
      }).kill();
      ASSERT_TRUE(memory_exists(name_));
      const KilledRun run = run_killed_at(pass, [] { SharedMemory::remove_leftovers(); });
      SharedMemory::remove_leftovers();
      EXPECT_FALSE(memory_exists(name_ + "-second"));
      expect_all_well(living);
      if (!run.killed) {
        EXPECT_EQ(pass, 6u);  // three points for each of the two
        break;
      }
    }
  });
  if (!ran) GTEST_SKIP() << "this needs the right to mount";
}

// RES-01, RES-07: the count, with one that was removed by hand not in it, and the note.
TEST_F(SharedMemoryKillTest, TheNextUseRemovesWhatAKilledOwnerLeftAndSaysHowMuch) {
  const bool ran = in_private_shm(1 << 20, [] {
    WaitingProcess owner([] {
      for (const char* name : {"first", "second", "third"}) leave_behind(SharedMemory::create(name, 100));
    });
    const SharedMemory attached = SharedMemory::attach("second");
    EXPECT_EQ(SharedMemory::remove_leftovers(), 0u);
    SharedMemory::unlink("third");
    owner.kill();
    EXPECT_TRUE(memory_exists("first"));
    std::vector<std::string> notes;
    set_log_level(LogLevel::Info);
    set_log_sink([&](const LogRecord& record) { notes.emplace_back(record.text); });
    EXPECT_EQ(SharedMemory::remove_leftovers(), 2u);
    ASSERT_EQ(notes.size(), 1u);
    EXPECT_THAT(notes[0],
                AllOf(HasSubstr("2 ("), HasSubstr("\"first\""), HasSubstr("\"second\""), Not(HasSubstr("third"))));
    EXPECT_FALSE(memory_exists("first"));
    EXPECT_EQ(SharedMemory::remove_leftovers(), 0u);
    attached.data()[0] = std::byte{1};  // Who had attached it keeps it.
  });
  if (!ran) GTEST_SKIP() << "this needs the right to mount";
}

// SHM-14, SHM-17
TEST_F(SharedMemoryKillTest, EachUseRemovesLeftoversWhateverTheyAreCalled) {
  const bool ran = in_private_shm(1 << 20, [] {
    const auto leave = [] {
      WaitingProcess([] {
        for (const char* name : {"a:b", "new\nline", ".", ".."}) leave_behind(SharedMemory::create(name, 100));
      }).kill();
      ASSERT_TRUE(memory_exists("a:b"));
    };
    const auto expect_none = [] {
      for (const char* name : {"a:b", "new\nline", ".", ".."}) EXPECT_FALSE(memory_exists(name)) << name;
    };
    leave();
    const SharedMemory memory = SharedMemory::create("used", 100);
    expect_none();
    leave();
    EXPECT_EQ(SharedMemory::attach("used"), memory);
    expect_none();
    leave();
    EXPECT_EQ(SharedMemory::create("a:b", 100).size_bytes(), 100u);
    expect_none();
  });
  if (!ran) GTEST_SKIP() << "this needs the right to mount";
}

// Whatever ends it, and however little of its own code still runs.
// RES-03
TEST_F(SharedMemoryKillTest, HoweverTheOwnerEndsItsNameIsRemoved) {
  const std::vector<void (*)()> ends = {[] { ::kill(::getpid(), SIGTERM); }, [] { ::kill(::getpid(), SIGINT); },
                                        [] { ::kill(::getpid(), SIGKILL); }, [] { ::_exit(0); },
                                        [] { ::execl("/bin/true", "true", nullptr); }};
  for (const auto end : ends) {
    static_cast<void>(status_of_forked([&] {
      leave_behind(SharedMemory::create(name_, 100));
      end();
    }));
    EXPECT_FALSE(can_attach(name_));
    EXPECT_FALSE(memory_exists(name_));
  }
}

TEST_F(SharedMemoryKillTest, AnOwnerThatIsStoppedKeepsItsName) {
  WaitingProcess owner([&] { leave_behind(SharedMemory::create(name_, 100)); });
  ASSERT_EQ(::kill(owner.pid(), SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(owner.pid(), &status, WUNTRACED), owner.pid());
  SharedMemory::remove_leftovers();
  EXPECT_TRUE(can_attach(name_));
  EXPECT_THROW(static_cast<void>(SharedMemory::create(name_, 100)), std::system_error);
  owner.kill();
  EXPECT_EQ(SharedMemory::create(name_, 200).size_bytes(), 200u);
}

// RES-10, RES-11: what a forked process inherited does not speak for the owner.
TEST_F(SharedMemoryKillTest, AForkedProcessThatLivesOnDoesNotKeepADeadOwnersName) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const detail::Fd reader(ends[0]);
  detail::Fd writer(ends[1]);
  WaitingProcess owner([&] {
    leave_behind(SharedMemory::create(name_, 100));
    if (::fork() == 0) {
      const pid_t pid = ::getpid();
      static_cast<void>(!::write(writer.get(), &pid, sizeof pid));
      wait_for_ever();
    }
  });
  writer.reset();
  pid_t heir = 0;
  ASSERT_EQ(::read(reader.get(), &heir, sizeof heir), static_cast<ssize_t>(sizeof heir));
  const detail::Fd its_end = detail::open_pidfd(heir);
  owner.kill();
  EXPECT_FALSE(can_attach(name_));
  EXPECT_FALSE(memory_exists(name_));
  EXPECT_FALSE(ends_within(its_end, std::chrono::milliseconds(0)));
  ::kill(heir, SIGKILL);
  EXPECT_TRUE(ends_within(its_end, std::chrono::seconds(60)));
}

// RES-09
TEST_F(SharedMemoryKillTest, AnOwnerEndsAtOnceWhileAForkedProcessHasAllOfItsDescriptors) {
  pid_t heir = 0;
  const int status = status_of_forked([&] {
    const SharedMemory memory = SharedMemory::create(name_, 100);
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    heir = ::fork();
    if (heir == 0) {
      char none = 0;
      ::close(ends[1]);
      static_cast<void>(!::read(ends[0], &none, 1));  // Until the owner is gone.
      ::_exit(0);
    }
  });
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(memory_exists(name_));
}

// RES-08
TEST_F(SharedMemoryKillTest, TheCallersSignalMaskIsLeftAlone) {
  sigset_t before, after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  SharedMemory::create(name_, 100).close();
  SharedMemory::remove_leftovers();
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signum = 1; signum < NSIG; ++signum)
    EXPECT_EQ(::sigismember(&before, signum), ::sigismember(&after, signum)) << signum;
}

// RES-12
TEST_F(SharedMemoryKillTest, AProcessForkedWhileOtherThreadsAreAtItCanGoOn) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> busy;
  for (int i = 0; i < 2; ++i)
    busy.emplace_back([&, name = name_ + "-busy" + std::to_string(i)] {
      while (!stop) {
        const SharedMemory memory = SharedMemory::create(name, 100);
        SharedMemory::attach(name).close();
      }
    });
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(status_of_forked([&] {
                const SharedMemory memory = SharedMemory::create(name_, 100);
                SharedMemory attached = SharedMemory::attach(name_);
                EXPECT_TRUE(attached.adopt());
                SharedMemory::unlink(name_);
              }),
              0);
  }
  stop = true;
  for (std::thread& thread : busy) thread.join();
}

}  // namespace
}  // namespace tandem::testing
