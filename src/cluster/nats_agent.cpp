#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <functional>
#include <map>
#include <utility>

#include <tandem/detail/deadline.hpp>

#include "cluster/nats_engine.hpp"
#include "cluster/nats_keeper.hpp"
#include "cluster/nats_link.hpp"
#include "cluster/nats_message.hpp"
#include "cluster/nats_publisher.hpp"
#include "cluster/nats_pull.hpp"
#include "cluster/nats_queues.hpp"
#include "core/log.hpp"
#include "core/mutex.hpp"

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr const char* kAnyNode = "_";
// How long a request waits at the server: if it is lost there, so long a task may lie.
constexpr milliseconds kRequest{5000};
// Not sooner after one another: during an election a server refuses at once.
constexpr milliseconds kPause{250};
constexpr milliseconds kLook{1000};
// Until it is woken.
constexpr std::chrono::hours kIdle{1};
// A task whose pieces cannot be had now, as during an election.
constexpr milliseconds kPutOff{1000};
constexpr milliseconds kPiecesPatience{10000};
// A task of a client that is silent is put off for so many parts of the time after which one is, and dropped after all
// but one of them.
constexpr int kLooksAtSilent = 3;
// What a client says instead of a heartbeat when it ends.
constexpr std::string_view kEnd = "end";
constexpr std::size_t kMaxClients = 100'000;

// A ticket is where the lease is kept, and the head of the task, which says what pieces there are.
std::string ack_of(const TaskLease& lease) {
  return lease.ticket.substr(0, lease.ticket.find(' '));
}
std::optional<NatsHead> head_of(const TaskLease& lease) {
  const std::size_t space = lease.ticket.find(' ');
  return NatsHead::parse(std::string_view(lease.ticket).substr(std::min(space, lease.ticket.size() - 1) + 1));
}

std::string put_off(milliseconds delay) {
  return fmt::format("-NAK {{\"delay\":{}}}", std::chrono::nanoseconds(delay).count());
}

class NatsAgent final : public EngineAgent {
 public:
  NatsAgent(const EngineOptions& options, const std::vector<EngineServer>& servers, const std::string& node,
            EngineAgentEvents& events);
  ~NatsAgent() override;

  std::vector<TaskLease> lease(std::size_t max, milliseconds wait) override TANDEM_EXCLUDES(mutex_);
  bool renew(const TaskLease& lease) override TANDEM_EXCLUDES(mutex_);
  void finish(const TaskLease& lease, std::vector<std::byte> result) override TANDEM_EXCLUDES(mutex_);
  void tell(const TaskLease& lease, std::vector<std::byte> result, unsigned part) override TANDEM_EXCLUDES(mutex_);
  void give_back(const TaskLease& lease) override TANDEM_EXCLUDES(mutex_);
  std::optional<std::vector<std::byte>> fetch(const ClusterValueId& id, std::uint64_t bytes) override;
  bool is_silent(const std::string& client) override TANDEM_EXCLUDES(mutex_);
  bool drain(milliseconds patience) override TANDEM_EXCLUDES(mutex_);
  std::vector<UnstoredResult> take_unstored() override TANDEM_EXCLUDES(mutex_);
  void announce(NodeInfo info) override;
  void stop() override TANDEM_EXCLUDES(mutex_);
  void ensure() override TANDEM_EXCLUDES(ensure_mutex_);
  EngineState state() const override { return link_.state(); }

 private:
  // A result that is not known to be stored.
  struct Finishing {
    std::string ack;
    NatsHead head;      // Of the result.
    unsigned part = 0;  // Of a result of which there is more to come; 0: it ends the lease.
    std::optional<PieceList> of_task;
    std::vector<std::byte> result;
    bool sent = false;
    unsigned times_sent = 0;
    Clock::time_point again_at{};
    Clock::time_point renewed_at = Clock::now();
  };

  // A client: when it was heard last, after what silence it counts as dead, by its own word, and whether results for it
  // were stored.
  struct Heard {
    Clock::time_point at{};
    milliseconds silence{0};
    bool ended = false;
    bool served = false;
  };

