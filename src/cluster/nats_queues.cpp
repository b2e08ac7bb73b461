#include "cluster/nats_queues.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>
#include <tuple>
#include <utility>

#include <tandem/detail/deadline.hpp>

#include "core/log.hpp"

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// Within this time a message that is sent twice is stored once.
constexpr std::chrono::minutes kDuplicates{2};
// A client acknowledges a result when it has it, which takes no longer.
constexpr milliseconds kResultWait{10000};
// Leases at the same time, of all agents: set, because the default is far too low for a large pool.
constexpr std::int64_t kMaxLeases = 1'000'000;
// Requests at the same time: each idle agent has one, and the server's default is 512.
constexpr std::int64_t kMaxRequests = 100'000;
// What takes longer to be answered counts as silence, and after how often a consumer counts as deaf: to make it anew
// has tasks run twice that are leased.
constexpr milliseconds kAnswerWait{2000};
constexpr unsigned kSilentTimes = 3;
// Two counts that are asked for one after the other may differ, but hardly so often in a row.
constexpr unsigned kIgnoringTimes = 4;
constexpr const char* kAny = "_";
// Of tasks, of results, and of the pieces of each.
constexpr std::int64_t kStreams = 4;
// A stream that takes less is of no use: a piece is up to 4 MiB.
constexpr std::int64_t kLeastBytes = std::int64_t{16} << 20;

// What the store takes for a piece besides its bytes: its subject, its headers, its place in the file. A good deal
// less.
constexpr std::uint64_t kPieceCost = 512;

std::int64_t in_ns(nanoseconds time) {
  return time.count();
}

// In a cluster of servers the one that decides finds nobody who has it.
bool is_want_of_room(jsErrCode code) {
  return code == JSStorageResourcesExceededErr || code == JSMemoryResourcesExceededErr ||
         code == JSInsufficientResourcesErr || code == JSAccountResourcesExceededErr || code == JSClusterNoPeersErr;
}

[[noreturn]] void fail(const std::string& what, natsStatus status, jsErrCode code) {
  if (code == JSNotEnabledErr || code == JSNotEnabledForAccountErr || status == NATS_NO_RESPONDERS)
    throw EngineError(what + ": the server offers no JetStream (now)");
  const char* const text = code != 0 ? nats_GetLastError(nullptr) : nullptr;  // In the server's words.
  throw EngineError(fmt::format("{}: {} (JetStream {})", what, text != nullptr ? text : natsStatus_GetText(status),
                                static_cast<int>(code)));
}

}  // namespace

NatsNames::NatsNames(const EngineOptions& options)
    : prefix_("tandem." + options.pool),
      build_(options.build_id),
      tasks_stream_("tandem_tasks_" + options.pool),
      results_stream_("tandem_results_" + options.pool),
      task_pieces_stream_("tandem_pieces_" + options.pool),
      result_pieces_stream_("tandem_result_pieces_" + options.pool) {}

std::string NatsNames::task(const std::string& node, const std::string& client) const {
  return fmt::format("{}.t.{}.{}.{}", prefix_, build_, node, client);
}

std::string NatsNames::node_of_task(const std::string& subject) const {
  const std::size_t start = prefix_.size() + 3 + build_.size() + 1;
  return start < subject.size() ? subject.substr(start, subject.find('.', start) - start) : std::string();
}

std::string NatsNames::pieces(const std::string& owner, const std::string& number) const {
  return fmt::format("{}.{}.{}.*", pieces_prefix(owner), owner, number);
}

std::string NatsNames::piece(const std::string& owner, std::uint64_t number, std::uint64_t index) const {
  return fmt::format("{}.{}.{}.{}", pieces_prefix(owner), owner, number, index);
}

std::string NatsNames::any_consumer(std::int64_t created) const {
  return fmt::format("any_{}_{}", created, build_);
}

std::string NatsNames::node_consumer(std::int64_t created, const std::string& node) const {
  // With the length: names may contain any separator.
  return fmt::format("node_{}_{}_{}_{}", created, build_.size(), build_, node);
}

