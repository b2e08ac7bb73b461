#include "cluster/nats_agent.hpp"

#include <fmt/format.h>

#include <memory>
#include <span>
#include <stdexcept>
#include <utility>

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPiecesPatience{10000};

}  // namespace

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
    leases_.drop(ack_of(lease));
    return;
  }
  const auto unstored = std::make_shared<NatsResult>();
  unstored->ack = ack_of(lease);
  unstored->part = part;
  unstored->head.id = lease.id;
  unstored->head.node = node_;
  if (part == 0) unstored->of_task = task->elsewhere;
  unstored->result = std::move(result);
  std::uint64_t number = 0;
  {
    const MutexGuard guard(mutex_);
    while (!results_.empty() && !stopped_ && link_.state() != EngineState::Refused &&
           !results_.has_room_for(unstored->result.size())) {
      if (part > 0) return;
      stored_.wait_for(mutex_, kLook);
    }
    number = results_.add(unstored);
    if (part == 0) leases_.drop(unstored->ack);
    clients_.serve(lease.id.client);
  }
  // Pieces of a part take their time in another thread than that of who has leases to renew.
  if (part > 0 && pieces_.too_large(unstored->result.size())) {
    {
      const MutexGuard guard(mutex_);
      unstored->sent = false;
    }
    return keeper_.wake();
  }
  if (!send(number, unstored)) on_reply(number, not_stored("not connected"));
}

bool NatsAgent::send(std::uint64_t number, const NatsResultPtr& unstored) {
  // Only who has set `sent` is here, so what follows is one's own until on_reply().
  NatsHead& head = unstored->head;
  std::span<const std::byte> payload = unstored->result;
  if (pieces_.too_large(payload.size())) {
    if (link_.state() != EngineState::Connected) return false;
    // The keeper may be here itself: what it does in time goes on.
    const auto go_on = [this] {
      publisher_.expire();
      renew_unstored();
      return !keeper_.stopping();
    };
    if (!head.elsewhere) head.elsewhere = pieces_.put(payload, false, kPiecesPatience, go_on);
    if (!head.elsewhere) return false;
    payload = {};
  }
  ++unstored->times_sent;
  std::string message_id = fmt::format("{}.{}.{}.{}", head.id.client, head.id.number, head.id.attempt, node_);
  if (unstored->part > 0) message_id += fmt::format(".{}", unstored->part);
  return publisher_.publish(
      queues_.names().result(head.id.client), &head, message_id, payload,
      [this, number](const StoredReply& reply) { on_reply(number, reply); }, Deadline::now());
}

void NatsAgent::on_reply(std::uint64_t number, const StoredReply& reply) {
  NatsResultPtr unstored;
  {
    const MutexGuard guard(mutex_);
    unstored = results_.find(number);
    if (unstored == nullptr) return;
    if (!reply.stored) {
      unstored->sent = false;
      unstored->again_at = NatsResult::Clock::now() + kPause;
    }
  }
  if (!reply.stored) {
    if (!reply.full) maker_.miss();
    return;
  }
  // Only now: the other way round a task would be lost whose result is on its way when the server dies.
  if (unstored->part == 0) link_.publish(unstored->ack, "+ACK");
  if (unstored->of_task) pieces_.erase(*unstored->of_task);
  // The result of an earlier run is there, with pieces of its own; unless it is this one, sent a second time.
  if (reply.duplicate && unstored->times_sent == 1 && unstored->head.elsewhere)
    pieces_.erase(*unstored->head.elsewhere);
  {
    // Behind all of that: when drain() returns this process may end.
    const MutexGuard guard(mutex_);
    if (!results_.remove(number)) return;
    stored_.notify_all();
  }
  if (unstored->part == 0) events_.on_finished(unstored->head.id);
}

void NatsAgent::renew_unstored() {
  const MutexGuard guard(mutex_);
  results_.renew(options_.lease_time / 3, [this](const std::string& ack) { link_.publish(ack, "+WPI"); });
}

void NatsAgent::send_again() {
  renew_unstored();
  std::vector<std::pair<std::uint64_t, NatsResultPtr>> due;
  {
    const MutexGuard guard(mutex_);
    due = results_.take_due();
  }
  for (auto& [number, unstored] : due) {
    if (!send(number, unstored)) on_reply(number, not_stored("not connected"));
  }
}

bool NatsAgent::drain(milliseconds patience) {
  const Deadline deadline = Deadline::after(patience);
  const MutexGuard guard(mutex_);
  while (!results_.empty() && !deadline.passed() && link_.state() != EngineState::Refused)
    stored_.wait_for(mutex_, deadline.left(kLook));
  return results_.empty();
}

std::vector<UnstoredResult> NatsAgent::take_unstored() {
  std::vector<UnstoredResult> all;
  const MutexGuard guard(mutex_);
  if (link_.state() != EngineState::Refused) return all;
  all = results_.take_all();
  changed();
  return all;
}

}  // namespace tandem::detail