  NatsPull::Callbacks pull_callbacks();
  void gather(std::size_t max, const Deadline& deadline) TANDEM_EXCLUDES(mutex_);
  bool ask(std::size_t max, std::array<bool, 2>& looked, const Deadline& deadline) TANDEM_EXCLUDES(mutex_);
  std::optional<TaskLease> open(NatsMessage message, const std::function<void()>& renew_all) TANDEM_EXCLUDES(mutex_);
  void send_renewal(const std::string& ack) const;
  void on_renewed(const NatsMessage& message) TANDEM_EXCLUDES(mutex_);
  bool is_silent(const Heard* heard) const TANDEM_REQUIRES(mutex_);
  std::optional<milliseconds> put_off_for(const std::string& client) TANDEM_EXCLUDES(mutex_);
  void forget_silent() TANDEM_EXCLUDES(mutex_);
  void on_heartbeat(const NatsMessage& message) TANDEM_EXCLUDES(mutex_);
  void hand_over(const TaskLease& lease, std::vector<std::byte> result, unsigned part) TANDEM_EXCLUDES(mutex_);
  bool send(std::uint64_t number, const std::shared_ptr<Finishing>& finishing) TANDEM_EXCLUDES(mutex_);
  void on_reply(std::uint64_t number, const StoredReply& reply) TANDEM_EXCLUDES(mutex_);
  void renew_finishing() TANDEM_EXCLUDES(mutex_);
  void send_again() TANDEM_EXCLUDES(mutex_);
  void miss_queues() {
    ++queues_missed_;
    maker_.wake();
  }
  milliseconds make_queues() TANDEM_EXCLUDES(mutex_);
  void on_cancel(const NatsMessage& message);
  milliseconds step(const NatsKeeper::News& news) TANDEM_EXCLUDES(mutex_);
  void changed() TANDEM_REQUIRES(mutex_) {
    ++changes_;
    changed_.notify_all();
    stored_.notify_all();
  }

  const EngineOptions options_;
  const std::string node_;
  EngineAgentEvents& events_;
  // How often the queues were missed, and up to which of these times they have been made since.
  std::atomic<std::uint64_t> queues_missed_{0};
  std::atomic<std::uint64_t> queues_made_{0};
  bool refusal_is_told_ = false;  // The keeper's.
  NatsKeeper keeper_;
  NatsKeeper maker_;  // Of queues: a server that does not answer is waited for, and no lease may end meanwhile.
  NatsLink link_;
  NatsQueues queues_;
  Mutex ensure_mutex_;  // The later names are those that stay.
  Mutex mutex_;
  ConditionVariable changed_;
  ConditionVariable stored_;  // Apart, so that who waits for tasks is not woken by results.
  std::uint64_t changes_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::size_t wanted_ TANDEM_GUARDED_BY(mutex_) = 0;  // What lease() waits for; 0 while nobody is in it.
  std::vector<NatsMessage> arrived_ TANDEM_GUARDED_BY(mutex_);
  // Leases by where they are kept, and when the last renewal was sent that the server has confirmed. One that is not
  // here is lost, or over.
  std::map<std::string, Clock::time_point> held_ TANDEM_GUARDED_BY(mutex_);
  bool stopped_ TANDEM_GUARDED_BY(mutex_) = false;
  std::map<std::uint64_t, std::shared_ptr<Finishing>> finishing_ TANDEM_GUARDED_BY(mutex_);
  std::map<std::string, Heard> heard_ TANDEM_GUARDED_BY(mutex_);  // Clients.
  // Clients that were not heard when a task of theirs came, and when that was first.
  std::map<std::string, Clock::time_point> missed_ TANDEM_GUARDED_BY(mutex_);
  Clock::time_point listening_since_ TANDEM_GUARDED_BY(mutex_) = Clock::now();
  std::size_t finishing_bytes_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::uint64_t next_finishing_ TANDEM_GUARDED_BY(mutex_) = 0;
  // What has subscriptions is last: it ends before what its callbacks use.
  NatsPieces pieces_;
  NatsPublisher publisher_;
  const std::string renewals_;
  NatsSubscription renewed_;
  NatsPull own_;
  NatsPull any_;
  NatsSubscription cancels_;
  NatsSubscription cancels_of_all_;
  NatsSubscription heartbeats_;
};

NatsAgent::NatsAgent(const EngineOptions& options, const std::vector<EngineServer>& servers, const std::string& node,
                     EngineAgentEvents& events)
    : options_(options),
      node_(node),
      events_(events),
      link_(options_, servers, "tandem agent " + node,
            {[this] { keeper_.lost(); }, [this] { keeper_.found_again(); }, [this] { keeper_.wake(); }}),
      queues_(link_, options_),
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
  maker_.start([this](const NatsKeeper::News&) { return make_queues(); });
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
            if (gone) miss_queues();
            const MutexGuard guard(mutex_);
            changed();
          }};
}