std::string NatsNames::client_consumer(std::int64_t created, const std::string& client) const {
  return fmt::format("client_{}_{}", created, client);
}

// Empty if the server has no room for a stream of that size.
std::optional<NatsQueues::Ensured> NatsQueues::ensure_stream(const Wanted& wanted, const Share& share) {
  jsErrCode code{};
  jsStreamInfo* made = nullptr;
  natsStatus status = NATS_OK;
  NatsOwner<jsStreamInfo> info = find(wanted.name);
  if (info == nullptr) {
    jsStreamConfig config{};
    jsStreamConfig_Init(&config);
    const char* list[] = {wanted.subjects.c_str()};
    config.Name = wanted.name.c_str();
    config.Subjects = list;
    config.SubjectsLen = 1;
    config.Retention = wanted.queue ? js_WorkQueuePolicy : js_LimitsPolicy;
    config.Storage = options_.in_memory ? js_MemoryStorage : js_FileStorage;
    config.Replicas = options_.replicas;
    config.MaxAge = in_ns(options_.max_age);
    config.MaxBytes = share.bytes;
    config.Discard = js_DiscardNew;
    config.Duplicates = in_ns(kDuplicates);
    config.AllowDirect = !wanted.queue;
    config.MaxMsgsPerSubject = wanted.queue ? -1 : 1;
    status = js_AddStream(&made, link_.requests(), &config, nullptr, &code);
    info.reset(made);
    // Another one was quicker.
    if (code == JSStreamNameExistErr) info = find(wanted.name);
    if (info == nullptr) {
      if (is_want_of_room(code)) return std::nullopt;
      fail("cannot make the queue " + wanted.name, status, code);
    }
  }
  // One that somebody has made with other ages is as good; what is kept on fewer servers than is wanted here is not.
  const bool too_large = share.fresh && info->Config->MaxBytes > share.bytes;
  if (!too_large && info->Config->Replicas >= options_.replicas) return Ensured{info->Created, info->Config->MaxBytes};
  if (too_large) info->Config->MaxBytes = share.bytes;
  info->Config->Replicas = std::max<std::int64_t>(info->Config->Replicas, options_.replicas);
  status = js_UpdateStream(nullptr, link_.requests(), info->Config, nullptr, &code);
  if (status != NATS_OK && is_want_of_room(code)) return std::nullopt;
  if (status != NATS_OK) fail("cannot change the queue " + wanted.name, status, code);
  return Ensured{info->Created, info->Config->MaxBytes};
}

// Null if there is none.
NatsOwner<jsStreamInfo> NatsQueues::find(const std::string& stream) const {
  jsErrCode code{};
  jsStreamInfo* made = nullptr;
  const natsStatus status = js_GetStreamInfo(&made, link_.requests(), stream.c_str(), nullptr, &code);
  NatsOwner<jsStreamInfo> info(made);
  if (status == NATS_NOT_FOUND || code == JSStreamNotFoundErr) return nullptr;
  if (status != NATS_OK || made == nullptr) fail("cannot look at the queue " + stream, status, code);
  return info;
}

// A consumer that has the name of an older stream would stand in the way of the right one.
void NatsQueues::check_still(const std::string& stream, std::int64_t created,
                             const std::vector<std::string>& consumers) const {
  const NatsOwner<jsStreamInfo> info = find(stream);
  if (info != nullptr && info->Created == created) return;
  for (const std::string& consumer : consumers)
    static_cast<void>(js_DeleteConsumer(link_.requests(), stream.c_str(), consumer.c_str(), nullptr, nullptr));
  throw EngineError("the queue " + stream + " was made anew at the same time");
}

