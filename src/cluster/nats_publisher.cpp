#include "cluster/nats_publisher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <random>
#include <utility>

namespace tandem::detail {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kAnswerWait{10};
constexpr std::chrono::milliseconds kBetween{20};
constexpr std::size_t kMaxPieceBytes = std::size_t{4} << 20;
// Of one payload at the same time, so that the network and the server's disk both have something to do.
constexpr unsigned kPiecesUnderWay = 4;

// A process that starts anew under the same name must not use the numbers of the one before.
std::uint64_t random_start() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 30) ^ device();
}

}  // namespace

NatsPublisher::NatsPublisher(const NatsLink& link, std::size_t max_bytes, std::size_t max_items)
    : link_(link),
      max_bytes_(max_bytes),
      max_items_(max_items),
      inbox_(link.make_inbox()),
      replies_(link, inbox_ + ".*", true, [this](NatsMessage reply) { take(std::move(reply)); }) {}

bool NatsPublisher::wait_room(std::size_t bytes, const Deadline& deadline) {
  while (!pending_.empty() && (bytes_ + bytes > max_bytes_ || pending_.size() >= max_items_)) {
    if (deadline.passed()) return false;
    room_.wait_for(mutex_, deadline.left(std::chrono::seconds(1)));
  }
  return true;
}

bool NatsPublisher::publish(const std::string& subject, const NatsHead* head, const std::string& message_id,
                            std::span<const std::byte> payload, Done done, const Deadline& deadline) {
  if (!link_.wait_connected(std::chrono::ceil<std::chrono::milliseconds>(deadline.left(std::chrono::hours(24)))))
    return false;
  std::uint64_t number = 0;
  {
    const MutexGuard guard(mutex_);
    if (!wait_room(payload.size(), deadline)) return false;
    number = next_++;
    pending_.emplace(number, Pending{std::move(done), payload.size(), Clock::now()});
    bytes_ += payload.size();
  }
  // The library copies what it sends; this copy lives no longer than the call.
  if (link_.publish(make_message(subject, fmt::format("{}.{}", inbox_, number), head, message_id, payload).get()))
    return true;
  // If it is not there any more, it was given up meanwhile, and that was told.
  return !remove(number).has_value();
}

std::optional<NatsPublisher::Pending> NatsPublisher::remove(std::uint64_t number) {
  const MutexGuard guard(mutex_);
  return remove_locked(number);
}

std::optional<NatsPublisher::Pending> NatsPublisher::remove_locked(std::uint64_t number) {
  const auto found = pending_.find(number);
  if (found == pending_.end()) return std::nullopt;
  Pending pending = std::move(found->second);
  pending_.erase(found);
  bytes_ -= pending.bytes;
  room_.notify_all();
  return pending;
}

void NatsPublisher::take(NatsMessage reply) {
  const std::string_view subject = natsMsg_GetSubject(reply.get());
  const std::string_view text = subject.substr(std::min(inbox_.size() + 1, subject.size()));
  std::uint64_t number = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc()) return;
  if (const std::optional<Pending> pending = remove(number)) pending->done(parse_stored_reply(reply.get()));
}

void NatsPublisher::lose_all() {
  std::map<std::uint64_t, Pending> lost;
  {
    const MutexGuard guard(mutex_);
    lost.swap(pending_);
    bytes_ = 0;
    room_.notify_all();
  }
  for (const auto& [number, pending] : lost) pending.done(not_stored("the connection was lost"));
}

void NatsPublisher::expire() {
  const Clock::time_point now = Clock::now();
  for (;;) {
    std::optional<Pending> late;
    {
      const MutexGuard guard(mutex_);
      if (!pending_.empty() && pending_.begin()->second.sent_at + kAnswerWait <= now)
        late = remove_locked(pending_.begin()->first);
    }
    if (!late) return;
    late->done(not_stored("the server did not answer"));
  }
}

bool NatsPublisher::idle() const {
  const MutexGuard guard(mutex_);
  return pending_.empty();
}

NatsPieces::NatsPieces(const NatsLink& link, const NatsNames& names, NatsPublisher& publisher, std::string owner)
    : link_(link), names_(names), publisher_(publisher), owner_(std::move(owner)), next_(random_start()) {}

std::size_t NatsPieces::piece_bytes() const {
  return std::min(kMaxPieceBytes, link_.max_payload_bytes());
}

std::optional<PieceList> NatsPieces::put(std::span<const std::byte> payload, bool shared,
                                         std::chrono::milliseconds patience, const std::function<bool()>& go_on) {
  PieceList list{owner_, next_++, 0, payload.size(), shared};
  if (put_as(list, payload, patience, go_on)) return list;
  list.shared = false;
  erase(list);
  return std::nullopt;
}

