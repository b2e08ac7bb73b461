#include "cluster/nats_agent.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "cluster/nats_engine.hpp"
#include "core/log.hpp"

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr const char* kAnyNode = "_";
// How long a request waits at the server: if it is lost there, so long a task may lie.
constexpr milliseconds kRequest{5000};
// Within which pieces that cannot be had now, as during an election, are asked for again; then their task is put off.
constexpr milliseconds kPiecesPatience{5000};
constexpr milliseconds kPutOff{1000};
// What a client says instead of a heartbeat when it ends.
constexpr std::string_view kEnd = "end";

std::string put_off(milliseconds delay) {
  return fmt::format("-NAK {{\"delay\":{}}}", std::chrono::nanoseconds(delay).count());
}

}  // namespace

NatsAgent::NatsAgent(const EngineOptions& options, const std::vector<EngineServer>& servers, const std::string& node,
                     EngineAgentEvents& events)
    : options_(options),
      node_(node),
      events_(events),
      maker_(
          link_, [this] { ensure(); },
          [this] {
            const MutexGuard guard(mutex_);
            changed();
          }),
      link_(options_, servers, "tandem agent " + node,
            {[this] { keeper_.lost(); }, [this] { keeper_.found_again(); }, [this] { keeper_.wake(); }}),
      queues_(link_, options_),
      leases_(options_.lease_time),
      results_(options_.unstored_bytes, options_.unstored_items),
      clients_(options_.client_silence),
      pieces_(link_, queues_.names(), publisher_, NatsNames::node_owner(node_)),
      publisher_(link_, options_.unstored_bytes, options_.unstored_items),
      renewals_(link_.make_inbox()),
      renewed_(link_, renewals_ + ".>", false, [this](NatsMessage message) { on_renewed(message); }),
      own_(link_, queues_.names().tasks_stream(), pull_callbacks()),
      any_(link_, queues_.names().tasks_stream(), pull_callbacks()),
      cancels_(link_, queues_.names().cancel(node_), false, [this](NatsMessage message) { on_cancel(message); }),
      cancels_of_all_(link_, queues_.names().cancel(kAnyNode), false,
                      [this](NatsMessage message) { on_cancel(message); }),
      heartbeats_(link_, queues_.names().heartbeat("*"), false,
                  [this](NatsMessage message) { on_heartbeat(message); }) {
  ensure_patiently(options_.connect_wait, [this] { ensure(); });
  keeper_.start([this](const NatsKeeper::News& news) { return step(news); });
  maker_.start();
}

NatsAgent::~NatsAgent() {
  stop();
  maker_.stop();
  keeper_.stop();
}

NatsPull::Callbacks NatsAgent::pull_callbacks() {
  return {[this](NatsMessage message) {
            {
              const MutexGuard guard(mutex_);
              if (arrived_.size() < wanted_) {
                arrived_.push_back(std::move(message));
                changed();
                return;
              }
            }
            // Asked for by a lease() that has returned: another agent may be free.
            link_.publish(natsMsg_GetReply(message.get()), "-NAK");
          },
          [this](bool gone) {
            if (gone) maker_.miss();
            const MutexGuard guard(mutex_);
            changed();
          }};
}

bool NatsAgent::ask(std::size_t max, std::array<bool, 2>& looked, const Deadline& deadline) {
  const std::array<NatsPull*, 2> pulls = {&own_, &any_};
  for (NatsPull* pull : pulls) {
    if (pull->stage() != NatsPull::Stage::Overdue) continue;
    maker_.miss();
    pull->forget();
  }
  if (maker_.missing()) return false;
  // First all that there is, then the first one that comes: what would come behind it might not be wanted any more.
  // One after the other, so that not twice as much comes as is wanted: what is sent back counts as a delivery.
  for (std::size_t i = 0; i < pulls.size(); ++i) {
    const NatsPull::Stage stage = pulls[i]->stage();
    // The one that is wanted comes as well by a request that waits: as soon, and without another one before it.
    if (i + 1 == pulls.size() && max == 1 && deadline.left(kRequest) > kLook) looked[i] = true;
    if (!looked[i] && stage == NatsPull::Stage::Idle) {
      std::size_t room = 0;
      {
        const MutexGuard guard(mutex_);
        room = max - std::min(max, arrived_.size());
      }
      if (room > 0 && !pulls[i]->probe(room)) return false;
      looked[i] = true;
      return true;
    }
    if (stage == NatsPull::Stage::Probing) return true;
    if (stage == NatsPull::Stage::Paused) return false;
    looked[i] = true;  // What stands at the server would have got what there is.
  }
  for (NatsPull* pull : pulls) {
    const auto left = std::chrono::ceil<milliseconds>(deadline.left(kRequest));
    if (pull->stage() == NatsPull::Stage::Idle && left.count() > 0 && !pull->stand(1, left)) return false;
  }
  return true;
}

