// Peers of a socket that do not know the key, do not speak the language, are slow, or mean harm.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <tandem/connection.hpp>
#include <tandem/descriptor.hpp>
#include <tandem/listener.hpp>
#include <tandem/queue.hpp>

#include "connection/handshake.hpp"
#include "connection/socket.hpp"
#include "support/leak_checked_test.hpp"
#include "support/random.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using detail::FrameHeader;
using detail::Handshake;
using testing::LeakCheckedTest;

using Text = std::string;
using Role = Handshake::Role;

// Long: on a busy machine a handshake may take seconds.
const SocketOptions kSecret{.key = "secret", .handshake_timeout = 60s};

Text fresh_name() {
  static int number = 0;
  return "unix:@tandem_test_" + std::to_string(::getpid()) + "_" + std::to_string(number++);
}

class StrangerTest : public LeakCheckedTest {
 protected:
  /// Connects without a word.
  static detail::Fd stranger(const Listener& listener) {
    return detail::connect_to(detail::parse_address(listener.address()).front(), detail::Deadline::after(60s));
  }
  static void say(const detail::Fd& to, const Text& text) {
    static_cast<void>(::send(to.get(), text.data(), text.size(), MSG_NOSIGNAL));
  }
  static bool is_cut_off(const detail::Fd& fd) {
    char some[100];
    while (::recv(fd.get(), some, sizeof some, 0) > 0) {
    }
    return true;
  }
};

// PIP-36, PIP-37
TEST_F(StrangerTest, WhoHasAnotherKeyIsTurnedAwayAndOthersAreServed) {
  Listener listener(fresh_name(), kSecret);
  std::thread clients([&] {
    EXPECT_THROW(static_cast<void>(Client(listener.address(), {.key = "wrong", .handshake_timeout = 60s})),
                 AuthenticationError);
    EXPECT_THROW(static_cast<void>(Client(listener.address(), {.key = "", .handshake_timeout = 60s})),
                 AuthenticationError);
    Connection without = Client(listener.address());
    EXPECT_THROW(static_cast<void>(without.recv<int>()), AuthenticationError);
    Client(listener.address(), kSecret).send(7);
  });
  EXPECT_EQ(listener.accept().recv<int>(), 7);
  EXPECT_EQ(listener.rejected(), 3U);
  clients.join();
}

// PIP-13
TEST_F(StrangerTest, AnEmptyKeyWorksIfBothSidesUseIt) {
  for (const Text& address : {fresh_name(), Text("tcp:127.0.0.1:0")}) {
    Listener listener(address, {.key = "", .handshake_timeout = 60s});
    std::thread client([&] { Client(listener.address(), {.key = "", .handshake_timeout = 60s}).send(7); });
    EXPECT_EQ(listener.accept().recv<int>(), 7);
    client.join();
  }
}

TEST_F(StrangerTest, AListenerWithoutAKeyTurnsAwayWhoHasOne) {
  Listener listener(fresh_name());
  std::thread clients([&] {
    EXPECT_THROW(static_cast<void>(Client(listener.address(), kSecret)), AuthenticationError);
    Client(listener.address()).send(7);
  });
  EXPECT_EQ(listener.accept().recv<int>(), 7);
  clients.join();
}

TEST_F(StrangerTest, SilentOnesHoldUpNobody) {
  Listener listener(fresh_name(), kSecret);
  std::vector<detail::Fd> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(stranger(listener));
  std::thread client([&] { Client(listener.address(), kSecret).send(7); });
  EXPECT_EQ(listener.accept().recv<int>(), 7);
  client.join();
}

TEST_F(StrangerTest, SilentOnesAreTurnedAwayInTime) {
  Listener listener(fresh_name(), {.key = "secret", .handshake_timeout = 150ms});
  std::vector<detail::Fd> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(stranger(listener));
  while (listener.rejected() < 20) EXPECT_EQ(listener.accept_for(20ms), std::nullopt);
  for (const detail::Fd& fd : silent) EXPECT_TRUE(is_cut_off(fd));
}