// Up to 2.9.15 a server takes requests for a stream that another connection is just making. A consumer that is made in
// that moment is deaf for good: it counts what it hands out, and sends nothing (nats-server#4013).
void NatsQueues::ensure_consumer(const std::string& stream, const std::string& name, const std::string& filter,
                                 milliseconds ack_wait) {
  const std::int64_t created = add_consumer(stream, name, filter, ack_wait);
  Silence& silence = silent_[name];
  if (silence.created != created) silence = {created, 0};
  if (silence.times >= kSilentTimes) {
    log_line(LogLevel::Warning, "the consumer {} does not answer and is made anew", name);
    static_cast<void>(js_DeleteConsumer(link_.requests(), stream.c_str(), name.c_str(), nullptr, nullptr));
    silence = {add_consumer(stream, name, filter, ack_wait), 0};
  }
  if (!answers(stream, name)) {
    ++silence.times;
    throw EngineError("the consumer " + name + " does not answer");
  }
  silent_.erase(name);
}

// By a request that cannot be understood, so that nothing is handed out: it is refused on the way that messages take.
bool NatsQueues::answers(const std::string& stream, const std::string& consumer) const {
  natsMsg* made = nullptr;
  const natsStatus status = natsConnection_RequestString(
      &made, link_.get(), fmt::format("$JS.API.CONSUMER.MSG.NEXT.{}.{}", stream, consumer).c_str(),
      "{\"batch\":\"none\"}", kAnswerWait.count());
  const NatsMessage answer(made);
  if (status != NATS_OK && status != NATS_TIMEOUT) fail("cannot ask the consumer " + consumer, status, jsErrCode{});
  return status == NATS_OK;
}

std::int64_t NatsQueues::add_consumer(const std::string& stream, const std::string& name, const std::string& filter,
                                      milliseconds ack_wait) const {
  jsConsumerConfig config{};
  jsConsumerConfig_Init(&config);
  config.Durable = name.c_str();
  config.FilterSubject = filter.c_str();
  config.AckPolicy = js_AckExplicit;
  config.AckWait = in_ns(ack_wait);
  config.MaxDeliver = -1;  // Clients count attempts: what the server gives up would be lost in silence.
  config.MaxAckPending = kMaxLeases;
  config.MaxWaiting = kMaxRequests;
  config.InactiveThreshold = in_ns(options_.max_age);
  jsErrCode code{};
  jsConsumerInfo* made = nullptr;
  natsStatus status = js_AddConsumer(&made, link_.requests(), stream.c_str(), &config, nullptr, &code);
  if (code == JSConsumerCreateErr) {
    // The server removes the folder of a deleted stream a moment later, and with it that of a consumer which the next
    // stream of the name has already. That one cannot be changed any more; without it another one can be made.
    static_cast<void>(js_DeleteConsumer(link_.requests(), stream.c_str(), name.c_str(), nullptr, nullptr));
    status = js_AddConsumer(&made, link_.requests(), stream.c_str(), &config, nullptr, &code);
  }
  const NatsOwner<jsConsumerInfo> info(made);
  if (status != NATS_OK || made == nullptr) fail("cannot make the consumer " + name, status, code);
  return made->Created;
}

NatsQueues::Made NatsQueues::ensure_streams() {
  if (link_.state() != EngineState::Connected) throw EngineError("cannot make the queues: the engine is away");
  // The tasks' is made last: as long as it is not there, nothing has used the others, and their sizes can be changed.
  const NatsOwner<jsStreamInfo> tasks = find(names_.tasks_stream());
  Share share{static_cast<std::int64_t>(options_.store_bytes) / kStreams, tasks == nullptr};
  // A server promises each stream its size, and refuses one for which it has no room left.
  for (const std::int64_t wanted = share.bytes; share.bytes >= kLeastBytes; share.bytes /= 2) {
    const std::optional<Made> made = ensure_streams(share);
    if (!made) continue;
    // Not all that there is: another pool may come.
    if (share.bytes < wanted && share.bytes / 2 >= kLeastBytes)
      static_cast<void>(ensure_streams({share.bytes / 2, share.fresh}));
    return *made;
  }
  throw EngineError(fmt::format("the server has no room for the queues of the pool {}: not even for {} times {} MiB",
                                options_.pool, kStreams, kLeastBytes >> 20));
}

