// The texts in messages of NATS: what others send is a message, or is nothing.
#include "cluster/nats_message.hpp"

#include <gtest/gtest.h>

#include <string>

namespace tandem::testing {
namespace {

using detail::ClusterTaskId;
using detail::NatsHead;
using detail::node_text;
using detail::NodeInfo;
using detail::PieceList;
using detail::StoredReply;

TEST(NatsMessageTest, HeadComesBackAsItWas) {
  NatsHead head;
  head.id = {"client-1", 18446744073709551615U, 3};
  EXPECT_EQ(NatsHead::parse(head.text())->id, head.id);
  EXPECT_FALSE(NatsHead::parse(head.text())->elsewhere);
  head.node = "node-a";
  head.elsewhere = PieceList{"c_owner", 7, 10, 41943040, true};
  const auto parsed = NatsHead::parse(head.text());
  ASSERT_TRUE(parsed && parsed->elsewhere);
  EXPECT_EQ(parsed->node, "node-a");
  EXPECT_EQ(parsed->elsewhere->owner, "c_owner");
  EXPECT_EQ(parsed->elsewhere->number, 7U);
  EXPECT_EQ(parsed->elsewhere->pieces, 10U);
  EXPECT_EQ(parsed->elsewhere->bytes, 41943040U);
  EXPECT_TRUE(parsed->elsewhere->shared);
}

TEST(NatsMessageTest, WhatIsNoHeadIsNone) {
  for (const char* text :
       {"", "1", "2 client 7 1 _", "1 client 7 1", "1 cl.ient 7 1 _", "1 client x 1 _", "1 client 7 -1 _",
        "1 client 7 4294967296 _", "1 client 7 1 no*de", "1 client 7 1 _ n_owner 3 10 41943040", "1 client 7 1 _ ",
        "1 client 7 1 _ n_owner 3 10 41943040 2", "1 client 7 1 _ n_owner 3 0 0 0", "1 client 7 1 _ n_owner 3 11 10 0",
        "1 client 7 1 _ > 3 1 10 0", "1 client 7 1 _ owner 3 1 10 0", "1  7 1 _", "1 client 7 1 _\n"})
    EXPECT_FALSE(NatsHead::parse(text)) << text;
}

TEST(NatsMessageTest, AnnouncementComesBackAsItWas) {
  const NodeInfo node{"node-a",
                      "a host",
                      "build-1",
                      64,
                      true,
                      {{"client-1", 1, 1}, {"client-2", 2, 9}},
                      std::chrono::milliseconds(1500),
                      {{"client-1", 7}, {"client-2", ~std::uint64_t{0}}},
                      1'500'000'000,
                      std::uint64_t{1} << 33};
  const auto parsed = detail::parse_node(node_text(node, 1 << 20));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->node, node.node);
  EXPECT_EQ(parsed->host, node.host);
  EXPECT_EQ(parsed->build_id, node.build_id);
  EXPECT_EQ(parsed->slots, node.slots);
  EXPECT_EQ(parsed->leaving, node.leaving);
  EXPECT_EQ(parsed->running, node.running);
  EXPECT_EQ(parsed->lease_time, node.lease_time);
  EXPECT_EQ(parsed->wanted, node.wanted);
  EXPECT_EQ(parsed->cpu_time_ns, node.cpu_time_ns);
  EXPECT_EQ(parsed->memory_bytes, node.memory_bytes);
  // Fewer tasks than there are, but whole lines.
  const auto shorter = detail::parse_node(node_text(node, node_text(node, 1 << 20).size() - 1));
  ASSERT_TRUE(shorter);
  EXPECT_EQ(shorter->running.size(), 1U);
}

TEST(NatsMessageTest, WhatIsNoAnnouncementIsNone) {
  const std::string good = node_text({"node-a", "host", "build-1", 2, false, {{"client-1", 1, 1}}, {}}, 1 << 20);
  ASSERT_TRUE(detail::parse_node(good));
  EXPECT_FALSE(detail::parse_node(""));
  for (std::size_t length = 0; length < good.size(); ++length) {
    const auto parsed = detail::parse_node(good.substr(0, length));
    // Only the line of the task may be missing as a whole.
    EXPECT_TRUE(!parsed || parsed->running.empty()) << length;
  }
  EXPECT_FALSE(detail::parse_node(good + "x"));
  EXPECT_FALSE(detail::parse_node("tandem-node 2" + good.substr(13)));
}

TEST(NatsMessageTest, DeliveriesAreReadFromBothFormsOfTheSubject) {
  EXPECT_EQ(detail::deliveries_of("$JS.ACK.stream.consumer.3.17.21.1795962033149231319.2"), 3U);
  EXPECT_EQ(detail::deliveries_of("$JS.ACK.domain.hash.stream.consumer.4.17.21.1795962033149231319.2"), 4U);
  EXPECT_EQ(detail::deliveries_of("$JS.ACK.domain.hash.stream.consumer.4.17.21.1795962033149231319.2.rnd"), 4U);
  for (const char* text : {"", "nonsense", "$JS.ACK.s.c.x.1.1.1.1", "$JS.ACK.s.c.0.1.1.1.1"})
    EXPECT_EQ(detail::deliveries_of(text), 1U) << text;
}

StoredReply reply_to(const std::string& text) {
  nats_Open(-1);  // Messages are destroyed by a thread of the library.
  natsMsg* made = nullptr;
  natsMsg_Create(&made, "inbox", nullptr, text.data(), static_cast<int>(text.size()));
  const detail::NatsMessage message(made);
  return detail::parse_stored_reply(message.get());
}

TEST(NatsMessageTest, RepliesOfAStoreAreUnderstood) {
  const StoredReply stored = reply_to(R"({"stream":"S", "seq":17})");
  EXPECT_TRUE(stored.stored);
  EXPECT_FALSE(stored.duplicate);
  EXPECT_EQ(stored.sequence, 17U);
  EXPECT_TRUE(reply_to(R"({"stream":"S","seq":3,"duplicate": true})").duplicate);
  const StoredReply refused = reply_to(
      R"({"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"S","seq":0})");
  EXPECT_FALSE(refused.stored);
  EXPECT_EQ(refused.error, "maximum bytes exceeded");
  for (const char* text : {"", "{}", "[", R"({"seq":)", R"({"error":)", R"({"error":{"description":)"})
    EXPECT_FALSE(reply_to(text).stored) << text;
}

}  // namespace
}  // namespace tandem::testing
