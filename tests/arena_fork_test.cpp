// The very first use of the arena: by several threads at once, and while another thread forks.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include <tandem/queue.hpp>

#include "ipc/arena.hpp"
#include "support/watchdog.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;

// Many times, each in a process that has no arena yet.
class ArenaFirstUseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (detail::Arena::exists()) GTEST_SKIP() << "needs a process of its own";
  }
  static int exit_code_of(const std::function<bool()>& body) {
    const pid_t pid = ::fork();
    if (pid == 0) _exit(body() ? 0 : 1);
    int status = -1;
    ::waitpid(pid, &status, 0);
    return status;
  }
  testing::Watchdog watchdog_{60s};
};

bool queue_works() {
  Queue<std::string> queue;
  queue.put(std::string(1000, 'x'));
  return queue.get().size() == 1000;
}

TEST_F(ArenaFirstUseTest, SeveralThreadsMakeTheFirstObjectTogether) {
  for (int round = 0; round < 200; ++round) {
    ASSERT_EQ(exit_code_of([] {
                std::atomic<int> ready{0};
                std::atomic<int> working{0};
                std::vector<std::thread> threads;
                for (int i = 0; i < 4; ++i)
                  threads.emplace_back([&] {
                    for (++ready; ready < 4;) std::this_thread::yield();
                    working += queue_works() ? 1 : 0;
                  });
                for (std::thread& thread : threads) thread.join();
                return working == 4;
              }),
              0);
  }
}

TEST_F(ArenaFirstUseTest, ForkWhileAnotherThreadMakesTheArena) {
  for (int round = 0; round < 200; ++round) {
    ASSERT_EQ(exit_code_of([] {
                std::atomic<bool> go{false};
                std::thread maker([&] {
                  go = true;
                  static_cast<void>(queue_works());
                });
                while (!go) std::this_thread::yield();
                const bool child_works = exit_code_of(queue_works) == 0;
                maker.join();
                return child_works && queue_works();
              }),
              0);
  }
}

}  // namespace
}  // namespace tandem