std::optional<NatsQueues::Made> NatsQueues::ensure_streams(const Share& share) {
  const auto results = ensure_stream({names_.results_stream(), names_.all_results()}, share);
  if (!results) return std::nullopt;
  for (const std::string& owner : {NatsNames::node_owner(""), NatsNames::client_owner("")}) {
    const auto pieces = ensure_stream({names_.pieces_stream(owner), names_.all_pieces(owner), false}, share);
    if (!pieces) return std::nullopt;
    (NatsNames::is_client(owner) ? task_pieces_bytes_ : result_pieces_bytes_) = pieces->most_bytes;
  }
  const auto tasks = ensure_stream({names_.tasks_stream(), names_.all_tasks()}, share);
  if (!tasks) return std::nullopt;
  return Made{tasks->created, results->created};
}

NatsQueues::TaskConsumers NatsQueues::ensure_for_node(const std::string& node) {
  const MutexGuard guard(mutex_);
  const Made made = ensure_streams();
  TaskConsumers names{names_.node_consumer(made.tasks, node), names_.any_consumer(made.tasks)};
  ensure_consumer(names_.tasks_stream(), names.any, names_.task(kAny, "*"), options_.lease_time);
  ensure_consumer(names_.tasks_stream(), names.own, names_.task(node, "*"), options_.lease_time);
  check_still(names_.tasks_stream(), made.tasks, {names.any, names.own});
  return names;
}

std::string NatsQueues::ensure_for_client(const std::string& client) {
  const MutexGuard guard(mutex_);
  const Made made = ensure_streams();
  std::string name = names_.client_consumer(made.results, client);
  ensure_consumer(names_.results_stream(), name, names_.result(client), kResultWait);
  check_still(names_.results_stream(), made.results, {name});
  return name;
}

std::optional<NatsQueues::Held> NatsQueues::look(const std::string& stream, const std::string& subject) const {
  jsOptions options{};
  jsOptions_Init(&options);
  options.Stream.Info.SubjectsFilter = subject.c_str();
  jsErrCode code{};
  jsStreamInfo* made = nullptr;
  const natsStatus status = js_GetStreamInfo(&made, link_.requests(), stream.c_str(), &options, &code);
  const NatsOwner<jsStreamInfo> info(made);
  Held held;
  if (status == NATS_NOT_FOUND || code == JSStreamNotFoundErr) return held;
  if (status != NATS_OK || made == nullptr) return std::nullopt;
  held.first = made->State.FirstSeq;
  held.last = made->State.LastSeq;
  held.created = made->Created;
  const jsStreamStateSubjects* subjects = made->State.Subjects;
  for (int i = 0; subjects != nullptr && i < subjects->Count; ++i) {
    held.messages += subjects->List[i].Msgs;
    held.by_subject[subjects->List[i].Subject] = subjects->List[i].Msgs;
  }
  return held;
}

std::optional<Census> NatsQueues::census(const std::string& client) {
  if (link_.state() != EngineState::Connected) return std::nullopt;
  const MutexGuard guard(mutex_);
  const std::uint64_t newest = newest_task_.load();
  const std::optional<Held> tasks = look(names_.tasks_stream(), names_.task("*", client));
  const std::optional<Held> results = look(names_.results_stream(), names_.result(client));
  if (!tasks || !results) return std::nullopt;
  if (tasks->last < newest) {
    ++rollbacks_;
    // Unless a newer one was stored meanwhile.
    std::uint64_t expected = newest;
    newest_task_.compare_exchange_strong(expected, tasks->last);
  }
  Census census;
  census.tasks = tasks->messages;
  census.results = results->messages;
  for (const auto& [subject, count] : tasks->by_subject) {
    if (std::string node = names_.node_of_task(subject); node != kAny) census.tasks_of_nodes[std::move(node)] = count;
  }
  census.generation =
      static_cast<std::uint64_t>(tasks->created) * 31 + static_cast<std::uint64_t>(results->created) * 7 + rollbacks_;
  const std::string any = names_.any_consumer(tasks->created);
  if (const auto counts = counts_of(names_.tasks_stream(), any)) {
    std::tie(census.queued_in_pool, census.leased_in_pool) = *counts;
    std::uint64_t for_any = census.tasks;
    for (const auto& [node, count] : census.tasks_of_nodes) for_any -= count;
    watch(names_.tasks_stream(), any, for_any, counts->first + counts->second, tasks->first);
  }
  const std::string own = names_.client_consumer(results->created, client);
  if (census.results > 0) {
    if (const auto counts = counts_of(names_.results_stream(), own))
      watch(names_.results_stream(), own, census.results, counts->first + counts->second, results->first);
  } else {
    ignoring_.erase(own);
  }
  return census;
}