void NatsAgent::gather(std::size_t max, const Deadline& deadline) {
  std::array<bool, 2> looked{};
  bool asked = true;
  for (;;) {
    const bool connected = link_.state() == EngineState::Connected;
    std::uint64_t seen = 0;
    {
      const MutexGuard guard(mutex_);
      wanted_ = max;
      seen = changes_;
      const bool probing =
          connected && (own_.stage() == NatsPull::Stage::Probing || any_.stage() == NatsPull::Stage::Probing);
      if (stopped_ || arrived_.size() >= max || link_.state() == EngineState::Refused) return;
      // However short the time: what is there is looked for, unless that cannot be done now.
      const bool all_looked = !probing && (!connected || !asked || (looked[0] && looked[1]));
      if (all_looked && (deadline.passed() || !arrived_.empty())) return;
    }
    asked = connected && ask(max, looked, deadline);
    const MutexGuard guard(mutex_);
    if (changes_ != seen) continue;
    // While a probe is under way its end is near. A deadline that has passed is met at the next look.
    const auto left = deadline.passed() ? Clock::duration(kPause) : deadline.left(asked ? kLook : kPause);
    changed_.wait_for(mutex_, left);
  }
}

std::vector<TaskLease> NatsAgent::lease(std::size_t max, milliseconds wait) {
  std::vector<TaskLease> leases;
  if (max == 0) return leases;
  gather(max, Deadline::after(wait));
  std::vector<NatsMessage> messages;
  {
    const MutexGuard guard(mutex_);
    wanted_ = 0;
    messages.swap(arrived_);
    const Clock::time_point now = Clock::now();
    leases_.drop_ended(now);
    for (const NatsMessage& message : messages) leases_.add(natsMsg_GetReply(message.get()), now);
  }
  // Large payloads take their time, in which no lease of all these may end.
  std::vector<std::string> acks;
  for (const NatsMessage& message : messages) acks.emplace_back(natsMsg_GetReply(message.get()));
  Clock::time_point renewed_at = Clock::now();
  const auto renew_all = [&] {
    if (Clock::now() - renewed_at < options_.lease_time / 3) return;
    renewed_at = Clock::now();
    for (const std::string& ack : acks) {
      if (!ack.empty()) send_renewal(ack);
    }
  };
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (std::optional<TaskLease> lease = open(std::move(messages[i]), renew_all)) {
      leases.push_back(std::move(*lease));
    } else {
      acks[i].clear();
    }
  }
  return leases;
}

std::optional<TaskLease> NatsAgent::open(NatsMessage message, const std::function<void()>& renew_all) {
  const std::string ack = natsMsg_GetReply(message.get());
  const std::string_view text = header_of(message.get(), NatsHead::kHeader);
  const std::optional<NatsHead> head = NatsHead::parse(text);
  if (!head) {
    log_line(LogLevel::Warning, "a task that cannot be understood is dropped");
    link_.publish(ack, "+ACK");
    return std::nullopt;
  }
  TaskLease lease;
  lease.id = head->id;
  lease.deliveries = deliveries_of(ack);
  if (is_silent(head->id.client)) {
    // Its heartbeat may be behind the task: so not at the first sight.
    if (const std::optional<milliseconds> later = put_off_for(head->id.client)) {
      link_.publish(ack, put_off(*later));
      return std::nullopt;
    }
    log_line(LogLevel::Info, "a task of client {} is dropped, which is silent", head->id.client);
    link_.publish(ack, "+ACK");
    if (head->elsewhere) pieces_.erase(*head->elsewhere);
    return std::nullopt;
  }
  lease.ticket = make_ticket(ack, text);
  if (!head->elsewhere) {
    const std::span<const std::byte> bytes = payload_of(message.get());
    lease.payload.assign(bytes.begin(), bytes.end());
    return lease;
  }
  const NatsPieces::Got got = get_pieces(*head->elsewhere, lease.payload, renew_all);
  if (got == NatsPieces::Got::All) return lease;
  // Without its pieces it is settled by another, or lost, and then missing in the client's census.
  link_.publish(ack, got == NatsPieces::Got::Gone ? std::string("+ACK") : put_off(kPutOff));
  return std::nullopt;
}

// As long as an election takes they are asked for again here: what is put off counts as a delivery.
NatsPieces::Got NatsAgent::get_pieces(const PieceList& list, std::vector<std::byte>& payload,
                                      const std::function<void()>& renew_all) {
  const auto go_on = [&]() TANDEM_EXCLUDES(mutex_) {
    renew_all();
    const MutexGuard guard(mutex_);
    return !stopped_;
  };
  for (const Deadline patience = Deadline::after(kPiecesPatience);;) {
    payload.clear();
    const NatsPieces::Got got = pieces_.get(list, payload, go_on);
    if (got != NatsPieces::Got::Away || patience.passed() || !go_on()) return got;
    const MutexGuard guard(mutex_);
    if (!stopped_) changed_.wait_for(mutex_, kPause);
  }
}

// The server answers to the reply subject when it has renewed the lease; that says which one, and when it was sent.
void NatsAgent::send_renewal(const std::string& ack) const {
  link_.publish(ack, fmt::format("{}.{}.{}", renewals_, Clock::now().time_since_epoch().count(), ack), "+WPI");
}

