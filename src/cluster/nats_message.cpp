#include "cluster/nats_message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>
#include <vector>

namespace tandem::detail {
namespace {

constexpr std::string_view kVersion = "1";
constexpr std::string_view kNodeLine = "tandem-node 3";
constexpr std::size_t kMaxHostLength = 255;

template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t at = text.find(by);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

bool read_name(std::string_view text, std::string& name) {
  name = text;
  return is_engine_name(name);
}

// NatsNames::client_owner() and node_owner().
bool read_owner(std::string_view text, std::string& owner) {
  if (!text.starts_with("c_") && !text.starts_with("n_")) return false;
  owner = text;
  return is_engine_name(owner.substr(2));
}

bool read_id(const std::vector<std::string_view>& words, std::size_t first, ClusterTaskId& id) {
  return words.size() >= first + 3 && read_name(words[first], id.client) && read_number(words[first + 1], id.number) &&
         read_number(words[first + 2], id.attempt);
}

// The number behind "name": in the flat JSON of a server; it writes no space there, and no such text within strings.
std::uint64_t json_number(std::string_view json, std::string_view name) {
  const std::size_t at = json.find(name);
  if (at == std::string_view::npos) return 0;
  std::string_view rest = json.substr(at + name.size());
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  std::uint64_t number = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), number);
  return number;
}

std::string json_text(std::string_view json, std::string_view name) {
  const std::size_t at = json.find(name);
  if (at == std::string_view::npos) return "unknown";
  std::string_view rest = json.substr(at + name.size());
  rest.remove_prefix(std::min(rest.find('"') + 1, rest.size()));
  return std::string(rest.substr(0, rest.find('"')));
}

}  // namespace

std::string NatsHead::text() const {
  std::string text = fmt::format("{} {} {}", kVersion, id_text(id), node);
  if (elsewhere)
    text += fmt::format(" {} {} {} {} {}", elsewhere->owner, elsewhere->number, elsewhere->pieces, elsewhere->bytes,
                        elsewhere->shared ? 1 : 0);
  return text;
}

std::optional<NatsHead> NatsHead::parse(std::string_view text) {
  const std::vector<std::string_view> words = split(text, ' ');
  NatsHead head;
  if ((words.size() != 5 && words.size() != 10) || words[0] != kVersion || !read_id(words, 1, head.id))
    return std::nullopt;
  if (words[4] != "_" && !read_name(words[4], head.node)) return std::nullopt;
  if (words.size() == 5) return head;
  PieceList list;
  unsigned shared = 0;
  if (!read_owner(words[5], list.owner) || !read_number(words[6], list.number) || !read_number(words[7], list.pieces) ||
      !read_number(words[8], list.bytes) || !read_number(words[9], shared) || shared > 1)
    return std::nullopt;
  // A piece is not empty: the count can be trusted no further than the bytes.
  if (list.pieces == 0 || list.pieces > list.bytes) return std::nullopt;
  list.shared = shared == 1;
  head.elsewhere = list;
  return head;
}

NatsMessage make_message(const std::string& subject, const std::string& reply, const NatsHead* head,
                         const std::string& message_id, std::span<const std::byte> payload) {
  if (payload.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) return nullptr;
  natsMsg* made = nullptr;
  natsStatus status = natsMsg_Create(&made, subject.c_str(), reply.empty() ? nullptr : reply.c_str(),
                                     reinterpret_cast<const char*>(payload.data()), static_cast<int>(payload.size()));
  NatsMessage message(made);
  if (status == NATS_OK && head != nullptr) status = natsMsgHeader_Set(made, NatsHead::kHeader, head->text().c_str());
  if (status == NATS_OK && !message_id.empty()) status = natsMsgHeader_Set(made, "Nats-Msg-Id", message_id.c_str());
  return status == NATS_OK ? std::move(message) : nullptr;
}

std::string id_text(const ClusterTaskId& id) {
  return fmt::format("{} {} {}", id.client, id.number, id.attempt);
}

std::optional<ClusterTaskId> parse_id(std::string_view text) {
  const std::vector<std::string_view> words = split(text, ' ');
  ClusterTaskId id;
  if (words.size() != 3 || !read_id(words, 0, id)) return std::nullopt;
  return id;
}

