// Descriptors, sockets and connections inside messages and as arguments.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <tuple>
#include <vector>

#include <tandem/connection.hpp>
#include <tandem/descriptor.hpp>
#include <tandem/queue.hpp>

#include "core/system.hpp"
#include "process/descriptors.hpp"
#include "support/where.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::EverywhereTest;
using testing::LeakCheckedTest;
using testing::Worker;

using Text = std::string;

std::pair<Descriptor, Descriptor> socket_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) detail::throw_errno("cannot make sockets");
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

Text read_from(const Descriptor& from) {
  char text[64];
  const ssize_t n = detail::retry_on_signal([&] { return ::read(from.get(), text, sizeof text); });
  return {text, static_cast<std::size_t>(std::max<ssize_t>(n, 0))};
}

void write_to(const Descriptor& to, const Text& text) {
  if (::write(to.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    detail::throw_errno("cannot write");
}

class ConnectionTransferTest : public EverywhereTest {};

void write_to_received(Connection connection) {
  const auto [text, to] = connection.recv<std::tuple<Text, Descriptor>>();
  write_to(to, text);
}

// PIP-05
TEST_P(ConnectionTransferTest, AnOpenDescriptorArrivesAndIsUsable) {
  auto [here, there] = Pipe();
  Worker worker(GetParam(), write_to_received, there);
  worker.start();
  auto [ours, theirs] = socket_pair();
  here.send(std::tuple(Text("hello"), theirs));
  theirs.reset();
  EXPECT_EQ(read_from(ours), "hello");
  worker.join();
  EXPECT_EQ(read_from(ours), "");  // The receiver's descriptor is closed, and so is the sender's.
}

TEST_P(ConnectionTransferTest, ADescriptorArrivesWithALargeMessageToo) {
  auto [here, there] = Pipe();
  Worker worker(
      GetParam(),
      [](Connection connection) {
        const auto [text, to] = connection.recv<std::tuple<Text, Descriptor>>();
        write_to(to, std::to_string(text.size()));
      },
      there);
  worker.start();
  auto [ours, theirs] = socket_pair();
  here.send(std::tuple(Text(100'000, 'x'), theirs));
  theirs.reset();
  EXPECT_EQ(read_from(ours), "100000");
  worker.join();
}

// PIP-06
TEST_P(ConnectionTransferTest, ADescriptorWithALargeNumberArrives) {
  auto [here, there] = Pipe();
  Worker worker(GetParam(), write_to_received, there);
  worker.start();
  auto [ours, theirs] = socket_pair();
  const int large = ::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 300);
  ASSERT_GE(large, 300);
  theirs = Descriptor(large);
  here.send(std::tuple(Text("from 300"), theirs));
  theirs.reset();
  EXPECT_EQ(read_from(ours), "from 300");
  worker.join();
}

void answer_on(Descriptor socket) {
  write_to(socket, "answer to " + read_from(socket));
}

// PIP-24
TEST_P(ConnectionTransferTest, ASocketIsGivenToAChildAtItsStart) {
  auto [ours, theirs] = socket_pair();
  Worker worker(GetParam(), answer_on, theirs);
  worker.start();
  theirs.reset();
  write_to(ours, "you");
  EXPECT_EQ(read_from(ours), "answer to you");
  worker.join();
}

void answer_through(Connection connection) {
  auto inner = connection.recv<Connection>();
  inner.send("answer to " + inner.recv<Text>());
}

// PIP-26: and through a pipe too
TEST_P(ConnectionTransferTest, AConnectionTravelsThroughAPipe) {
  auto [here, there] = Pipe();
  Worker worker(GetParam(), answer_through, there);
  worker.start();
  auto [ours, theirs] = Pipe();
  here.send(theirs);
  theirs = Connection();
  ours.send(Text("you"));
  EXPECT_EQ(ours.recv<Text>(), "answer to you");
  worker.join();
}

// PIP-23
TEST_P(ConnectionTransferTest, OneWayEndsKeepTheirDirectionThroughAPipe) {
  auto [here, there] = Pipe();
  Worker worker(
      GetParam(),
      [](Connection connection) {
        auto [in, out] = connection.recv<std::pair<Connection, Connection>>();
        if (!in.readable() || in.writable() || out.readable() || !out.writable()) throw std::logic_error("directions");
        out.send(in.recv<int>() + 1);
      },
      there);
  worker.start();
  auto [first_in, first_out] = Pipe(Duplex::No);
  auto [second_in, second_out] = Pipe(Duplex::No);
  here.send(std::pair(first_in, second_out));
  first_out.send(1);
  EXPECT_EQ(second_in.recv<int>(), 2);
  worker.join();
}

TANDEM_TEST_EVERYWHERE(ConnectionTransferTest);

class ConnectionTransferHereTest : public LeakCheckedTest {};

// What send() writes in front of a message that has one descriptor; without it.
void send_promise_only(const Connection& connection) {
  auto [here, there] = Pipe();
  here.send(Descriptor::duplicate(STDERR_FILENO));
  std::byte packet[256];
  std::vector<detail::Fd> dropped;
  const iovec part{packet, sizeof packet};
  const detail::Received received = detail::receive_parts(there.fileno(), {&part, 1}, dropped);
  ASSERT_EQ(dropped.size(), 1U);
  ASSERT_EQ(::send(connection.fileno(), packet, static_cast<std::size_t>(received.size_bytes), 0), received.size_bytes);
}

// PIP-07
TEST_F(ConnectionTransferHereTest, DataWithoutThePromisedDescriptorIsAnError) {
  auto [here, there] = Pipe();
  send_promise_only(here);
  try {
    static_cast<void>(there.recv<Descriptor>());
    FAIL() << "there was none";
  } catch (const WireError& error) {
    EXPECT_STREQ(error.what(), "a message came with 0 of the 1 descriptors that it was sent with");
  }
  here.send(1);
  EXPECT_EQ(there.recv<int>(), 1);
}

TEST_F(ConnectionTransferHereTest, ADescriptorForWhichThereIsNoRoomIsAnError) {
  if (testing::kSanitized) GTEST_SKIP() << "the check of virtual calls needs descriptors itself";
  auto [here, there] = Pipe();
  here.send(Descriptor::duplicate(STDERR_FILENO));
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const int next = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
  ::close(next);
  const rlimit none{static_cast<rlim_t>(next), before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_THROW(static_cast<void>(there.recv<Descriptor>()), std::system_error);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST_F(ConnectionTransferHereTest, BytesThatNoConnectionHasSentAreAnError) {
  auto [here, there] = Pipe();
  const std::string junk(40, '\x7f');
  ASSERT_EQ(::send(here.fileno(), "junk", 4, 0), 4);
  ASSERT_EQ(::send(here.fileno(), junk.data(), junk.size(), 0), static_cast<ssize_t>(junk.size()));
  // The form of a parcel that is nowhere.
  const std::uint64_t parcel[4] = {2, 1, 4096, 77};
  ASSERT_EQ(::send(here.fileno(), parcel, sizeof parcel, 0), static_cast<ssize_t>(sizeof parcel));
  for (int i = 0; i < 3; ++i) EXPECT_THROW(static_cast<void>(there.recv_bytes()), WireError);
  here.send(1);
  EXPECT_EQ(there.recv<int>(), 1);
}

TEST_F(ConnectionTransferHereTest, DescriptorsOfAMessageThatIsNotDecodedAreClosed) {
  auto [here, there] = Pipe();
  auto [ours, theirs] = socket_pair();
  here.send(std::vector<Descriptor>{theirs, theirs});
  here.send(std::vector<Descriptor>{theirs});
  theirs.reset();
  EXPECT_THROW(static_cast<void>(there.recv<int>()), WireError);
  there.close();  // The second one is not even received.
  EXPECT_EQ(read_from(ours), "");
}

TEST_F(ConnectionTransferHereTest, WhatCannotTravelIsAnErrorThatSaysSo) {
  auto [here, there] = Pipe();
  auto [ours, theirs] = socket_pair();
  EXPECT_THROW(here.send(std::vector<Descriptor>(254, ours)), std::invalid_argument);
  Connection closed = Pipe().first;
  closed.close();
  EXPECT_THROW(here.send(closed), StateError);
  here.send(Connection());
  EXPECT_TRUE(there.recv<Connection>().closed());
  EXPECT_FALSE(there.poll());
}

}  // namespace
}  // namespace tandem
