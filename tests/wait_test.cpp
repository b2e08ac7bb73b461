// wait(): the first of any mix of connections, queues, processes and descriptors.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include <tandem/connection.hpp>
#include <tandem/event.hpp>
#include <tandem/gil.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>
#include <tandem/wait.hpp>

#include "core/system.hpp"
#include "support/process_fixture.hpp"
#include "support/random.hpp"
#include "support/where.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::EverywhereTest;
using testing::LeakCheckedTest;
using testing::Worker;

using Places = std::vector<std::size_t>;

struct Numbered {
  int worker;
  int number;
};

void nap(unsigned worker, unsigned longest_ms) {
  if (longest_ms == 0) return;
  auto engine = testing::random_engine(worker);
  std::this_thread::sleep_for(std::chrono::milliseconds(engine() % longest_ms));
}

void send_ten(Connection out, int worker, unsigned longest_nap_ms) {
  for (int i = 0; i < 10; ++i) {
    nap(static_cast<unsigned>(worker * 10 + i), longest_nap_ms);
    out.send(Numbered{worker, i});
  }
}

class WaitTest : public EverywhereTest {
 protected:
  void collect_from_four(unsigned longest_nap_ms) {
    std::vector<Connection> readers;
    std::vector<Worker> workers;
    for (int i = 0; i < 4; ++i) {
      auto [in, out] = Pipe(Duplex::No);
      workers.emplace_back(GetParam(), send_ten, out, i, longest_nap_ms);
      workers.back().start();
      if (GetParam() != testing::Where::Thread) out.close();
      readers.push_back(in);
    }
    std::array<int, 4> next{};
    while (!readers.empty()) {
      const std::vector<Waitable> things(readers.begin(), readers.end());
      const Places ready = wait(things);
      ASSERT_FALSE(ready.empty());
      for (auto place = ready.rbegin(); place != ready.rend(); ++place) {
        try {
          const auto message = readers[*place].recv<Numbered>();
          EXPECT_EQ(message.number, next[static_cast<std::size_t>(message.worker)]++);
        } catch (const EndOfStream&) {
          readers.erase(readers.begin() + static_cast<std::ptrdiff_t>(*place));
        }
      }
    }
    for (const int count : next) EXPECT_EQ(count, 10);
    for (Worker& worker : workers) worker.join();
  }

  void collect_from_four_sockets(unsigned longest_nap_ms) {
    std::vector<Descriptor> readers;
    std::vector<Worker> workers;
    for (unsigned i = 0; i < 4; ++i) {
      int ends[2];
      ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
      readers.emplace_back(ends[0]);
      workers.emplace_back(
          GetParam(),
          [](Descriptor out, unsigned worker, unsigned longest) {
            for (unsigned n = 0; n < 10; ++n) {
              nap(worker * 10 + n, longest);
              if (::write(out.get(), "x", 1) != 1) detail::throw_errno("cannot write");
            }
          },
          Descriptor(ends[1]), i, longest_nap_ms);
      workers.back().start();
    }
    std::size_t bytes = 0;
    while (!readers.empty()) {
      const Places ready = wait(std::vector<Waitable>(readers.begin(), readers.end()));
      for (auto place = ready.rbegin(); place != ready.rend(); ++place) {
        char some[100];
        const ssize_t size = ::read(readers[*place].get(), some, sizeof some);
        bytes += static_cast<std::size_t>(size);
        if (size == 0) readers.erase(readers.begin() + static_cast<std::ptrdiff_t>(*place));
      }
    }
    EXPECT_EQ(bytes, 40U);
    for (Worker& worker : workers) worker.join();
  }
};

// PIP-28
TEST_P(WaitTest, EverythingFromFourPipesIsCollectedAndEachEndIsSeen) {
  collect_from_four(0);
}

// PIP-30
TEST_P(WaitTest, TheSameFromSlowSenders) {
  collect_from_four(20);
}

// PIP-29
TEST_P(WaitTest, PlainSocketsWorkToo) {
  collect_from_four_sockets(0);
}

// PIP-31
TEST_P(WaitTest, AndSlowOnes) {
  collect_from_four_sockets(20);
}

// TMO-36
TEST_P(WaitTest, AnItemWakesAWaitForManyQueues) {
  std::vector<Queue<int>> queues(5);
  Worker worker(GetParam(), [](Queue<int> queue) { queue.put(7); }, queues[3]);
  worker.start();
  EXPECT_EQ(wait(std::vector<Waitable>(queues.begin(), queues.end())), Places{3});
  EXPECT_EQ(queues[3].get(), 7);
  worker.join();
}

TEST_P(WaitTest, QueuesAndConnectionsAreWaitedForTogether) {
  auto [here, there] = Pipe();
  Queue<int> queue, never;
  Worker worker(
      GetParam(),
      [](Queue<int> first, Connection second) {
        first.put(1);
        static_cast<void>(second.recv<int>());
        second.send(2);
      },
      queue, there);
  worker.start();
  EXPECT_EQ(wait({never, here, queue}), Places{2});
  EXPECT_EQ(queue.get(), 1);
  here.send(0);
  EXPECT_EQ(wait({never, here, queue}), Places{1});
  EXPECT_EQ(here.recv<int>(), 2);
  worker.join();
}

TEST_P(WaitTest, AnyKindOfQueueWakesAWait) {
  Queue<int> first;
  LifoQueue<int> last;
  PriorityQueue<int> smallest;
  Worker worker(
      GetParam(),
      [](LifoQueue<int> stack, PriorityQueue<int> heap) {
        stack.put(1);
        stack.close();
        heap.put(2);
      },
      last, smallest);
  worker.start();
  Places ready = wait({first, last});
  EXPECT_EQ(ready, Places{1});
  worker.join();
  EXPECT_EQ(wait({first, last, smallest}), (Places{1, 2}));
  EXPECT_EQ(last.get(), 1);
  EXPECT_EQ(smallest.get(), 2);
  EXPECT_EQ(wait({first, last, smallest}), Places{1});
}

