// Pipes: values and bytes both ways, directions, ends. Bodies run as a thread and under each start method.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/connection.hpp>
#include <tandem/queue.hpp>
#include <tandem/wire.hpp>

#include "support/where.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::EverywhereTest;
using testing::LeakCheckedTest;
using testing::Worker;

using Bytes = std::vector<std::byte>;
using Text = std::string;

Bytes bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

struct Sample {
  Text name;
  std::map<int, std::vector<double>> series;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, series);
  }
  bool operator==(const Sample&) const = default;
};

struct NoMembers {};

Bytes large_bytes() {
  Bytes bytes(16 << 20);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 >> 3);
  return bytes;
}

// Sends back what it gets: values until an empty one, then bytes until there are none.
void echo(Connection connection) {
  for (Sample sample = connection.recv<Sample>(); !sample.name.empty(); sample = connection.recv<Sample>())
    connection.send(sample);
  for (Bytes bytes = connection.recv_bytes(); !bytes.empty(); bytes = connection.recv_bytes())
    connection.send_bytes(bytes);
}

class ConnectionTest : public EverywhereTest {
 protected:
  // A worker with one end of a pipe. In a process it gets a descriptor of its own, so that here is closed at once.
  template <class Function, class... Arguments>
  Worker start(Function function, Connection& end, Arguments... arguments) {
    Worker worker(GetParam(), function, end, arguments...);
    worker.start();
    if (GetParam() != testing::Where::Thread) end.close();
    end = Connection();
    return worker;
  }
};

// PIP-01
TEST_P(ConnectionTest, ValuesAndBytesGoBothWays) {
  auto [here, there] = Pipe();
  Worker worker = start(echo, there);
  const Sample sample{"a", {{1, {0.5, 2}}, {7, {}}}};
  here.send(sample);
  EXPECT_EQ(here.recv<Sample>(), sample);
  here.send(Sample());
  here.send_bytes(bytes_of("with a \0 in it"));
  EXPECT_EQ(here.recv_bytes(), bytes_of("with a \0 in it"));
  const Bytes large = large_bytes();
  here.send_bytes(large);
  EXPECT_TRUE(here.recv_bytes() == large);
  here.send_bytes({});
  worker.join();
}

// PIP-01
TEST_P(ConnectionTest, MessagesAreReceivedIntoABufferOfTheCaller) {
  auto [here, there] = Pipe();
  Worker worker = start(echo, there);
  here.send(Sample());
  std::array<std::byte, 8> buffer{};
  here.send_bytes(bytes_of("four"));
  EXPECT_EQ(here.recv_bytes_into(buffer), 4U);
  EXPECT_EQ(Bytes(buffer.begin(), buffer.begin() + 4), bytes_of("four"));
  here.send_bytes(bytes_of("more"));
  EXPECT_EQ(here.recv_bytes_into(buffer, 3), 4U);
  EXPECT_EQ(Bytes(buffer.begin(), buffer.begin() + 7), bytes_of("foumore"));
  EXPECT_THROW(here.recv_bytes_into(buffer, 9), std::invalid_argument);
  here.send_bytes(bytes_of("longer"));
  try {
    here.recv_bytes_into(buffer, 4);
    FAIL() << "it did not fit";
  } catch (const BufferTooShort& error) {
    EXPECT_EQ(error.message(), bytes_of("longer"));
    EXPECT_STREQ(error.what(), "a message of 6 bytes for a buffer with room for 4");
  }
  here.send_bytes({});
  worker.join();
}

// PIP-01
TEST_P(ConnectionTest, PollTellsWhetherSomethingIsThere) {
  auto [here, there] = Pipe();
  Worker worker = start(echo, there);
  EXPECT_FALSE(here.poll());
  EXPECT_FALSE(here.poll_for(1ms));
  EXPECT_THROW(static_cast<void>(here.poll_for(-1s)), std::invalid_argument);
  here.send(Sample{"x", {}});
  EXPECT_TRUE(here.poll_for(60s));
  EXPECT_TRUE(here.poll());
  EXPECT_EQ(here.recv<Sample>().name, "x");
  EXPECT_FALSE(here.poll());
  here.send(Sample());
  here.send_bytes({});
  worker.join();
}

void send_three_and_leave(Connection connection) {
  connection.send_bytes(bytes_of("one"));
  connection.send_bytes(bytes_of("two"));
  connection.send_bytes({});
}

// PIP-01, PIP-21
TEST_P(ConnectionTest, ThreeMessagesStayThreeAndThenComesTheEnd) {
  auto [here, there] = Pipe();
  Worker worker = start(send_three_and_leave, there);
  worker.join();
  EXPECT_EQ(here.recv_bytes(), bytes_of("one"));
  EXPECT_EQ(here.recv_bytes(), bytes_of("two"));
  EXPECT_TRUE(here.recv_bytes().empty());
  EXPECT_TRUE(here.poll());  // The end is something too.
  EXPECT_THROW(static_cast<void>(here.recv_bytes()), EndOfStream);
  EXPECT_THROW(static_cast<void>(here.recv<int>()), EndOfStream);
  EXPECT_THROW(here.send(1), BrokenPipe);
}