bool NatsPieces::put_as(PieceList& list, std::span<const std::byte> payload, std::chrono::milliseconds patience,
                        const std::function<bool()>& go_on) {
  struct Progress {
    Mutex mutex;
    ConditionVariable changed;
    unsigned under_way TANDEM_GUARDED_BY(mutex) = 0;
    bool failed TANDEM_GUARDED_BY(mutex) = false;
    // Waits until at most `most` are under way; false if one has failed. Every message that is sent comes to an end by
    // expire() or lose_all(), but these may be called by the very thread that waits here.
    bool wait(unsigned most, const NatsLink& link, const std::function<bool()>& go_on) TANDEM_EXCLUDES(mutex) {
      const Deadline deadline = Deadline::after(kAnswerWait);
      for (;;) {
        {
          const MutexGuard guard(mutex);
          if (under_way > most && !deadline.passed()) changed.wait_for(mutex, deadline.left(kBetween));
          if (under_way <= most) return !failed;
        }
        if (deadline.passed() || link.state() != EngineState::Connected || !go_on()) return false;
      }
    }
    void count(int step, bool bad) TANDEM_EXCLUDES(mutex) {
      const MutexGuard guard(mutex);
      under_way += static_cast<unsigned>(step);
      failed = failed || bad;
      changed.notify_all();
    }
  };
  const auto progress = std::make_shared<Progress>();
  const std::size_t size = piece_bytes();
  list.pieces = 0;
  for (std::span<const std::byte> rest = payload; !rest.empty(); rest = rest.subspan(std::min(size, rest.size()))) {
    if (!progress->wait(kPiecesUnderWay - 1, link_, go_on) || !go_on()) {
      progress->count(0, true);
      break;
    }
    progress->count(1, false);
    const auto done = [progress](const StoredReply& reply) { progress->count(-1, !reply.stored); };
    if (!publisher_.publish(names_.piece(list.owner, list.number, list.pieces++), nullptr, {},
                            rest.first(std::min(size, rest.size())), done, Deadline::after(patience)))
      progress->count(-1, true);
  }
  return progress->wait(0, link_, go_on);
}

NatsPieces::Got NatsPieces::get(const PieceList& list, std::vector<std::byte>& payload,
                                const std::function<bool()>& go_on) const {
  for (std::uint64_t i = 0; i < list.pieces && payload.size() < list.bytes; ++i) {
    const std::string subject = names_.piece(list.owner, list.number, i);
    jsDirectGetMsgOptions which{};
    jsDirectGetMsgOptions_Init(&which);
    which.LastBySubject = subject.c_str();
    natsMsg* made = nullptr;
    const natsStatus status =
        js_DirectGetMsg(&made, link_.requests(), names_.pieces_stream(list.owner).c_str(), nullptr, &which);
    const NatsMessage piece(made);
    if (status == NATS_NOT_FOUND) return ask_leader(list);
    if (status != NATS_OK) return Got::Away;
    const std::span<const std::byte> bytes = payload_of(piece.get());
    // Memory for what has come, never for what is announced.
    if (bytes.size() > list.bytes - payload.size()) return Got::Gone;
    payload.insert(payload.end(), bytes.begin(), bytes.end());
    if (!go_on()) return Got::Away;
  }
  return payload.size() == list.bytes ? Got::All : Got::Gone;
}

// Any server that has a replica answers for a piece, also one that has not heard of it yet; only the leader tells what
// there is in the stream.
NatsPieces::Got NatsPieces::ask_leader(const PieceList& list) const {
  jsOptions options{};
  jsOptions_Init(&options);
  const std::string subjects = names_.pieces(list.owner, std::to_string(list.number));
  options.Stream.Info.SubjectsFilter = subjects.c_str();
  jsErrCode code{};
  jsStreamInfo* made = nullptr;
  const natsStatus status =
      js_GetStreamInfo(&made, link_.requests(), names_.pieces_stream(list.owner).c_str(), &options, &code);
  const NatsOwner<jsStreamInfo> info(made);
  if (status == NATS_NOT_FOUND || code == JSStreamNotFoundErr) return Got::Gone;
  if (status != NATS_OK || made == nullptr) return Got::Away;
  const jsStreamStateSubjects* const found = made->State.Subjects;
  return found != nullptr && static_cast<std::uint64_t>(found->Count) >= list.pieces ? Got::Away : Got::Gone;
}

void NatsPieces::erase(const PieceList& list) const noexcept {
  if (list.shared) return;
  try {
    link_.publish("$JS.API.STREAM.PURGE." + names_.pieces_stream(list.owner),
                  fmt::format("{{\"filter\":\"{}\"}}", names_.pieces(list.owner, std::to_string(list.number))));
  } catch (const std::exception&) {
    // Dropped by its age.
  }
}

}  // namespace tandem::detail