TEST_P(WaitTest, AnEventWakesAWaitAndStaysReadyWhileItIsSet) {
  Event event;
  Queue<int> never;
  auto [here, there] = Pipe();
  Worker worker(GetParam(), [](Event set) { set.set(); }, event);
  worker.start();
  EXPECT_EQ(wait({never, event}), Places{1});
  EXPECT_EQ(wait({here, event, never}), Places{1});
  event.clear();
  EXPECT_TRUE(wait_for({here, event, never}, 1ms).empty());
  worker.join();
}

TANDEM_TEST_EVERYWHERE(WaitTest);

class WaitProcessTest : public testing::ProcessesTest {};

// PIP-33
TEST_P(WaitProcessTest, AProcessIsReadyOnceItHasEnded) {
  auto [here, there] = Pipe();
  Queue<int> go;
  Process process = testing::process_in(GetParam(), [](Queue<int> queue) { static_cast<void>(queue.get()); }, go);
  process.start();
  EXPECT_TRUE(wait_for({here, process, process.sentinel()}, 1ms).empty());
  there.send(1);
  EXPECT_EQ(wait({here, process, process.sentinel()}), Places{0});
  go.put(0);
  EXPECT_EQ(here.recv<int>(), 1);
  EXPECT_EQ(wait({here, process, process.sentinel()}), (Places{1, 2}));
  there.send(2);
  EXPECT_EQ(wait({here, process, go}), (Places{0, 1}));
  EXPECT_EQ(here.recv<int>(), 2);
  process.join();
}

TANDEM_TEST_IN_PROCESSES(WaitProcessTest);

class WaitHereTest : public LeakCheckedTest {};

// PIP-09
TEST_F(WaitHereTest, AWaitForNothingTakesItsTime) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(wait_for({}, 150ms).empty());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 150ms);
  EXPECT_THROW(static_cast<void>(wait(std::span<const Waitable>())), std::invalid_argument);
}

// PIP-32, TMO-37
TEST_F(WaitHereTest, ItGivesUpInTimeAndReturnsExactlyWhatIsReady) {
  auto [a, b] = Pipe();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(wait_for({a, b}, 120ms).empty());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 120ms);
  EXPECT_TRUE(wait_for({a, b}, 0s).empty());
  Queue<int> one, other;
  EXPECT_TRUE(wait_for({one, other}, 1ms).empty());
  b.send(1);
  EXPECT_EQ(wait_for({a, b}, 60s), Places{0});
  a.send(1);
  EXPECT_EQ(wait({a, b}), (Places{0, 1}));
}

// PIP-34: a negative time is an error, as everywhere in Tandem
TEST_F(WaitHereTest, ANegativeTimeIsAnErrorAtOnce) {
  auto [a, b] = Pipe();
  EXPECT_THROW(static_cast<void>(wait_for({a, b}, -1s)), std::invalid_argument);
  EXPECT_TRUE(wait_for({a, b}, 0s).empty());
}

// PIP-10
TEST_F(WaitHereTest, ADescriptorThatIsNotOpenIsAnError) {
  Queue<int> queue;
  EXPECT_THROW(static_cast<void>(wait_for({12345}, 60s)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(wait_for({queue, 12345}, 60s)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(wait_for({-1}, 60s)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(wait_for({Descriptor()}, 60s)), std::invalid_argument);
  auto [in, out] = Pipe(Duplex::No);
  EXPECT_THROW(static_cast<void>(wait_for({out}, 60s)), StateError);
  in.close();
  EXPECT_THROW(static_cast<void>(wait_for({in}, 60s)), StateError);
  EXPECT_THROW(static_cast<void>(wait_for({Connection()}, 60s)), StateError);
}

TEST_F(WaitHereTest, AQueueIsReadyAtItsEndToo) {
  Queue<int> queue, other;
  queue.put(1);
  EXPECT_EQ(wait({other, queue}), Places{1});
  queue.close();
  EXPECT_EQ(queue.get(), 1);
  EXPECT_EQ(wait({other, queue}), Places{1});
  std::thread closing([&] { other.close(); });
  EXPECT_EQ(wait({other}), Places{0});
  closing.join();
}

TEST_F(WaitHereTest, ConnectionsAreReadyAtTheirEndToo) {
  auto [here, there] = Pipe();
  Queue<int> never;
  std::thread closing([&] { there.close(); });
  EXPECT_EQ(wait({never, here}), Places{1});
  closing.join();
}

TEST_F(WaitHereTest, ClosingAConnectionInThisProcessEndsTheWait) {
  auto [here, there] = Pipe();
  Queue<int> never;
  std::thread closing([&] { here.close(); });
  EXPECT_THROW(wait({here, never}), StateError);
  closing.join();
}

TEST_F(WaitHereTest, AWaitReleasesTheGil) {
  Gil gil;
  Queue<int> queue;
  auto [here, there] = Pipe();
  const std::lock_guard held(gil);
  std::thread other([&gil, queue, end = there]() mutable {
    {
      const std::lock_guard in_turn(gil);
      queue.put(1);
    }
    const std::lock_guard in_turn(gil);
    end.send(1);
  });
  static_cast<void>(wait({queue}));
  static_cast<void>(wait({here}));
  EXPECT_EQ(queue.get(), 1);
  EXPECT_EQ(here.recv<int>(), 1);
  gil.unlocked([&] { other.join(); });
}

}  // namespace
}  // namespace tandem