std::optional<std::pair<std::uint64_t, std::uint64_t>> NatsQueues::counts_of(const std::string& stream,
                                                                             const std::string& consumer) const {
  jsConsumerInfo* made = nullptr;
  const natsStatus status =
      js_GetConsumerInfo(&made, link_.requests(), stream.c_str(), consumer.c_str(), nullptr, nullptr);
  const NatsOwner<jsConsumerInfo> info(made);
  if (status != NATS_OK || made == nullptr) return std::nullopt;
  return std::pair(made->NumPending, static_cast<std::uint64_t>(std::max<std::int64_t>(made->NumAckPending, 0)));
}

// A server that was killed may come back with a consumer that is ahead of its stream: what is stored under the numbers
// in between is never handed out, and hides in the census that it is lost. Made anew by who misses it, the consumer
// hands out all that the stream has; what is leased now runs twice. A busy server has what is acknowledged in the
// stream for a moment longer than in the consumer: but then the stream's first message is soon another one.
void NatsQueues::watch(const std::string& stream, const std::string& consumer, std::uint64_t held, std::uint64_t known,
                       std::uint64_t first) {
  Ignoring& ignoring = ignoring_[consumer];
  if (held <= known || first != std::exchange(ignoring.first, first)) ignoring.times = 0;
  if (held <= known || ++ignoring.times < kIgnoringTimes) return;
  ignoring.times = 0;
  log_line(LogLevel::Warning, "the consumer {} hands out {} of {} messages and is made anew", consumer, known, held);
  static_cast<void>(js_DeleteConsumer(link_.requests(), stream.c_str(), consumer.c_str(), nullptr, nullptr));
}

std::uint64_t NatsQueues::most_payload_bytes(const std::string& owner, std::size_t piece_bytes) const noexcept {
  const std::int64_t bytes = NatsNames::is_client(owner) ? task_pieces_bytes_ : result_pieces_bytes_;
  if (bytes <= 0) return std::numeric_limits<std::uint64_t>::max();
  const auto room = static_cast<std::uint64_t>(bytes);
  const std::uint64_t spent = (room / piece_bytes + 1) * kPieceCost;
  return room - std::min(room, spent);
}

void NatsQueues::note_task_number(std::uint64_t sequence) noexcept {
  // SYNC(newest task): census() reads it before it asks the server, which then cannot honestly answer with less.
  std::uint64_t newest = newest_task_.load();
  while (newest < sequence && !newest_task_.compare_exchange_weak(newest, sequence)) {
  }
}

void NatsQueues::withdraw(const std::string& client, const std::string& consumer) const noexcept {
  const auto purge = [&](const std::string& stream, const std::string& filter) {
    link_.publish("$JS.API.STREAM.PURGE." + stream, fmt::format("{{\"filter\":\"{}\"}}", filter));
  };
  try {
    purge(names_.tasks_stream(), names_.task("*", client));
    purge(names_.results_stream(), names_.result(client));
    const std::string owner = NatsNames::client_owner(client);
    purge(names_.pieces_stream(owner), names_.pieces(owner, "*"));
    if (!consumer.empty())
      link_.publish(fmt::format("$JS.API.CONSUMER.DELETE.{}.{}", names_.results_stream(), consumer), "");
  } catch (const std::exception&) {
    // What is left is dropped by its age.
  }
}

void ensure_patiently(milliseconds patience, const std::function<void()>& ensure) {
  constexpr milliseconds kPause{200};
  const Deadline deadline = Deadline::after(patience);
  for (;;) {
    try {
      return ensure();
    } catch (const EngineError&) {
      if (deadline.passed()) throw;
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace tandem::detail
