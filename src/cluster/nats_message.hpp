/// What stands in the messages between clients and agents: heads of tasks and results, announcements.
///
/// All of it comes from others: what is not exactly of the form is no message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cluster/engine.hpp"
#include "cluster/nats_link.hpp"

namespace tandem::detail {

/// A payload in the store of pieces. Value.
struct PieceList {
  /// Who stored it, and that one's number for it: the name of each piece contains both.
  std::string owner{};
  std::uint64_t number = 0;
  std::uint64_t pieces = 0;
  std::uint64_t bytes = 0;
  /// Several read it: who is done with it does not erase it.
  bool shared = false;
};

/// What a message of the queues of tasks and of results says besides its payload, in one header. Value.
struct NatsHead {
  static constexpr const char* kHeader = "Tandem";

  ClusterTaskId id{};
  /// Of a result: who ran it. "_" for a task.
  std::string node = "_";
  /// Where the payload is, if not in this message.
  std::optional<PieceList> elsewhere{};

  /// "1 client 7 1 node", and " owner 3 10 41943040 0" if the payload is elsewhere.
  std::string text() const;
  static std::optional<NatsHead> parse(std::string_view text);
};

/// A message, with a head unless that is null. `message_id`: the store drops another one with the same for some
/// minutes; empty for none. Null if there is no memory, or the payload is over 2 GiB.
NatsMessage make_message(const std::string& subject, const std::string& reply, const NatsHead* head,
                         const std::string& message_id, std::span<const std::byte> payload);

/// An announcement, a line for each thing that it says. At most `max_bytes`, for which it tells fewer running tasks.
std::string node_text(const NodeInfo& node, std::size_t max_bytes);
std::optional<NodeInfo> parse_node(std::string_view text);

/// The text of a cancel message.
std::string id_text(const ClusterTaskId& id);
std::optional<ClusterTaskId> parse_id(std::string_view text);

/// What a server answers to a message that is to be stored. Value.
struct StoredReply {
  bool stored = false;
  bool duplicate = false;  // It had one of that id.
  bool full = false;       // The stream has no room now.
  std::uint64_t sequence = 0;
  std::string error{};
};
StoredReply parse_stored_reply(natsMsg* message);
/// What counts as one if there was none.
StoredReply not_stored(std::string why);

/// How often a task was delivered, by the subject that its message is to be acknowledged at; 1 if that does not say.
std::uint64_t deliveries_of(std::string_view ack_subject);

}  // namespace tandem::detail