// Asks for tasks; false if that has to wait a moment.
bool NatsAgent::ask(std::size_t max, std::array<bool, 2>& looked, const Deadline& deadline) {
  const std::array<NatsPull*, 2> pulls = {&own_, &any_};
  for (NatsPull* pull : pulls) {
    if (pull->stage() != NatsPull::Stage::Overdue) continue;
    miss_queues();
    pull->forget();
  }
  if (queues_made_ != queues_missed_) return false;
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
    // Whose owner does not ask any more.
    std::erase_if(held_, [&](const auto& held) { return now - held.second >= options_.lease_time; });
    for (const NatsMessage& message : messages) held_[natsMsg_GetReply(message.get())] = now;
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

// The task of a message; empty if there is none, or not now.
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
  lease.ticket = fmt::format("{} {}", ack, text);
  if (!head->elsewhere) {
    const std::span<const std::byte> bytes = payload_of(message.get());
    lease.payload.assign(bytes.begin(), bytes.end());
    return lease;
  }
  const NatsPieces::Got got = pieces_.get(*head->elsewhere, lease.payload, renew_all);
  if (got == NatsPieces::Got::All) return lease;
  // Without its pieces it is settled by another, or lost, and then missing in the client's census.
  link_.publish(ack, got == NatsPieces::Got::Gone ? std::string("+ACK") : put_off(kPutOff));
  return std::nullopt;
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
  const auto held = held_.find(std::string(end + 1, rest.data() + rest.size()));
  // One that was sent too late was confirmed for another agent's lease of the same task.
  if (held != held_.end() && sent_at > held->second && sent_at - held->second < options_.lease_time)
    held->second = sent_at;
}

bool NatsAgent::renew(const TaskLease& lease) {
  const std::string ack = ack_of(lease);
  {
    const MutexGuard guard(mutex_);
    const auto held = held_.find(ack);
    if (held == held_.end()) return false;
    if (Clock::now() - held->second >= options_.lease_time) {
      held_.erase(held);
      return false;
    }
  }
  send_renewal(ack);
  return true;
}

void NatsAgent::give_back(const TaskLease& lease) {
  const std::string ack = ack_of(lease);
  {
    const MutexGuard guard(mutex_);
    held_.erase(ack);
  }
  link_.publish(ack, "-NAK");
}

// Whether it has ended, or was not heard for so long that it would have been.
bool NatsAgent::is_silent(const std::string& client) {
  const MutexGuard guard(mutex_);
  const auto heard = heard_.find(client);
  return is_silent(heard != heard_.end() ? &heard->second : nullptr);
}

bool NatsAgent::is_silent(const Heard* heard) const {
  if (heard != nullptr && heard->ended) return true;
  const Clock::time_point since = Clock::now() - (heard != nullptr ? heard->silence : options_.client_silence);
  return listening_since_ <= since && (heard == nullptr || heard->at < since);
}

// How much later a task of a silent client is to be looked at again; empty if it was long enough. How often it was
// handed out says nothing: that counts what agents gave back, too.
std::optional<milliseconds> NatsAgent::put_off_for(const std::string& client) {
  const MutexGuard guard(mutex_);
  const auto heard = heard_.find(client);
  if (heard != heard_.end() && heard->second.ended) return std::nullopt;
  const milliseconds part = (heard != heard_.end() ? heard->second.silence : options_.client_silence) / kLooksAtSilent;
  const Clock::time_point now = Clock::now();
  if (missed_.size() >= kMaxClients) missed_.clear();
  const Clock::time_point since = missed_.emplace(client, now).first->second;
  return now - since < part * (kLooksAtSilent - 1) ? std::optional(part) : std::nullopt;
}

void NatsAgent::on_heartbeat(const NatsMessage& message) {
  const std::string_view subject = natsMsg_GetSubject(message.get());
  const std::string client(subject.substr(subject.rfind('.') + 1));
  const std::span<const std::byte> bytes = payload_of(message.get());
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::int64_t silence_ms = 0;
  std::from_chars(text.data(), text.data() + text.size(), silence_ms);
  const MutexGuard guard(mutex_);
  missed_.erase(client);
  const auto found = heard_.find(client);
  if (found == heard_.end() && heard_.size() >= kMaxClients) return;
  Heard& heard = found != heard_.end() ? found->second : heard_[client];
  if (found == heard_.end()) heard.silence = options_.client_silence;
  heard.at = Clock::now();
  heard.ended = text == kEnd;
  if (!heard.ended) heard.silence = silence_ms > 0 ? milliseconds(silence_ms) : options_.client_silence;
}