TEST_F(StrangerTest, SlowOnesHoldUpNobody) {
  Listener listener(fresh_name(), kSecret);
  std::atomic<bool> over{false};
  std::thread slow([&] {
    const detail::Fd fd = stranger(listener);
    FrameHeader header;
    header.form = detail::kHelloWithKeyFrame;
    header.size_bytes = 32;
    const Text text(reinterpret_cast<const char*>(&header), sizeof header);
    for (const char byte : text) say(fd, Text(1, byte));
    while (!over) std::this_thread::yield();
  });
  for (int i = 0; i < 5; ++i) {
    std::thread client([&] { Client(listener.address(), kSecret).send(7); });
    EXPECT_EQ(listener.accept().recv<int>(), 7);
    client.join();
  }
  EXPECT_EQ(listener.rejected(), 0U);
  over = true;
  slow.join();
}

TEST_F(StrangerTest, ACrowdOfSilentOnesMakesWayForTheNext) {
  Listener listener(fresh_name(), {.key = "secret", .handshake_timeout = 1h});
  std::vector<detail::Fd> silent;
  for (int i = 0; i < 100; ++i) {
    silent.push_back(stranger(listener));
    EXPECT_EQ(listener.accept_for(0s), std::nullopt);
  }
  EXPECT_EQ(listener.rejected(), 36U);
  std::thread client([&] { Client(listener.address(), kSecret).send(7); });
  EXPECT_EQ(listener.accept().recv<int>(), 7);
  client.join();
}