void NatsAgent::on_renewed(const NatsMessage& message) {
  std::string_view rest = natsMsg_GetSubject(message.get());
  rest.remove_prefix(std::min(renewals_.size() + 1, rest.size()));
  Clock::rep sent = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), sent);
  if (error != std::errc() || end == rest.data() + rest.size()) return;
  const Clock::time_point sent_at{Clock::duration(sent)};
  const MutexGuard guard(mutex_);
  leases_.renewed(std::string(end + 1, rest.data() + rest.size()), sent_at);
}

bool NatsAgent::renew(const TaskLease& lease) {
  const std::string ack = ack_of(lease);
  {
    const MutexGuard guard(mutex_);
    if (!leases_.holds(ack)) return false;
  }
  send_renewal(ack);
  return true;
}

void NatsAgent::give_back(const TaskLease& lease) {
  const std::string ack = ack_of(lease);
  {
    const MutexGuard guard(mutex_);
    leases_.drop(ack);
  }
  link_.publish(ack, "-NAK");
}

bool NatsAgent::is_silent(const std::string& client) {
  const MutexGuard guard(mutex_);
  return clients_.is_silent(client);
}

std::optional<milliseconds> NatsAgent::put_off_for(const std::string& client) {
  const MutexGuard guard(mutex_);
  return clients_.put_off_for(client);
}

void NatsAgent::on_heartbeat(const NatsMessage& message) {
  const std::string_view subject = natsMsg_GetSubject(message.get());
  const std::string client(subject.substr(subject.rfind('.') + 1));
  const std::span<const std::byte> bytes = payload_of(message.get());
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::int64_t silence_ms = 0;
  std::from_chars(text.data(), text.data() + text.size(), silence_ms);
  const MutexGuard guard(mutex_);
  // What a stranger says may be any number.
  clients_.hear(client, text == kEnd, std::clamp(milliseconds(silence_ms), milliseconds(0), kMostEngineTime));
}

// The results that were stored for one that has died are nobody's.
void NatsAgent::forget_silent() {
  std::vector<std::string> dead;
  {
    const MutexGuard guard(mutex_);
    dead = clients_.take_dead();
  }
  for (const std::string& client : dead) {
    log_line(LogLevel::Info, "what there is of client {} is dropped, which is silent", client);
    queues_.withdraw(client, {});
  }
}

std::optional<std::vector<std::byte>> NatsAgent::fetch(const ClusterValueId& id, std::uint64_t bytes) {
  const PieceList list{NatsNames::client_owner(id.client), id.number | NatsNames::kValueBit, bytes, bytes, true};
  std::vector<std::byte> value;
  if (bytes == 0 || pieces_.get(list, value, [] { return true; }) != NatsPieces::Got::All) return std::nullopt;
  return value;
}

void NatsAgent::announce(NodeInfo info) {
  info.node = node_;
  info.build_id = options_.build_id;
  info.lease_time = options_.lease_time;
  std::replace(info.host.begin(), info.host.end(), '\n', ' ');
  link_.publish(queues_.names().announcement(node_), node_text(info, link_.max_payload_bytes()));
}

void NatsAgent::on_cancel(const NatsMessage& message) {
  const std::span<const std::byte> bytes = payload_of(message.get());
  if (const auto id = parse_id({reinterpret_cast<const char*>(bytes.data()), bytes.size()})) events_.on_cancel(*id);
}

void NatsAgent::stop() {
  const MutexGuard guard(mutex_);
  stopped_ = true;
  changed();
}

milliseconds NatsAgent::step(const NatsKeeper::News& news) {
  if (news.lost) {
    own_.forget();
    any_.forget();
    publisher_.lose_all();
  }
  publisher_.expire();
  if (news.found_again) maker_.miss();  // It may be another store.
  if (news.lost || news.found_again) {
    const MutexGuard guard(mutex_);
    clients_.listen_anew();
    changed();
  }
  bool waiting = false;
  {
    const MutexGuard guard(mutex_);
    waiting = results_.has_unsent();
  }
  const EngineState state = link_.state();
  if (state == EngineState::Connected) {
    send_again();
    forget_silent();
  }
  if (state == EngineState::Refused && !std::exchange(refusal_is_told_, true)) events_.on_refused();
  return std::min(waiting ? kPause : kLook, options_.lease_time / 3);
}

void NatsAgent::ensure() {
  const MutexGuard guard(ensure_mutex_);
  const NatsQueues::TaskConsumers names = queues_.ensure_for_node(node_);
  own_.aim(names.own);
  any_.aim(names.any);
}

std::unique_ptr<EngineAgent> connect_nats_agent(EngineOptions options, const std::string& node,
                                                EngineAgentEvents& events) {
  check_engine_name(node, "a node");
  const std::vector<EngineServer> servers = take_servers(options);
  check_engine_options(options, servers);
  return std::make_unique<NatsAgent>(options, servers, node, events);
}

}  // namespace tandem::detail
