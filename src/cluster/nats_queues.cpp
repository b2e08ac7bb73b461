#include "cluster/nats_queues.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include <tandem/detail/deadline.hpp>

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
constexpr const char* kAny = "_";

std::int64_t in_ns(nanoseconds time) {
  return time.count();
}

[[noreturn]] void fail(const std::string& what, natsStatus status, jsErrCode code) {
  if (code == JSNotEnabledErr || code == JSNotEnabledForAccountErr || status == NATS_NO_RESPONDERS)
    throw EngineError(what + ": the server offers no JetStream (now)");
  throw EngineError(fmt::format("{}: {} (JetStream {})", what, natsStatus_GetText(status), static_cast<int>(code)));
}

}  // namespace

NatsNames::NatsNames(const EngineOptions& options)
    : prefix_("tandem." + options.pool),
      build_(options.build_id),
      tasks_stream_("tandem_tasks_" + options.pool),
      results_stream_("tandem_results_" + options.pool),
      pieces_stream_("tandem_pieces_" + options.pool) {}

std::string NatsNames::task(const std::string& node, const std::string& client) const {
  return fmt::format("{}.t.{}.{}.{}", prefix_, build_, node, client);
}

std::string NatsNames::pieces(const std::string& owner, const std::string& number) const {
  return fmt::format("{}.p.{}.{}.*", prefix_, owner, number);
}

std::string NatsNames::piece(const std::string& owner, std::uint64_t number, std::uint64_t index) const {
  return fmt::format("{}.p.{}.{}.{}", prefix_, owner, number, index);
}

void NatsQueues::ensure_stream(const std::string& name, const std::string& subjects, bool queue) {
  jsStreamConfig config{};
  jsStreamConfig_Init(&config);
  const char* list[] = {subjects.c_str()};
  config.Name = name.c_str();
  config.Subjects = list;
  config.SubjectsLen = 1;
  config.Retention = queue ? js_WorkQueuePolicy : js_LimitsPolicy;
  config.Storage = options_.in_memory ? js_MemoryStorage : js_FileStorage;
  config.Replicas = options_.replicas;
  config.MaxAge = in_ns(options_.max_age);
  config.Duplicates = in_ns(kDuplicates);
  config.AllowDirect = !queue;
  config.MaxMsgsPerSubject = queue ? -1 : 1;
  jsErrCode code{};
  const natsStatus status = js_AddStream(nullptr, link_.requests(), &config, nullptr, &code);
  // One that somebody has made with other ages or replicas is as good.
  if (status != NATS_OK && code != JSStreamNameExistErr) fail("cannot make the queue " + name, status, code);
}

void NatsQueues::ensure_consumer(const std::string& stream, const std::string& name, const std::string& filter,
                                 milliseconds ack_wait) {
  jsConsumerConfig config{};
  jsConsumerConfig_Init(&config);
  config.Durable = name.c_str();
  config.FilterSubject = filter.c_str();
  config.AckPolicy = js_AckExplicit;
  config.AckWait = in_ns(ack_wait);
  config.MaxDeliver = -1;  // Clients count attempts: what the server gives up would be lost in silence.
  config.MaxAckPending = kMaxLeases;
  config.InactiveThreshold = in_ns(options_.max_age);
  jsErrCode code{};
  const natsStatus status = js_AddConsumer(nullptr, link_.requests(), stream.c_str(), &config, nullptr, &code);
  if (status != NATS_OK) fail("cannot make the consumer " + name, status, code);
}

void NatsQueues::ensure_streams() {
  if (link_.state() != EngineState::Connected) throw EngineError("cannot make the queues: the engine is away");
  ensure_stream(names_.pieces_stream(), names_.all_pieces(), false);
  ensure_stream(names_.results_stream(), names_.all_results(), true);
  ensure_stream(names_.tasks_stream(), names_.all_tasks(), true);
}

void NatsQueues::ensure_for_node(const std::string& node) {
  const MutexGuard guard(mutex_);
  ensure_streams();
  ensure_consumer(names_.tasks_stream(), names_.any_consumer(), names_.task(kAny, "*"), options_.lease_time);
  ensure_consumer(names_.tasks_stream(), names_.node_consumer(node), names_.task(node, "*"), options_.lease_time);
}

void NatsQueues::ensure_for_client(const std::string& client) {
  const MutexGuard guard(mutex_);
  ensure_streams();
  ensure_consumer(names_.results_stream(), names_.client_consumer(client), names_.result(client), kResultWait);
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
  held.last = made->State.LastSeq;
  held.created = made->Created;
  const jsStreamStateSubjects* subjects = made->State.Subjects;
  for (int i = 0; subjects != nullptr && i < subjects->Count; ++i) held.messages += subjects->List[i].Msgs;
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
  census.generation =
      static_cast<std::uint64_t>(tasks->created) * 31 + static_cast<std::uint64_t>(results->created) * 7 + rollbacks_;
  jsConsumerInfo* made = nullptr;
  jsErrCode code{};
  const natsStatus status = js_GetConsumerInfo(&made, link_.requests(), names_.tasks_stream().c_str(),
                                               names_.any_consumer().c_str(), nullptr, &code);
  const NatsOwner<jsConsumerInfo> info(made);
  if (status == NATS_OK && made != nullptr) {
    census.queued_in_pool = made->NumPending;
    census.leased_in_pool = static_cast<std::uint64_t>(std::max<std::int64_t>(made->NumAckPending, 0));
  }
  return census;
}

void NatsQueues::note_task_number(std::uint64_t sequence) noexcept {
  // SYNC(newest task): census() reads it before it asks the server, which then cannot honestly answer with less.
  std::uint64_t newest = newest_task_.load();
  while (newest < sequence && !newest_task_.compare_exchange_weak(newest, sequence)) {
  }
}

void NatsQueues::withdraw(const std::string& client) const noexcept {
  const auto purge = [&](const std::string& stream, const std::string& filter) {
    link_.publish("$JS.API.STREAM.PURGE." + stream, fmt::format("{{\"filter\":\"{}\"}}", filter));
  };
  try {
    purge(names_.tasks_stream(), names_.task("*", client));
    purge(names_.results_stream(), names_.result(client));
    purge(names_.pieces_stream(), names_.pieces(client, "*"));
    link_.publish(fmt::format("$JS.API.CONSUMER.DELETE.{}.{}", names_.results_stream(), names_.client_consumer(client)),
                  "");
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
