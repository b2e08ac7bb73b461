// Processes that make, attach, adopt, unlink and sweep the same few names are killed at random instants, thousands of
// times: who lives keeps what it owns, nothing hangs, and no name is left.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <tandem/shared_memory.hpp>

#include "support/random.hpp"
#include "support/shared_memory_fixture.hpp"

namespace tandem::testing {
namespace {

using namespace std::chrono_literals;

// Nobody unlinks these: whoever owns one can rely on it.
const std::array<std::string, 2>& kept_names() {
  static const std::array<std::string, 2> names{unique_name("kept-0"), unique_name("kept-1")};
  return names;
}
const std::string& loose_name() {
  static const std::string name = unique_name("loose");
  return name;
}

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken in process %d: %s\n", ::getpid(), what);
  std::abort();
}

// What others do may take the name first, or away; anything else is a fault.
template <class Action>
void allow_for_others(Action action) {
  try {
    action();
  } catch (const std::system_error& error) {
    const int code = error.code().value();
    expect(code == EEXIST || code == ENOENT, error.what());
  }
}

void rely_on(const SharedMemory& owned) {
  SharedMemory::remove_leftovers();
  expect(SharedMemory::attach(owned.name()) == owned, "the name of a living owner leads elsewhere");
}

void do_one(std::uint64_t choice) {
  const std::string& kept = kept_names()[choice / 8 % 2];
  switch (choice % 8) {
    case 0:
    case 1:
      return allow_for_others([&] {
        const SharedMemory memory = SharedMemory::create(kept, 5000);
        expect(memory.as<pid_t>()[0] == 0, "new memory is not zero");
        memory.as<pid_t>()[0] = ::getpid();
        rely_on(memory);
        expect(memory.as<pid_t>()[0] == ::getpid(), "another has made this memory too");
      });
    case 2:
    case 3:
      return allow_for_others([&] {
        SharedMemory memory = SharedMemory::attach(kept);
        if (memory.adopt()) rely_on(memory);
      });
    case 4:
      return allow_for_others([&] { SharedMemory::create(loose_name(), 5000).data()[0] = std::byte{1}; });
    case 5:
      return allow_for_others([&] {
        SharedMemory memory = SharedMemory::attach(loose_name());
        static_cast<void>(memory.adopt());
      });
    case 6:
      return allow_for_others([&] { SharedMemory::unlink(loose_name()); });
    default:
      SharedMemory::remove_leftovers();
  }
}

[[noreturn]] void work(std::uint64_t stream) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  auto engine = random_engine(stream);
  for (;;) do_one(engine());
}

class SharedMemoryKillStress : public LeakCheckedTest {
 protected:
  std::chrono::seconds time_limit() const override { return 500s; }
};

TEST_F(SharedMemoryKillStress, TheLivingKeepWhatTheyOwnAndNothingIsLeft) {
  kept_names();
  loose_name();
  const std::size_t kills = std::getenv("TANDEM_SOAK") != nullptr ? 20'000 : testing::kSanitized ? 500 : 2'000;
  std::array<pid_t, 4> workers{};
  std::uint64_t started = 0;
  const auto launch = [&](pid_t& worker) {
    ++started;
    worker = ::fork();
    if (worker == 0) work(started);
    ASSERT_GT(worker, 0);
  };
  const auto end = [](pid_t worker) {
    ::kill(worker, SIGKILL);
    int status = 0;
    detail::retry_on_signal([&] { return ::waitpid(worker, &status, 0); });
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "a worker ended by itself: " << status;
  };
  for (pid_t& worker : workers) ASSERT_NO_FATAL_FAILURE(launch(worker));
  auto engine = random_engine();
  for (std::size_t i = 0; i < kills; ++i) {
    // The instant is the randomness of this test; nothing is waited for.
    const timespec pause{0, static_cast<long>(engine() % 1'500'000)};
    ::nanosleep(&pause, nullptr);
    pid_t& worker = workers[engine() % workers.size()];
    ASSERT_NO_FATAL_FAILURE(end(worker));
    ASSERT_NO_FATAL_FAILURE(launch(worker));
  }
  for (const pid_t worker : workers) ASSERT_NO_FATAL_FAILURE(end(worker));
  for (const std::string& name : {kept_names()[0], kept_names()[1], loose_name()}) {
    EXPECT_FALSE(can_attach(name));
    EXPECT_FALSE(memory_exists(name));
  }
}

TEST_F(SharedMemoryKillStress, ThreadsOfOneProcessExcludeEachOtherAsProcessesDo) {
  std::vector<std::thread> threads;
  for (std::uint64_t stream = 0; stream < 4; ++stream)
    threads.emplace_back([stream] {
      auto engine = random_engine(stream);
      for (int i = 0; i < 3'000; ++i) do_one(engine());
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& name : kept_names()) EXPECT_FALSE(memory_exists(name));
  EXPECT_FALSE(memory_exists(loose_name()));
}

}  // namespace
}  // namespace tandem::testing