// PIP-18
TEST_P(ConnectionTest, AnEmptyMessageIsThereUntilItIsReceived) {
  auto [here, there] = Pipe();
  Worker worker = start([](Connection end) { end.send_bytes({}); }, there);
  ASSERT_TRUE(here.poll_for(60s));
  EXPECT_TRUE(here.poll());
  EXPECT_TRUE(here.poll_for(1ms));
  EXPECT_TRUE(here.recv_bytes().empty());
  worker.join();
}

void receive_one_and_report(Connection connection, Queue<Text> reports) {
  reports.put("ready");
  while (!connection.poll_for(1ms)) {
  }
  reports.put(connection.recv<Text>());
}

// PIP-20
TEST_P(ConnectionTest, PollingTakesNothingFromAnotherReceiver) {
  auto [here, there] = Pipe();
  Queue<Text> reports;
  Worker worker(GetParam(), receive_one_and_report, here, reports);
  worker.start();
  EXPECT_EQ(reports.get(), "ready");
  there.send(Text(1000, 'a'));
  // Both poll; whoever receives first gets a message, whole.
  while (!here.poll() && !reports.size()) {
  }
  there.send(Text(1000, 'b'));
  const Text theirs = reports.get();
  const Text mine = here.recv<Text>();
  EXPECT_EQ(std::min(mine, theirs), Text(1000, 'a'));
  EXPECT_EQ(std::max(mine, theirs), Text(1000, 'b'));
  worker.join();
}

void check_directions_and_send(Connection in, Connection out) {
  if (!in.readable() || in.writable() || out.readable() || !out.writable()) throw std::logic_error("directions");
  out.send(in.recv<int>() + 1);
}

// PIP-02, PIP-23
TEST_P(ConnectionTest, OneWayEndsKeepTheirDirectionWhenSent) {
  auto [first_in, first_out] = Pipe(Duplex::No);
  auto [second_in, second_out] = Pipe(Duplex::No);
  Worker worker(GetParam(), check_directions_and_send, first_in, second_out);
  worker.start();
  first_out.send(41);
  EXPECT_EQ(second_in.recv<int>(), 42);
  worker.join();
}

void receive_all(Connection in, Queue<int> sum) {
  int total = 0;
  for (int i = in.recv<int>(); i != 0; i = in.recv<int>()) total += i;
  sum.put(total);
}

// PIP-03, PIP-26
TEST_P(ConnectionTest, TheChildsEndMayBeClosedRightAfterStart) {
  auto [in, out] = Pipe(Duplex::No);
  Queue<int> sum;
  Worker worker(GetParam(), receive_all, in, sum);
  worker.start();
  if (GetParam() != testing::Where::Thread) in.close();
  in = Connection();
  for (int i = 100; i >= 0; --i) out.send(i);
  EXPECT_EQ(sum.get(), 5050);
  worker.join();
}

void send_large_both_ways(Connection connection) {
  const Bytes large = large_bytes();
  for (int i = 0; i < 3; ++i) connection.send_bytes(large);
  for (int i = 0; i < 3; ++i)
    if (connection.recv_bytes() != large) throw std::logic_error("a large message has changed");
}

// PIP-01
TEST_P(ConnectionTest, LargeMessagesBothWaysDoNotWaitForEachOther) {
  auto [here, there] = Pipe();
  Worker worker = start(send_large_both_ways, there);
  send_large_both_ways(here);
  worker.join();
}

TANDEM_TEST_EVERYWHERE(ConnectionTest);

class ConnectionHereTest : public LeakCheckedTest {};

// PIP-02
TEST_F(ConnectionHereTest, TheWrongDirectionIsAnErrorThatSaysSo) {
  auto [in, out] = Pipe(Duplex::No);
  EXPECT_TRUE(in.readable() && !in.writable() && out.writable() && !out.readable());
  EXPECT_THROW(in.send(1), StateError);
  EXPECT_THROW(in.send_bytes({}), StateError);
  EXPECT_THROW(static_cast<void>(out.recv<int>()), StateError);
  EXPECT_THROW(static_cast<void>(out.recv_bytes()), StateError);
  EXPECT_THROW(static_cast<void>(out.poll()), StateError);
  out.send(1);
  EXPECT_EQ(in.recv<int>(), 1);
}

// PIP-08
TEST_F(ConnectionHereTest, TheEndOfTheScopeClosesAndUseAfterwardsIsAnError) {
  Connection kept;
  {
    auto [here, there] = Pipe();
    kept = here;
    EXPECT_FALSE(there.closed());
  }
  EXPECT_THROW(static_cast<void>(kept.recv<int>()), EndOfStream);
  Connection copy = kept;
  kept.close();
  kept.close();
  EXPECT_TRUE(copy.closed());
  EXPECT_THROW(copy.send(1), StateError);
  EXPECT_THROW(static_cast<void>(copy.poll()), StateError);
  EXPECT_THROW(static_cast<void>(copy.fileno()), StateError);
  const Connection none;
  EXPECT_TRUE(none.closed());
  EXPECT_THROW(static_cast<void>(none.poll()), StateError);
}