// The results that were stored for one that has died are nobody's.
void NatsAgent::forget_silent() {
  std::vector<std::string> dead;
  {
    const MutexGuard guard(mutex_);
    const Clock::time_point now = Clock::now();
    std::erase_if(heard_, [&](const auto& heard) TANDEM_NO_THREAD_SAFETY_ANALYSIS {
      if (!is_silent(&heard.second) || now - heard.second.at < heard.second.silence) return false;
      if (heard.second.served) dead.push_back(heard.first);
      return true;
    });
  }
  for (const std::string& client : dead) {
    log_line(LogLevel::Info, "what there is of client {} is dropped, which is silent", client);
    queues_.withdraw(client, {});
  }
}

void NatsAgent::finish(const TaskLease& lease, std::vector<std::byte> result) {
  hand_over(lease, std::move(result), 0);
}

void NatsAgent::tell(const TaskLease& lease, std::vector<std::byte> result, unsigned part) {
  hand_over(lease, std::move(result), part);
}

void NatsAgent::hand_over(const TaskLease& lease, std::vector<std::byte> result, unsigned part) {
  const std::optional<NatsHead> task = head_of(lease);
  if (!task) throw std::invalid_argument("a lease that is of no engine");
  if (is_silent(lease.id.client)) {
    // Stored, it would stay: nobody takes it.
    if (part > 0) return;
    link_.publish(ack_of(lease), "+ACK");
    if (task->elsewhere) pieces_.erase(*task->elsewhere);
    const MutexGuard guard(mutex_);
    held_.erase(ack_of(lease));
    return;
  }
  const auto finishing = std::make_shared<Finishing>();
  finishing->ack = ack_of(lease);
  finishing->part = part;
  finishing->head.id = lease.id;
  finishing->head.node = node_;
  if (part == 0) finishing->of_task = task->elsewhere;
  finishing->result = std::move(result);
  std::uint64_t number = 0;
  {
    const MutexGuard guard(mutex_);
    while (!finishing_.empty() && !stopped_ && link_.state() != EngineState::Refused &&
           (finishing_bytes_ + finishing->result.size() > options_.unstored_bytes ||
            finishing_.size() >= options_.unstored_items))
      stored_.wait_for(mutex_, kLook);
    number = next_finishing_++;
    finishing->sent = true;
    finishing_.emplace(number, finishing);
    finishing_bytes_ += finishing->result.size();
    if (part == 0) held_.erase(finishing->ack);
    // One that was not heard yet is to be missed, too.
    if (heard_.size() < kMaxClients)
      heard_.try_emplace(lease.id.client, Heard{Clock::now(), options_.client_silence}).first->second.served = true;
  }
  if (!send(number, finishing)) on_reply(number, not_stored("not connected"));
}

bool NatsAgent::send(std::uint64_t number, const std::shared_ptr<Finishing>& finishing) {
  // Only who has set `sent` is here, so what follows is one's own until on_reply().
  NatsHead& head = finishing->head;
  std::span<const std::byte> payload = finishing->result;
  if (pieces_.too_large(payload.size())) {
    if (link_.state() != EngineState::Connected) return false;
    // The keeper may be here itself: what it does in time goes on.
    const auto go_on = [this] {
      publisher_.expire();
      renew_finishing();
      return !keeper_.stopping();
    };
    if (!head.elsewhere) head.elsewhere = pieces_.put(payload, false, kPiecesPatience, go_on);
    if (!head.elsewhere) return false;
    payload = {};
  }
  ++finishing->times_sent;
  std::string message_id = fmt::format("{}.{}.{}.{}", head.id.client, head.id.number, head.id.attempt, node_);
  if (finishing->part > 0) message_id += fmt::format(".{}", finishing->part);
  return publisher_.publish(
      queues_.names().result(head.id.client), &head, message_id, payload,
      [this, number](const StoredReply& reply) { on_reply(number, reply); }, Deadline::now());
}

