// The exchange by which the two sides of a socket find out whether both have the key, without a socket.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "connection/handshake.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem {
namespace {

using detail::FrameHeader;
using detail::Handshake;
using testing::LeakCheckedTest;

using Text = std::string;
using Number = Handshake::Number;
using Role = Handshake::Role;

Number counting_from(unsigned char first) {
  Number number;
  for (std::byte& byte : number) byte = static_cast<std::byte>(first++);
  return number;
}

Text hex(const Number& number) {
  Text text;
  for (const std::byte byte : number) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<unsigned>(byte));
    text += two;
  }
  return text;
}

/// Passes what one side sends to the other until neither has more.
void run_together(Handshake& a, Handshake& b) {
  for (bool moved = true; moved;) {
    moved = false;
    for (auto [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
      while (!from->to_send().empty() && !to->room().empty()) {
        const auto bytes = from->to_send();
        const auto room = to->room();
        const std::size_t size = std::min(bytes.size(), room.size());
        std::memcpy(room.data(), bytes.data(), size);
        from->sent(size);
        to->received(size);
        moved = true;
      }
    }
  }
}

class HandshakeTest : public LeakCheckedTest {};

// PIP-38: of the digests there is one, and no older form
TEST_F(HandshakeTest, TheProofIsTheHmacThatOthersCompute) {
  const Number client = counting_from(0), listener = counting_from(100);
  // python3: hmac.new(key, b"tandem 1 client" + client + listener, hashlib.sha256)
  EXPECT_EQ(hex(Handshake::prove(Role::Client, "secret", client, listener)),
            "f8ec99efddbfcec238b56d05187826594613098b12b669ba1f40a31719a86210");
  EXPECT_EQ(hex(Handshake::prove(Role::Listener, "secret", client, listener)),
            "1c1b3ea55146f3bcb339c6e1e54e5daf79c95bb82a2d78a6813decfd147a2ae2");
  EXPECT_EQ(hex(Handshake::prove(Role::Client, "", client, listener)),
            "b76118fe07e06d68edc76646a9350aff0c0a97ad8ddd26128f81935e74a7a465");
}

// PIP-38
TEST_F(HandshakeTest, BothSidesAgreeIfBothHaveTheKey) {
  for (const std::optional<Text>& key : {std::optional<Text>("secret"), std::optional<Text>(""), std::optional<Text>(),
                                         std::optional<Text>(Text(1000, '\0'))}) {
    Handshake client(Role::Client, key), listener(Role::Listener, key);
    run_together(client, listener);
    EXPECT_TRUE(client.done() && listener.done()) << client.failure() << listener.failure();
  }
}

TEST_F(HandshakeTest, NeitherSideIsDoneIfTheKeysDiffer) {
  const std::optional<Text> keys[] = {"secret", "secreT", "", std::nullopt};
  for (const auto& one : keys)
    for (const auto& other : keys) {
      if (one == other) continue;
      Handshake client(Role::Client, one), listener(Role::Listener, other);
      run_together(client, listener);
      EXPECT_FALSE(listener.done());
      EXPECT_FALSE(listener.failure().empty());
      // A client without a key expects no answer; it is told with its first message.
      if (one) {
        EXPECT_FALSE(client.done());
        EXPECT_FALSE(client.failure().empty());
      }
    }
}

void feed(Handshake& side, detail::FrameForm form, const Number& number) {
  FrameHeader header;
  header.form = form;
  header.size_bytes = number.size();
  const auto head = std::as_bytes(std::span(&header, 1));
  std::vector<std::byte> frame(head.begin(), head.end());
  frame.insert(frame.end(), number.begin(), number.end());
  for (std::size_t at = 0; at < frame.size() && !side.room().empty();) {
    const std::size_t size = std::min(side.room().size(), frame.size() - at);
    std::memcpy(side.room().data(), frame.data() + at, size);
    side.received(size);
    at += size;
  }
}

// PIP-36
TEST_F(HandshakeTest, AWrongAnswerToTheChallengeIsAFailure) {
  Handshake listener(Role::Listener, "secret");
  feed(listener, detail::kHelloWithKeyFrame, Number{});
  EXPECT_FALSE(listener.done());
  feed(listener, detail::kProofFrame, Number{});
  EXPECT_EQ(listener.failure(), "the client does not have the key");
}

// PIP-37
TEST_F(HandshakeTest, AWrongWelcomeFromTheListenerIsAFailure) {
  Handshake client(Role::Client, "secret");
  feed(client, detail::kChallengeFrame, Number{});
  feed(client, detail::kWelcomeFrame, Number{});
  EXPECT_EQ(client.failure(), "the listener does not have the key");
}

// What a side has sent itself is no answer to what it asks.
TEST_F(HandshakeTest, AProofCannotBeReflectedOrReplayed) {
  Handshake client(Role::Client, "secret");
  std::vector<std::byte> said(client.to_send().begin(), client.to_send().end());
  client.sent(said.size());
  Number of_client;
  std::memcpy(of_client.data(), said.data() + sizeof(FrameHeader), of_client.size());
  feed(client, detail::kChallengeFrame, of_client);  // Its own number, thrown back ...
  Number proof;
  std::memcpy(proof.data(), client.to_send().data() + sizeof(FrameHeader), proof.size());
  feed(client, detail::kWelcomeFrame, proof);  // ... and its own proof.
  EXPECT_EQ(client.failure(), "the listener does not have the key");

  Handshake first(Role::Listener, "secret"), second(Role::Listener, "secret");
  feed(first, detail::kHelloWithKeyFrame, of_client);
  feed(second, detail::kHelloWithKeyFrame, of_client);
  Number of_first;
  std::memcpy(of_first.data(), first.to_send().data() + sizeof(FrameHeader), of_first.size());
  feed(second, detail::kProofFrame, Handshake::prove(Role::Client, "secret", of_client, of_first));
  EXPECT_FALSE(second.done());
}

TEST_F(HandshakeTest, WhatDoesNotBelongThereIsAFailure) {
  for (const auto form : {detail::kBytesFrame, detail::kHelloFrame, detail::kProofFrame, detail::kRejectFrame}) {
    Handshake listener(Role::Listener, "secret");
    feed(listener, form, Number{});
    EXPECT_FALSE(listener.failure().empty()) << form;
    EXPECT_TRUE(listener.room().empty());
  }
  Handshake listener(Role::Listener, "secret");
  std::memset(listener.room().data(), 'x', listener.room().size());
  listener.received(listener.room().size());
  EXPECT_EQ(listener.failure(), "the other side does not speak as Tandem does");
}

}  // namespace
}  // namespace tandem