TEST_F(StrangerTest, NoiseIsTurnedAway) {
  Listener listener(fresh_name(), kSecret);
  auto engine = testing::random_engine();
  for (const std::size_t size : {1, 15, 16, 48, 100, 100'000}) {
    const detail::Fd fd = stranger(listener);
    Text noise(size, '\0');
    for (char& byte : noise) byte = static_cast<char>(engine());
    std::thread saying([&] {
      say(fd, noise);
      ::shutdown(fd.get(), SHUT_WR);
    });
    const std::size_t before = listener.rejected();
    while (listener.rejected() == before) EXPECT_EQ(listener.accept_for(1ms), std::nullopt);
    EXPECT_TRUE(is_cut_off(fd));
    saying.join();
  }
  EXPECT_EQ(listener.rejected(), 6U);
}

// A false listener learns nothing that it could use, and the client is not taken in.
TEST_F(StrangerTest, AFalseListenerIsFoundOut) {
  const Text address = fresh_name();
  const detail::Fd listening = detail::listen_at(detail::parse_address(address).front(), 5);
  std::thread client([&] { EXPECT_THROW(static_cast<void>(Client(address, kSecret)), AuthenticationError); });
  detail::Fd fd;
  for (int error = 0; !fd;) fd = detail::accept_one(listening.get(), error);
  // The whole of what an honest one would say, with another key.
  FrameHeader header;
  header.form = detail::kChallengeFrame;
  header.size_bytes = 32;
  say(fd, Text(reinterpret_cast<const char*>(&header), sizeof header) + Text(32, 'x'));
  header.form = detail::kWelcomeFrame;
  say(fd, Text(reinterpret_cast<const char*>(&header), sizeof header) + Text(32, 'y'));
  client.join();
}

/// Two ends of a socket, one of them bare.
struct HalfBare {
  explicit HalfBare(SocketOptions options = {}) : listener(fresh_name(), options) {
    bare = detail::connect_to(detail::parse_address(listener.address()).front(), detail::Deadline::after(60s));
    Handshake handshake(Role::Client, options.key);
    EXPECT_EQ(::send(bare.get(), handshake.to_send().data(), handshake.to_send().size(), MSG_NOSIGNAL), 48);
    connection = listener.accept();
  }
  void say(const Text& text) const { EXPECT_GT(::send(bare.get(), text.data(), text.size(), MSG_NOSIGNAL), 0); }
  void say_header(std::uint32_t form, std::uint64_t size) const {
    FrameHeader header;
    header.form = form;
    header.size_bytes = size;
    say(Text(reinterpret_cast<const char*>(&header), sizeof header));
  }
  Listener listener;
  detail::Fd bare;
  Connection connection;
};

TEST_F(StrangerTest, ATruncatedMessageIsTheEnd) {
  HalfBare ends;
  ends.say_header(0, 100);
  ends.say("only this");
  EXPECT_EQ(ends.connection.recv_bytes_for(1ms), std::nullopt);
  // Where the rest is read, the beginning must be.
  auto [here, there] = Pipe();
  EXPECT_THROW(here.send(ends.connection), StateError);
  ends.bare.reset();
  EXPECT_THROW(static_cast<void>(ends.connection.recv_bytes()), EndOfStream);
}

TEST_F(StrangerTest, AMessageInManyPiecesArrivesWhole) {
  HalfBare ends;
  FrameHeader header;
  header.size_bytes = 3;
  const Text text = Text(reinterpret_cast<const char*>(&header), sizeof header) + "abc";
  for (const char byte : text) {
    EXPECT_EQ(ends.connection.recv_bytes_for(0s), std::nullopt);
    ends.say(Text(1, byte));
  }
  EXPECT_EQ(ends.connection.recv_bytes().size(), 3U);
}

TEST_F(StrangerTest, WhatIsNoMessageIsAnErrorAndTheEnd) {
  for (int kind = 0; kind < 3; ++kind) {
    HalfBare ends;
    if (kind == 0) ends.say(Text(16, 'x'));
    if (kind == 1) ends.say_header(2, 0);
    if (kind == 2) ends.say_header(1, ~std::uint64_t{0});
    EXPECT_THROW(static_cast<void>(ends.connection.recv_bytes()), WireError);
    EXPECT_THROW(static_cast<void>(ends.connection.recv_bytes()), EndOfStream);
    EXPECT_THROW(ends.connection.send(1), BrokenPipe);
  }
}

TEST_F(StrangerTest, AMessageOverTheLimitIsRefusedBeforeItIsRead) {
  HalfBare ends({.message_limit_bytes = 1000});
  ends.say_header(0, 1000);
  ends.say(Text(1000, 'x'));
  EXPECT_EQ(ends.connection.recv_bytes().size(), 1000U);
  ends.say_header(0, 1001);
  EXPECT_THROW(static_cast<void>(ends.connection.recv_bytes()), WireError);
}

TEST_F(StrangerTest, HandlesFunctionsAndDescriptorsDoNotCrossASocket) {
  Listener listener(fresh_name());
  Connection client = Client(listener.address());
  Connection connection = listener.accept();
  EXPECT_THROW(client.send(Queue<int>()), WireError);
  EXPECT_THROW(client.send(&fresh_name), WireError);
  EXPECT_THROW(client.send(Descriptor::duplicate(STDERR_FILENO)), WireError);
  EXPECT_THROW(client.send(Pipe().first), WireError);
  EXPECT_FALSE(connection.poll());
}

template <class T>
void expect_refused(const T& value) {
  HalfBare ends;
  detail::Encoder encoder(detail::Encoder::Purpose::Message);
  detail::encode(encoder, value);
  ends.say_header(1, encoder.bytes().size());
  ends.say(Text(reinterpret_cast<const char*>(encoder.bytes().data()), encoder.bytes().size()));
  EXPECT_THROW(static_cast<void>(ends.connection.recv<T>()), WireError);
}

// As an evil client would send them, naming what is really there.
TEST_F(StrangerTest, HandlesFunctionsAndDescriptorsFromASocketAreRefused) {
  expect_refused(Queue<int>());
  expect_refused(&fresh_name);
  expect_refused(Descriptor::duplicate(STDERR_FILENO));
  expect_refused(Pipe().first);
}

TEST_F(StrangerTest, AMessageOfWhichAPartIsSentWhenTheTimeIsOverBreaksTheConnection) {
  HalfBare ends;
  const std::vector<std::byte> large(8 << 20);
  EXPECT_THROW(static_cast<void>(ends.connection.send_bytes_for(large, 20ms)), BrokenPipe);
  EXPECT_THROW(ends.connection.send(1), BrokenPipe);
  EXPECT_THROW(static_cast<void>(ends.connection.recv_bytes()), EndOfStream);
}

TEST_F(StrangerTest, APeerThatIsGoneIsABrokenPipe) {
  HalfBare ends;
  ends.bare.reset();
  EXPECT_THROW(static_cast<void>(ends.connection.recv_bytes()), EndOfStream);
  EXPECT_THROW(ends.connection.send_bytes(std::vector<std::byte>(1 << 20)), BrokenPipe);
}

}  // namespace
}  // namespace tandem
