#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <tandem/detail/deadline.hpp>

#include "cluster/nats_engine.hpp"
#include "cluster/nats_keeper.hpp"
#include "cluster/nats_link.hpp"
#include "cluster/nats_message.hpp"
#include "cluster/nats_publisher.hpp"
#include "cluster/nats_pull.hpp"
#include "cluster/nats_queue_maker.hpp"
#include "cluster/nats_queues.hpp"
#include "core/log.hpp"
#include "core/mutex.hpp"

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr const char* kAnyNode = "_";
// Results that the server sends ahead.
constexpr std::size_t kResultsAhead = 256;
constexpr milliseconds kResultRequest{5000};
// Not sooner after one another: during an election a server refuses at once.
constexpr milliseconds kEnsurePause{250};
constexpr milliseconds kLook{1000};
// Within the time after which agents take a client for dead.
constexpr int kBeats = 6;
// And so often however long that is: an agent that has not heard it yet has its own idea of silence.
constexpr milliseconds kSlowestBeat{10'000};
// A node that was silent for so long is not one of all nodes; for so long, it is forgotten.
constexpr std::chrono::seconds kSilent{10};
constexpr std::chrono::seconds kForgotten{60};
constexpr std::size_t kMaxNodes = 100'000;
// A large payload gives up if a piece of it waits so long for room or for the connection, and messages behind it.
constexpr milliseconds kLargePatience{2000};
// What agents hear instead of a heartbeat when a client ends.
constexpr const char* kEnd = "end";

class NatsClient final : public EngineClient {
 public:
  NatsClient(const EngineOptions& options, const std::vector<EngineServer>& servers, const std::string& client,
             EngineClientEvents& events);
  ~NatsClient() override;

  bool submit(const ClusterTaskId& id, std::span<const std::byte> payload, const TaskTarget& target,
              milliseconds patience) override TANDEM_EXCLUDES(mutex_);
  void cancel(const ClusterTaskId& id, const std::string& node) override;
  bool store_value(std::uint64_t number, std::span<const std::byte> value, milliseconds patience) override;
  void erase_value(std::uint64_t number) override;
  std::uint64_t most_payload_bytes() const override {
    return queues_.most_payload_bytes(NatsNames::client_owner(client_), pieces_.piece_bytes());
  }
  std::optional<Census> census() override { return queues_.census(client_); }
  void ensure() override TANDEM_EXCLUDES(ensure_mutex_);
  std::vector<SeenNode> nodes() const override TANDEM_EXCLUDES(mutex_);
  EngineState state() const override { return link_.state(); }

 private:
  // A submitted task on its way: one message, or one for each node.
  struct Submission {
    ClusterTaskId id;
    std::vector<std::string> nodes;
    std::optional<PieceList> elsewhere;
    Mutex mutex;
    std::size_t left TANDEM_GUARDED_BY(mutex) = 0;
    std::string error TANDEM_GUARDED_BY(mutex){};
  };
  // One whose payload travels in pieces.
  struct Large {
    std::shared_ptr<Submission> submission;
    std::vector<std::string> receivers;
    std::vector<std::byte> payload;
    bool for_all = false;
  };

  PieceList value_pieces(std::uint64_t number) const;
  std::vector<std::string> subjects_of(const TaskTarget& target) const;
  bool submit_large(Large large, const Deadline& deadline) TANDEM_EXCLUDES(mutex_);
  void send_large() TANDEM_EXCLUDES(mutex_);
  void send_pieces(const Large& large) TANDEM_EXCLUDES(mutex_);
  std::size_t send(const std::shared_ptr<Submission>& submission, const std::vector<std::string>& receivers,
                   const NatsHead& head, std::span<const std::byte> payload, const Deadline& deadline);
  void on_reply(Submission& submission, const StoredReply& reply);
  void on_result(NatsMessage message);
  void on_announcement(NatsMessage message) TANDEM_EXCLUDES(mutex_);
  milliseconds step(const NatsKeeper::News& news) TANDEM_EXCLUDES(mutex_);
  void beat() { link_.publish(queues_.names().heartbeat(client_), std::to_string(options_.client_silence.count())); }
  bool ask_for_results() { return results_.stand(kResultsAhead, kResultRequest); }

  const EngineOptions options_;
  const std::string client_;
  EngineClientEvents& events_;
  Clock::time_point beat_at_{};   // The keeper's.
  bool refusal_is_told_ = false;  // The keeper's.
  NatsKeeper keeper_;
  NatsQueueMaker maker_;
  NatsLink link_;
  NatsQueues queues_;
  Mutex ensure_mutex_;  // The later name is the one that stays.
  mutable Mutex mutex_;
  std::map<std::string, SeenNode> nodes_ TANDEM_GUARDED_BY(mutex_);
  // What travels in pieces, the first one now, by a thread of its own: so long as that takes.
  std::deque<Large> large_ TANDEM_GUARDED_BY(mutex_);
  std::size_t large_bytes_ TANDEM_GUARDED_BY(mutex_) = 0;
  ConditionVariable large_changed_;
  std::thread sender_ TANDEM_GUARDED_BY(mutex_);
  std::atomic<bool> ending_{false};
  std::map<std::string, milliseconds> other_leases_ TANDEM_GUARDED_BY(mutex_);  // By the node that has it.
  // What submit() could not send, to be told by the keeper: not from within a call of the client.
  std::vector<std::shared_ptr<Submission>> unsent_ TANDEM_GUARDED_BY(mutex_);
  // What has subscriptions is last: it ends before what its callbacks use.
  NatsPieces pieces_;
  NatsPublisher publisher_;
  NatsPull results_;
  NatsSubscription announcements_;
};

NatsClient::NatsClient(const EngineOptions& options, const std::vector<EngineServer>& servers,
                       const std::string& client, EngineClientEvents& events)
    : options_(options),
      client_(client),
      events_(events),
      maker_(
          link_, [this] { ensure(); }, [this] { keeper_.wake(); }),
      link_(options_, servers, "tandem client " + client,
            {[this] { keeper_.lost(); }, [this] { keeper_.found_again(); }, [this] { keeper_.wake(); }}),
      queues_(link_, options_),
      pieces_(link_, queues_.names(), publisher_, NatsNames::client_owner(client_)),
      publisher_(link_, options_.unstored_bytes, options_.unstored_items),
      results_(link_, queues_.names().results_stream(),
               {[this](NatsMessage message) { on_result(std::move(message)); },
                [this](bool gone) {
                  if (gone) {
                    maker_.miss();
                  } else if (results_.stage() != NatsPull::Stage::Idle) {
                    keeper_.wake();
                  } else if (!ask_for_results()) {
                    maker_.miss();
                  }
                }}),
      announcements_(link_, queues_.names().announcement("*"), false,
                     [this](NatsMessage message) { on_announcement(std::move(message)); }) {
  ensure_patiently(options_.connect_wait, [this] { ensure(); });
  beat();
  keeper_.start([this](const NatsKeeper::News& news) { return step(news); });
  maker_.start();
}

NatsClient::~NatsClient() {
  std::thread sender;
  {
    const MutexGuard guard(mutex_);
    ending_ = true;
    large_changed_.notify_all();
    sender.swap(sender_);
  }
  if (sender.joinable()) sender.join();
  maker_.stop();
  keeper_.stop();
  // What still runs is not to be stored: so agents hear it before the rest is dropped.
  link_.publish(queues_.names().heartbeat(client_), kEnd);
  queues_.withdraw(client_, results_.consumer());
  if (link_.state() == EngineState::Connected) static_cast<void>(natsConnection_FlushTimeout(link_.get(), 1000));
}

void NatsClient::ensure() {
  const MutexGuard guard(ensure_mutex_);
  results_.aim(queues_.ensure_for_client(client_));
}

std::vector<std::string> NatsClient::subjects_of(const TaskTarget& target) const {
  if (target.kind == TaskTarget::Kind::AnyNode) return {kAnyNode};
  if (target.kind == TaskTarget::Kind::OneNode) {
    check_engine_name(target.node, "a node");
    return {target.node};
  }
  std::vector<std::string> all;
  for (const SeenNode& seen : nodes()) {
    if (seen.info.build_id == options_.build_id && !seen.info.leaving && Clock::now() - seen.heard_at < kSilent)
      all.push_back(seen.info.node);
  }
  return all;
}

bool NatsClient::submit(const ClusterTaskId& id, std::span<const std::byte> payload, const TaskTarget& target,
                        milliseconds patience) {
  if (id.client != client_) throw std::invalid_argument("a task of another client cannot be submitted by this one");
  const Deadline deadline = Deadline::after(patience);
  const std::vector<std::string> receivers = subjects_of(target);
  if (receivers.empty()) return false;
  const bool for_all = target.kind == TaskTarget::Kind::AllNodes;
  const auto submission = std::make_shared<Submission>();
  submission->id = id;
  if (for_all) submission->nodes = receivers;
  {
    const MutexGuard guard(submission->mutex);
    submission->left = receivers.size();
  }
  if (pieces_.too_large(payload.size()))
    return submit_large({submission, receivers, {payload.begin(), payload.end()}, for_all}, deadline);
  NatsHead head;
  head.id = id;
  const std::size_t sent = send(submission, receivers, head, payload, deadline);
  if (sent == 0) return false;
  const MutexGuard guard(mutex_);
  for (std::size_t at = sent; at < receivers.size(); ++at) unsent_.push_back(submission);
  if (sent < receivers.size()) keeper_.wake();
  return true;
}

// Says how many messages are on their way, of which the first may be none.
std::size_t NatsClient::send(const std::shared_ptr<Submission>& submission, const std::vector<std::string>& receivers,
                             const NatsHead& head, std::span<const std::byte> payload, const Deadline& deadline) {
  const ClusterTaskId& id = head.id;
  std::size_t sent = 0;
  for (const std::string& receiver : receivers) {
    const auto done = [this, submission](const StoredReply& reply) { on_reply(*submission, reply); };
    if (!publisher_.publish(queues_.names().task(receiver, client_), &head,
                            fmt::format("{}.{}.{}.{}", client_, id.number, id.attempt, receiver), payload, done,
                            deadline))
      break;
    ++sent;
  }
  return sent;
}

bool NatsClient::submit_large(Large large, const Deadline& deadline) {
  if (!link_.wait_connected(std::chrono::ceil<milliseconds>(deadline.left(std::chrono::hours(24))))) return false;
  const MutexGuard guard(mutex_);
  while (!large_.empty() && large_bytes_ + large.payload.size() > options_.unstored_bytes) {
    if (deadline.passed()) return false;
    large_changed_.wait_for(mutex_, deadline.left(kLook));
  }
  large_bytes_ += large.payload.size();
  large_.push_back(std::move(large));
  if (!sender_.joinable()) sender_ = std::thread([this] { send_large(); });
  large_changed_.notify_all();
  return true;
}

void NatsClient::send_large() {
  for (;;) {
    const Large* next = nullptr;
    {
      const MutexGuard guard(mutex_);
      while (large_.empty() && !ending_) large_changed_.wait(mutex_);
      if (ending_) return;
      next = &large_.front();  // It stays there: only this thread takes any out.
    }
    try {
      send_pieces(*next);
    } catch (const std::exception& error) {
      for (std::size_t left = next->receivers.size(); left > 0; --left)
        on_reply(*next->submission, not_stored(error.what()));
    }
    const MutexGuard guard(mutex_);
    large_bytes_ -= next->payload.size();
    large_.pop_front();
    large_changed_.notify_all();
  }
}

void NatsClient::send_pieces(const Large& large) {
  NatsHead head;
  head.id = large.submission->id;
  head.elsewhere = pieces_.put(large.payload, large.for_all, kLargePatience, [this] { return !ending_; });
  std::size_t sent = 0;
  if (head.elsewhere) {
    large.submission->elsewhere = head.elsewhere;
    sent = send(large.submission, large.receivers, head, {}, Deadline::after(kLargePatience));
    if (sent == 0) pieces_.erase(*head.elsewhere);
  }
  for (; sent < large.receivers.size(); ++sent)
    on_reply(*large.submission,
             not_stored(head.elsewhere ? "it could not be sent in time" : "its payload could not be stored in time"));
}

void NatsClient::on_reply(Submission& submission, const StoredReply& reply) {
  if (reply.stored && !reply.duplicate) queues_.note_task_number(reply.sequence);
  if (!reply.stored && !reply.full) maker_.miss();
  // The message that is there already has pieces of its own. What is not known to be stored keeps its pieces: it may
  // be.
  if (reply.duplicate && submission.elsewhere) pieces_.erase(*submission.elsewhere);
  std::string error;
  {
    const MutexGuard guard(submission.mutex);
    if (!reply.stored) submission.error = reply.error;
    if (--submission.left != 0) return;
    error = submission.error;
  }
  if (error.empty()) {
    events_.on_stored(submission.id, submission.nodes);
  } else {
    events_.on_submit_error(submission.id, error);
  }
}

void NatsClient::cancel(const ClusterTaskId& id, const std::string& node) {
  if (!node.empty()) check_engine_name(node, "a node");
  link_.publish(queues_.names().cancel(node.empty() ? kAnyNode : node), id_text(id));
}

PieceList NatsClient::value_pieces(std::uint64_t number) const {
  return {NatsNames::client_owner(client_), number | NatsNames::kValueBit, 0, 0, false};
}

bool NatsClient::store_value(std::uint64_t number, std::span<const std::byte> value, milliseconds patience) {
  if (value.empty()) throw std::invalid_argument("a value of no bytes needs no store");
  if (!link_.wait_connected(patience)) return false;
  PieceList list = value_pieces(number);
  if (pieces_.put_as(list, value, patience, [] { return true; })) return true;
  maker_.miss();
  return false;
}

void NatsClient::erase_value(std::uint64_t number) {
  pieces_.erase(value_pieces(number));
}

void NatsClient::on_result(NatsMessage message) {
  const std::string ack = natsMsg_GetReply(message.get());
  const std::optional<NatsHead> head = NatsHead::parse(header_of(message.get(), NatsHead::kHeader));
  if (!head || head->id.client != client_) {
    log_line(LogLevel::Warning, "a result that cannot be understood is dropped");
    link_.publish(ack, "+ACK");
    return;
  }
  std::vector<std::byte> result;
  if (head->elsewhere) {
    const NatsPieces::Got got = pieces_.get(*head->elsewhere, result, [&] {
      link_.publish(ack, "+WPI");
      return true;
    });
    if (got == NatsPieces::Got::Away) return;  // It comes again.
    if (got == NatsPieces::Got::Gone) {
      // Then the task is missing in the census.
      log_line(LogLevel::Warning, "the result of task {} is lost with its pieces", head->id.number);
      link_.publish(ack, "+ACK");
      return;
    }
  } else {
    const std::span<const std::byte> bytes = payload_of(message.get());
    result.assign(bytes.begin(), bytes.end());
  }
  message.reset();
  events_.on_result(head->id, head->node, std::move(result));
  link_.publish(ack, "+ACK");
  if (head->elsewhere) pieces_.erase(*head->elsewhere);
}

void NatsClient::on_announcement(NatsMessage message) {
  const std::span<const std::byte> bytes = payload_of(message.get());
  std::optional<NodeInfo> node = parse_node({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  // Nobody speaks for another: a server may be told who may publish what.
  if (!node || natsMsg_GetSubject(message.get()) != queues_.names().announcement(node->node)) return;
  {
    const MutexGuard guard(mutex_);
    std::erase_if(nodes_, [&, now = Clock::now()](const auto& seen) TANDEM_NO_THREAD_SAFETY_ANALYSIS {
      const bool is_gone = now - seen.second.heard_at > kForgotten;
      if (is_gone) other_leases_.erase(seen.first);
      return is_gone;
    });
    if (nodes_.size() >= kMaxNodes && !nodes_.contains(node->node)) return;
    nodes_[node->node] = SeenNode{*node, Clock::now()};
    if (node->lease_time.count() != 0 && node->lease_time != options_.lease_time &&
        node->build_id == options_.build_id &&
        std::exchange(other_leases_[node->node], node->lease_time) != node->lease_time)
      log_line(LogLevel::Warning,
               "node {} has leases of {} ms and this program of {} ms: all of a pool must have the same", node->node,
               node->lease_time.count(), options_.lease_time.count());
  }
  events_.on_node(*node);
}

std::vector<SeenNode> NatsClient::nodes() const {
  const MutexGuard guard(mutex_);
  std::vector<SeenNode> seen;
  for (const auto& [name, node] : nodes_) {
    if (Clock::now() - node.heard_at <= kForgotten) seen.push_back(node);
  }
  return seen;
}

milliseconds NatsClient::step(const NatsKeeper::News& news) {
  if (news.lost) {
    publisher_.lose_all();
    results_.forget();
  }
  publisher_.expire();
  std::vector<std::shared_ptr<Submission>> unsent;
  {
    const MutexGuard guard(mutex_);
    unsent.swap(unsent_);
  }
  for (const auto& submission : unsent) on_reply(*submission, not_stored("it could not be sent in time"));
  if (link_.state() == EngineState::Refused && !std::exchange(refusal_is_told_, true)) events_.on_refused();
  if (link_.state() != EngineState::Connected) return kLook;
  if (news.found_again) maker_.miss();  // It may be another store.
  const milliseconds rhythm = std::min(options_.client_silence / kBeats, kSlowestBeat);
  if (Clock::now() >= beat_at_) {
    beat();
    beat_at_ = Clock::now() + rhythm;
  }
  if (results_.stage() == NatsPull::Stage::Overdue) {
    maker_.miss();
    results_.forget();
  }
  if (maker_.missing()) return kEnsurePause;
  if (results_.stage() == NatsPull::Stage::Paused) return kEnsurePause;
  if (results_.stage() == NatsPull::Stage::Idle && !ask_for_results()) return kEnsurePause;
  return std::min(kLook, rhythm);
}

}  // namespace

std::unique_ptr<EngineClient> connect_nats_client(EngineOptions options, const std::string& client,
                                                  EngineClientEvents& events) {
  check_engine_name(client, "a client");
  const std::vector<EngineServer> servers = take_servers(options);
  check_engine_options(options, servers);
  return std::make_unique<NatsClient>(options, servers, client, events);
}

}  // namespace tandem::detail