TEST_F(ConnectionHereTest, CloseEndsAWaitInAnotherThread) {
  auto [here, there] = Pipe();
  std::thread waiting([end = here]() mutable { EXPECT_THROW(static_cast<void>(end.recv<int>()), StateError); });
  here.close();
  waiting.join();
}

TEST_F(ConnectionHereTest, RecvForGivesUp) {
  auto [here, there] = Pipe();
  EXPECT_EQ(here.recv_for<int>(1ms), std::nullopt);
  EXPECT_EQ(here.recv_bytes_for(0s), std::nullopt);
  EXPECT_THROW(static_cast<void>(here.recv_for<int>(-1s)), std::invalid_argument);
  there.send(5);
  EXPECT_EQ(here.recv_for<int>(0s), 5);
}

TEST_F(ConnectionHereTest, SendForGivesUpWhenThePipeIsFull) {
  auto [here, there] = Pipe();
  int sent = 0;
  while (here.send_for(sent, 1ms)) ++sent;
  EXPECT_GT(sent, 100);
  // Large ones too, and then nothing of it is left in the arena.
  EXPECT_FALSE(here.send_bytes_for(large_bytes(), 1ms));
  EXPECT_FALSE(here.send_bytes_for(large_bytes(), 0s));
  for (int i = 0; i < sent; ++i) ASSERT_EQ(there.recv<int>(), i);
  EXPECT_TRUE(here.send_bytes_for(large_bytes(), 60s));
  EXPECT_TRUE(there.recv_bytes() == large_bytes());
}

TEST_F(ConnectionHereTest, AMessageOfAnotherTypeIsAnErrorAndIsTaken) {
  auto [here, there] = Pipe();
  here.send(std::string("text"));
  here.send(std::vector<int>{1, 2});
  here.send_bytes(bytes_of("bytes"));
  here.send(7);
  here.send(8);
  EXPECT_THROW(static_cast<void>(there.recv<double>()), WireError);
  EXPECT_THROW(static_cast<void>(there.recv_bytes()), WireError);
  EXPECT_THROW(static_cast<void>(there.recv<int>()), WireError);
  EXPECT_EQ(there.recv<int>(), 7);
  EXPECT_EQ(there.recv<int>(), 8);
}

TEST_F(ConnectionHereTest, EveryKindOfValueArrives) {
  auto [here, there] = Pipe();
  here.send(true);
  here.send(NoMembers());
  here.send(std::optional<std::tuple<int, Text>>({1, "x"}));
  here.send(Text(100'000, 'z'));
  EXPECT_TRUE(there.recv<bool>());
  static_cast<void>(there.recv<NoMembers>());
  EXPECT_EQ((there.recv<std::optional<std::tuple<int, Text>>>()), std::tuple(1, Text("x")));
  EXPECT_EQ(there.recv<Text>(), Text(100'000, 'z'));
}

TEST_F(ConnectionHereTest, HandlesTravelAndAreHeldMeanwhile) {
  auto [here, there] = Pipe();
  {
    Queue<int> queue;
    queue.put(3);
    here.send(queue);
  }
  EXPECT_EQ(there.recv<Queue<int>>().get(), 3);
  here.send(Queue<int>());  // Never received: freed with the pipe.
  EXPECT_THROW(here.send(there), WireError);
}

TEST_F(ConnectionHereTest, MessagesThatNobodyCanReceiveAnyMoreAreFreed) {
  auto [here, there] = Pipe();
  const std::size_t before = arena_usage().in_use_bytes;
  here.send_bytes(large_bytes());
  here.send_bytes(large_bytes());
  there.close();
  EXPECT_THROW(here.send(1), BrokenPipe);
  EXPECT_EQ(arena_usage().in_use_bytes, before);
}

TEST_F(ConnectionHereTest, WhatWasSentIsReceivedAlthoughTheSenderLeftSomethingUnread) {
  auto [here, there] = Pipe();
  here.send(1);
  there.send(2);
  there.send(Text(100'000, 'x'));
  there.close();
  EXPECT_EQ(here.recv<int>(), 2);
  EXPECT_EQ(here.recv<Text>(), Text(100'000, 'x'));
  EXPECT_THROW(static_cast<void>(here.recv<int>()), EndOfStream);
}

TEST_F(ConnectionHereTest, ManyThreadsAtBothEndsLoseNothing) {
  auto [here, there] = Pipe();
  constexpr int kThreads = 4, kEach = 500;
  std::vector<std::thread> threads;
  std::atomic<long> sum{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const int value = t * kEach + i;
        // Every third is large: parcels and packets of their own must not get in each other's way.
        here.send(std::pair(value, Text(i % 3 == 0 ? 50'000 : 10, static_cast<char>('a' + value % 26))));
      }
    });
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        const auto [value, text] = there.recv<std::pair<int, Text>>();
        if (text.find_first_not_of(static_cast<char>('a' + value % 26)) == Text::npos) sum += value;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sum, static_cast<long>(kThreads * kEach) * (kThreads * kEach - 1) / 2);
}

}  // namespace
}  // namespace tandem
