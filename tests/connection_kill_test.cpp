// A process is killed at each point inside send and receive; the others go on, and nothing of the arena is left.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/connection.hpp>
#include <tandem/descriptor.hpp>
#include <tandem/queue.hpp>

#include "core/kill_point.hpp"
#include "support/kill_points.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::for_each_kill_point;

using Text = std::string;

class ConnectionKillTest : public testing::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
    testing::LeakCheckedTest::SetUp();
  }
  std::chrono::seconds time_limit() const override { return 180s; }

  // Kills `body` at each of its points, each time with a new pipe that `prepare` has put something into, then calls
  // `check`. Afterwards no byte of the arena may be left.
  void kill_everywhere(std::size_t at_least, const std::function<void(Connection&, Connection&)>& prepare,
                       const std::function<void(Connection&, Connection&)>& body,
                       const std::function<void(Connection&, Connection&)>& check) {
    const std::size_t before = arena_usage().in_use_bytes;
    auto ends = Pipe();
    prepare(ends.first, ends.second);
    const auto points = for_each_kill_point([&] { body(ends.first, ends.second); },
                                            [&](const std::string&) {
                                              check(ends.first, ends.second);
                                              ends = {};
                                              ASSERT_EQ(arena_usage().in_use_bytes, before);
                                              ends = Pipe();
                                              prepare(ends.first, ends.second);
                                            });
    EXPECT_GE(points.size(), at_least) << "the points inside the call are not compiled in any more";
    ends = {};
    EXPECT_EQ(arena_usage().in_use_bytes, before);
  }
};

void nothing(Connection&, Connection&) {}

// The message that a killed sender was about to send is whole or not there; the next one comes behind it.
template <class T>
std::function<void(Connection&, Connection&)> expect_whole_or_nothing(const T& sent) {
  return [sent](Connection& sender, Connection& receiver) {
    const T last{};
    sender.send(last);
    T received = receiver.recv<T>();
    if (received == sent) received = receiver.recv<T>();
    EXPECT_EQ(received, last);
    EXPECT_FALSE(receiver.poll());
  };
}

TEST_F(ConnectionKillTest, ASmallMessageIsSentOrNot) {
  kill_everywhere(
      2, nothing, [](Connection& sender, Connection&) { sender.send(Text("small")); },
      expect_whole_or_nothing(Text("small")));
}

TEST_F(ConnectionKillTest, ALargeMessageIsSentOrNot) {
  const Text large(100'000, 'x');
  kill_everywhere(
      30, nothing, [&](Connection& sender, Connection&) { sender.send(large); }, expect_whole_or_nothing(large));
}

TEST_F(ConnectionKillTest, AHandleInAMessageIsHeldOrGivenBack) {
  using Handles = std::vector<Queue<int>>;
  kill_everywhere(
      30, nothing, [](Connection& sender, Connection&) { sender.send(Handles{Queue<int>(), Queue<int>()}); },
      [](Connection& sender, Connection& receiver) {
        sender.send(Handles());
        Handles received = receiver.recv<Handles>();
        if (received.empty()) return;
        received[1].put(5);
        EXPECT_EQ(received[1].get(), 5);
        EXPECT_TRUE(receiver.recv<Handles>().empty());
      });
}

// What a killed receiver was receiving is gone with it or still there; what comes behind it is there.
TEST_F(ConnectionKillTest, AReceiverTakesAMessageOrLeavesIt) {
  for (const std::size_t size : {std::size_t{10}, std::size_t{100'000}}) {
    const Text first(size, 'a'), second(size, 'b');
    kill_everywhere(
        size > 1000 ? 30 : 4,
        [&](Connection& sender, Connection&) {
          sender.send(first);
          sender.send(second);
        },
        [](Connection&, Connection& receiver) { static_cast<void>(receiver.recv<Text>()); },
        [&](Connection& sender, Connection& receiver) {
          sender.send(Text("last"));
          Text received = receiver.recv<Text>();
          if (received == first) received = receiver.recv<Text>();
          EXPECT_EQ(received, second);
          EXPECT_EQ(receiver.recv<Text>(), "last");
        });
  }
}

TEST_F(ConnectionKillTest, HandlesThatAKilledReceiverTookAreGivenBack) {
  kill_everywhere(
      30, [](Connection& sender, Connection&) { sender.send(Queue<int>()); },
      [](Connection&, Connection& receiver) { receiver.recv<Queue<int>>().put(1); },
      [](Connection& sender, Connection& receiver) {
        // Another parcel drops what was in front of it.
        sender.send(Text(100'000, 'x'));
        if (sender.poll()) FAIL() << "nobody has answered";
        try {
          Queue<int> queue = receiver.recv<Queue<int>>();
          queue.put(2);
          EXPECT_EQ(queue.get(), 2);
          static_cast<void>(receiver.recv<Text>());
        } catch (const Error&) {
          // It was the text: the queue went with the dead.
        }
      });
}

TEST_F(ConnectionKillTest, ASenderKilledWithTheOtherEndGoneLeavesNothing) {
  kill_everywhere(
      30,
      [](Connection& sender, Connection& receiver) {
        sender.send(Text(100'000, 'x'));
        receiver.close();
      },
      [](Connection& sender, Connection&) {
        try {
          sender.send(Text(100'000, 'y'));
        } catch (const BrokenPipe&) {
        }
      },
      [](Connection& sender, Connection&) { EXPECT_THROW(sender.send(1), BrokenPipe); });
}

TEST_F(ConnectionKillTest, MakingAPipeIsAllOrNothing) {
  const std::size_t before = arena_usage().in_use_bytes;
  for_each_kill_point([] { static_cast<void>(Pipe()); },
                      [&](const std::string&) { ASSERT_EQ(arena_usage().in_use_bytes, before); });
}

TEST_F(ConnectionKillTest, ADeadSenderIsTheEndOfTheStreamForItsReader) {
  auto [here, there] = Pipe();
  const auto run = testing::run_killed_at(2000, [end = there]() mutable {
    for (;;) end.send(Text(40'000, 'x'));
  });
  ASSERT_TRUE(run.killed);
  there.close();
  int received = 0;
  try {
    for (;; ++received) EXPECT_EQ(here.recv<Text>(), Text(40'000, 'x'));
  } catch (const EndOfStream&) {
  }
  EXPECT_GT(received, 0);
}

}  // namespace
}  // namespace tandem