std::string node_text(const NodeInfo& node, std::size_t max_bytes) {
  std::string text =
      fmt::format("{}\n{}\n{}\n{}\n{} {}\n{}\n", kNodeLine, node.node, node.build_id,
                  node.host.substr(0, kMaxHostLength), node.slots, node.lease_time.count(), node.leaving ? 1 : 0);
  text += fmt::format("{} {}\n", node.cpu_time_ns, node.memory_bytes);
  const auto add = [&](const std::string& line) {
    if (text.size() + line.size() <= max_bytes) text += line;
  };
  for (const ClusterValueId& id : node.wanted) add(fmt::format("{} {}\n", id.client, id.number));
  for (const ClusterTaskId& id : node.running) add(id_text(id) + '\n');
  return text;
}

std::optional<NodeInfo> parse_node(std::string_view text) {
  const std::vector<std::string_view> lines = split(text, '\n');
  NodeInfo node;
  unsigned leaving = 0;
  std::int64_t lease_ms = 0;
  const std::vector<std::string_view> numbers = lines.size() > 4 ? split(lines[4], ' ') : lines;
  if (numbers.size() != 2 || !read_number(numbers[0], node.slots) || !read_number(numbers[1], lease_ms) || lease_ms < 0)
    return std::nullopt;
  node.lease_time = std::chrono::milliseconds(lease_ms);
  if (lines.size() < 8 || lines[0] != kNodeLine || !lines.back().empty() || !read_name(lines[1], node.node) ||
      !read_name(lines[2], node.build_id) || lines[3].size() > kMaxHostLength || !read_number(lines[5], leaving) ||
      leaving > 1)
    return std::nullopt;
  node.host = lines[3];
  node.leaving = leaving == 1;
  const std::vector<std::string_view> usage = split(lines[6], ' ');
  if (usage.size() != 2 || !read_number(usage[0], node.cpu_time_ns) || !read_number(usage[1], node.memory_bytes))
    return std::nullopt;
  for (std::size_t i = 7; i + 1 < lines.size(); ++i) {
    if (const std::vector<std::string_view> words = split(lines[i], ' '); words.size() == 2) {
      ClusterValueId& value = node.wanted.emplace_back();
      if (!read_name(words[0], value.client) || !read_number(words[1], value.number)) return std::nullopt;
      continue;
    }
    std::optional<ClusterTaskId> id = parse_id(lines[i]);
    if (!id) return std::nullopt;
    node.running.push_back(std::move(*id));
  }
  return node;
}

StoredReply not_stored(std::string why) {
  StoredReply reply;
  reply.error = std::move(why);
  return reply;
}

StoredReply parse_stored_reply(natsMsg* message) {
  StoredReply reply;
  if (const int status = status_of(message); status != 0) {
    reply.error = status == 503 ? "the queue is not there" : fmt::format("status {}", status);
    return reply;
  }
  const std::string_view json(natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message)));
  if (json.find("\"error\":") != std::string_view::npos) {
    reply.error = json_text(json, "\"description\":");
    reply.full = reply.error.find("maximum bytes exceeded") != std::string::npos;
    return reply;
  }
  reply.sequence = json_number(json, "\"seq\":");
  reply.duplicate = json.find("\"duplicate\":true") != std::string_view::npos ||
                    json.find("\"duplicate\": true") != std::string_view::npos;
  reply.stored = reply.sequence != 0;
  if (!reply.stored) reply.error = "an answer that cannot be understood";
  return reply;
}

std::uint64_t deliveries_of(std::string_view ack_subject) {
  // $JS.ACK.<stream>.<consumer>.<deliveries>..., newer servers put <domain>.<account> before the stream.
  const std::vector<std::string_view> tokens = split(ack_subject, '.');
  std::uint64_t number = 0;
  const std::size_t at = tokens.size() >= 11 ? 6 : 4;
  return tokens.size() >= 9 && read_number(tokens[at], number) && number > 0 ? number : 1;
}

}  // namespace tandem::detail