void NatsAgent::on_reply(std::uint64_t number, const StoredReply& reply) {
  std::shared_ptr<Finishing> finishing;
  {
    const MutexGuard guard(mutex_);
    const auto found = finishing_.find(number);
    if (found == finishing_.end()) return;
    finishing = found->second;
    if (!reply.stored) {
      finishing->sent = false;
      finishing->again_at = Clock::now() + kPause;
    }
  }
  if (!reply.stored) {
    if (!reply.full) miss_queues();
    return;
  }
  // Only now: the other way round a task would be lost whose result is on its way when the server dies.
  if (finishing->part == 0) link_.publish(finishing->ack, "+ACK");
  if (finishing->of_task) pieces_.erase(*finishing->of_task);
  // The result of an earlier run is there, with pieces of its own; unless it is this one, sent a second time.
  if (reply.duplicate && finishing->times_sent == 1 && finishing->head.elsewhere)
    pieces_.erase(*finishing->head.elsewhere);
  {
    // Behind all of that: when drain() returns this process may end.
    const MutexGuard guard(mutex_);
    if (finishing_.erase(number) == 0) return;
    finishing_bytes_ -= finishing->result.size();
    stored_.notify_all();
  }
  if (finishing->part == 0) events_.on_finished(finishing->head.id);
}

void NatsAgent::renew_finishing() {
  const MutexGuard guard(mutex_);
  for (auto& [number, finishing] : finishing_) {
    if (finishing->part > 0 || Clock::now() - finishing->renewed_at < options_.lease_time / 3) continue;
    finishing->renewed_at = Clock::now();
    link_.publish(finishing->ack, "+WPI");
  }
}

void NatsAgent::send_again() {
  renew_finishing();
  std::vector<std::pair<std::uint64_t, std::shared_ptr<Finishing>>> due;
  {
    const MutexGuard guard(mutex_);
    for (auto& [number, finishing] : finishing_) {
      if (finishing->sent || Clock::now() < finishing->again_at) continue;
      finishing->sent = true;
      due.emplace_back(number, finishing);
    }
  }
  for (auto& [number, finishing] : due) {
    if (!send(number, finishing)) on_reply(number, not_stored("not connected"));
  }
}

std::optional<std::vector<std::byte>> NatsAgent::fetch(const ClusterValueId& id, std::uint64_t bytes) {
  const PieceList list{NatsNames::client_owner(id.client), id.number | NatsNames::kValueBit, bytes, bytes, true};
  std::vector<std::byte> value;
  if (bytes == 0 || pieces_.get(list, value, [] {}) != NatsPieces::Got::All) return std::nullopt;
  return value;
}

bool NatsAgent::drain(milliseconds patience) {
  const Deadline deadline = Deadline::after(patience);
  const MutexGuard guard(mutex_);
  while (!finishing_.empty() && !deadline.passed() && link_.state() != EngineState::Refused)
    stored_.wait_for(mutex_, deadline.left(kLook));
  return finishing_.empty();
}

std::vector<UnstoredResult> NatsAgent::take_unstored() {
  std::vector<UnstoredResult> all;
  const MutexGuard guard(mutex_);
  if (link_.state() != EngineState::Refused) return all;
  // Copied: the keeper may be about to send one.
  for (const auto& [number, finishing] : std::exchange(finishing_, {}))
    all.push_back({finishing->head.id, finishing->result});
  finishing_bytes_ = 0;
  changed();
  return all;
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
  if (news.found_again) miss_queues();  // It may be another store.
  if (news.lost || news.found_again) {
    const MutexGuard guard(mutex_);
    listening_since_ = Clock::now();
    changed();
  }
  bool waiting = false;
  {
    const MutexGuard guard(mutex_);
    waiting = std::any_of(finishing_.begin(), finishing_.end(), [](const auto& one) { return !one.second->sent; });
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

// If they are missing. Says when to look again.
milliseconds NatsAgent::make_queues() {
  const std::uint64_t missed = queues_missed_;
  if (queues_made_ == missed || link_.state() != EngineState::Connected) return kIdle;
  try {
    ensure();
  } catch (const EngineError& error) {
    log_line(LogLevel::Info, "{}", error.what());
    return kPause;
  }
  queues_made_ = missed;
  const MutexGuard guard(mutex_);
  changed();
  return queues_missed_ == missed ? kIdle : kPause;
}

}  // namespace

std::unique_ptr<EngineAgent> connect_nats_agent(EngineOptions options, const std::string& node,
                                                EngineAgentEvents& events) {
  check_engine_name(node, "a node");
  const std::vector<EngineServer> servers = take_servers(options);
  check_engine_options(options, servers);
  return std::make_unique<NatsAgent>(options, servers, node, events);
}

}  // namespace tandem::detail
