#include "cluster/nats_pull.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// How much later than it should an answer may come before the request counts as lost: then the queues are made anew,
// which a server that is only busy needs least.
constexpr milliseconds kOverdue{3000};
// What was refused (too many requests, an election, no such queue) would be refused again at once.
constexpr milliseconds kPause{250};
constexpr std::size_t kMaxBytes = std::size_t{16} << 20;

}  // namespace

NatsPull::NatsPull(const NatsLink& link, std::string stream, Callbacks callbacks)
    : link_(link),
      stream_(std::move(stream)),
      inbox_(link.make_inbox()),
      callbacks_(std::move(callbacks)),
      answers_(link, inbox_ + ".*", true, [this](NatsMessage message) { take(std::move(message)); }) {}

void NatsPull::aim(const std::string& consumer) {
  const MutexGuard guard(mutex_);
  if (consumer == consumer_) return;
  consumer_ = consumer;
  stage_ = Stage::Idle;
}

std::string NatsPull::consumer() const {
  const MutexGuard guard(mutex_);
  return consumer_;
}

bool NatsPull::probe(std::size_t messages) {
  return request(Stage::Probing, messages, milliseconds::zero(),
                 fmt::format("{{\"batch\":{},\"no_wait\":true,\"max_bytes\":{}}}", messages, kMaxBytes));
}

bool NatsPull::stand(std::size_t messages, milliseconds expires) {
  return request(Stage::Standing, messages, expires,
                 fmt::format("{{\"batch\":{},\"expires\":{},\"max_bytes\":{}}}", messages, nanoseconds(expires).count(),
                             kMaxBytes));
}

bool NatsPull::request(Stage stage, std::size_t messages, milliseconds expires, const std::string& text) {
  std::uint64_t number = 0;
  std::string subject;
  {
    const MutexGuard guard(mutex_);
    if (consumer_.empty()) return false;
    subject = fmt::format("$JS.API.CONSUMER.MSG.NEXT.{}.{}", stream_, consumer_);
    stage_ = stage;
    number = ++number_;
    left_ = messages;
    overdue_at_ = std::chrono::steady_clock::now() + expires + kOverdue;
  }
  if (link_.publish(subject, fmt::format("{}.{}", inbox_, number), text)) return true;
  forget();
  return false;
}

NatsPull::Stage NatsPull::stage() const {
  const MutexGuard guard(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (stage_ == Stage::Paused) return now >= idle_at_ ? Stage::Idle : Stage::Paused;
  // While a message is taken, what comes behind it waits here, not at the server.
  return stage_ != Stage::Idle && !taking_ && now >= overdue_at_ ? Stage::Overdue : stage_;
}

void NatsPull::forget() {
  const MutexGuard guard(mutex_);
  stage_ = Stage::Idle;
}

bool NatsPull::ends_request(int status, std::string_view subject, bool refused) {
  const MutexGuard guard(mutex_);
  if (stage_ == Stage::Idle || stage_ == Stage::Paused) return false;
  // A message has the subject that it was stored under, a status that of the request which it answers.
  if (status == 0 ? --left_ != 0 : subject != fmt::format("{}.{}", inbox_, number_)) return false;
  stage_ = refused ? Stage::Paused : Stage::Idle;
  idle_at_ = std::chrono::steady_clock::now() + kPause;
  return true;
}

void NatsPull::set_taking(bool taking) {
  const MutexGuard guard(mutex_);
  taking_ = taking;
  if (!taking) overdue_at_ = std::max(overdue_at_, std::chrono::steady_clock::now() + kOverdue);
}

void NatsPull::take(NatsMessage message) {
  const int status = natsMsg_GetReply(message.get()) != nullptr ? 0 : status_of(message.get());
  if (status == 100) return;  // The server is alive.
  const std::string_view why = header_of(message.get(), "Description");
  const bool gone = status == 503 || why.find("Deleted") != std::string_view::npos;
  // Beyond the bytes that were asked for is an ordinary end, though a 409.
  const bool refused = status == 503 || (status == 409 && why.find("MaxBytes") == std::string_view::npos);
  const bool ended = ends_request(status, natsMsg_GetSubject(message.get()), refused);
  if (status == 0 && natsMsg_GetReply(message.get()) != nullptr) {
    set_taking(true);
    try {
      callbacks_.on_message(std::move(message));
    } catch (...) {
      set_taking(false);
      throw;
    }
    set_taking(false);
  }
  if (ended) callbacks_.on_end(gone);
}

}  // namespace tandem::detail
