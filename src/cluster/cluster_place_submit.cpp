#include "cluster/cluster_place.hpp"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include <tandem/detail/remote_task.hpp>
#include <tandem/detail/shared_object.hpp>

#include "cluster/batch_message.hpp"
#include "core/log.hpp"
#include "ipc/family.hpp"

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;

// How long submit() of the engine may wait: then it is looked whether there is something else to do.
constexpr milliseconds kSubmitPatience{100};
// How long storing a value may wait for room and for the connection.
constexpr milliseconds kStorePatience{1000};
// Messages for each slot that are out, of short tasks: one that runs, one that is there next, one on its way. The
// others wait in the executor's queue, so that they go in few messages.
constexpr std::size_t kMessagesPerSlot = 3;

bool never_alone(const Task&) {
  return false;
}

}  // namespace

void ClusterPlace::fill() {
  if (given_up_) return;
  for (;;) {
    const std::size_t window = this->window();
    const std::size_t messages = kMessagesPerSlot * slots();
    const std::size_t out = flights_.messages();
    if (flights_.size() >= window || out >= messages) return core_->call_for_more_work(false);
    const std::size_t room = messages - out;
    core_->take(std::min(window - flights_.size(), room * pace_.most_in_batch()), 1, never_alone, true, taken_);
    if (taken_.empty()) {
      // Another task may have come by now, which its submitter left to this.
      core_->call_for_more_work(true);
      if (!core_->has_queued()) return;
    }
    for (TaskPtr& task : taken_) flights_.add(std::move(task));
    taken_.clear();
    // Each slot its share, if there is so much room.
    flights_.share_out(std::min(room, slots()));
  }
}

bool ClusterPlace::note_values(Flight& flight, std::uint64_t most) {
  if (flight.values.empty()) {
    std::vector<SharedObjectPtr> objects = values_of(static_cast<const RemoteTask&>(*flight.task));
    if (options_.initializer != nullptr) {
      objects.push_back(options_.initializer);
      for (const auto& [id, kind] : parcel_references(*options_.initializer)) objects.push_back(attach(id, kind));
    }
    for (const SharedObjectPtr& object : objects)
      check_fits("a Broadcast, or an initializer,", parcel_bytes(*object).second, most);
    for (const SharedObjectPtr& object : objects) flight.values.push_back(values_.note(object));
  }
  return values_.are_stored(flight.values);
}

bool ClusterPlace::store_values() {
  for (;;) {
    SharedObjectPtr object;
    {
      const MutexGuard guard(mutex_);
      object = values_.take_unstored();
      if (object == nullptr) return true;
    }
    const std::uint64_t number = object->id().generation;
    const auto [bytes, size] = parcel_bytes(*object);
    if (own_engine_->store_value(number, {bytes, size}, kStorePatience)) continue;
    const MutexGuard guard(mutex_);
    values_.lose(number);
    note_refusal(fmt::format("a value of {} bytes cannot be stored now", size));
    return false;
  }
}

void ClusterPlace::drop_values() {
  std::vector<SharedObjectPtr> dropped;
  {
    const MutexGuard guard(mutex_);
    if (values_.empty()) return;
    const Clock::time_point now = Clock::now();
    for (const auto& [number, flight] : flights_.all()) values_.use(flight.values, now);
    dropped = values_.take_unused(now);
  }
  // A task that still waits in the queue brings it again.
  for (const SharedObjectPtr& object : dropped) own_engine_->erase_value(object->id().generation);
}

TaskTicket ClusterPlace::ticket_of(const Flight& flight) const {
  TaskTicket ticket;
  ticket.most_deliveries = options_.most_deliveries;
  ticket.earlier_deliveries = flight.deliveries;
  for (const SharedObjectPtr& object : values_of(static_cast<const RemoteTask&>(*flight.task)))
    ticket.values.push_back(carried(*object));
  if (options_.initializer != nullptr) ticket.initializer = carried(*options_.initializer);
  return ticket;
}

bool ClusterPlace::may_submit_here() const {
  return engine_ != nullptr && flights_.is_next_small();
}

std::optional<ClusterPlace::Parcel> ClusterPlace::next_parcel() {
  for (;;) {
    Parcel parcel;
    parcel.id.client = client_;
    std::vector<TaskPtr> failed;
    std::exception_ptr error;
    {
      const MutexGuard guard(mutex_);
      const std::vector<std::uint64_t> numbers = flights_.next(parcel.id, pace_.most_in_batch());
      if (numbers.empty()) return std::nullopt;
      const std::uint64_t most =
          engine_ != nullptr ? engine_->most_payload_bytes() : std::numeric_limits<std::uint64_t>::max();
      bool has_values = true;
      // With the mutex: who takes a flight out of here may forget the task's arguments then. What throws has no memory,
      // or no room in the store.
      const auto for_each_flight = [&](const auto& prepare) TANDEM_NO_THREAD_SAFETY_ANALYSIS {
        for (const std::uint64_t number : numbers) {
          Flight* const flight = flights_.find(number);
          try {
            if (flight != nullptr) prepare(number, *flight);
          } catch (const std::exception&) {
            error = std::current_exception();
            failed.push_back(std::move(flight->task));
            flights_.erase(number);
          }
        }
      };
      for_each_flight([&](std::uint64_t, Flight& flight) TANDEM_NO_THREAD_SAFETY_ANALYSIS {
        flight.carrier = parcel.id.number;
        has_values = note_values(flight, most) && has_values;
      });
      if (has_values) {
        for_each_flight([&](std::uint64_t number, Flight& flight) TANDEM_NO_THREAD_SAFETY_ANALYSIS {
          flight.step = Flight::Step::Submitted;
          std::vector<std::byte> bytes = encode_task(static_cast<const RemoteTask&>(*flight.task), ticket_of(flight));
          check_fits("arguments", bytes.size(), most);
          if (is_batch(parcel.id)) {
            add_to_batch(parcel.payload, {number, flight.attempt, std::move(bytes)});
          } else {
            parcel.payload = std::move(bytes);
          }
        });
      }
      if (failed.empty() && has_values) return parcel;
      if (failed.size() < numbers.size()) flights_.put_back(parcel.id.number);
      if (failed.empty()) return std::nullopt;  // The values go first.
      ++telling_;
      for (const std::uint64_t number : numbers)
        if (Flight* const found = flights_.find(number)) found->step = Flight::Step::ToSubmit;
    }
    const Telling telling(*this);
    for (const TaskPtr& task : failed) core_->failed(*task, error);
  }
}

bool ClusterPlace::submit_parcel(EngineClient& engine, const Parcel& parcel, milliseconds patience) {
  std::string why;
  try {
    if (engine.submit(parcel.id, parcel.payload, TaskTarget(), patience)) return true;
  } catch (const std::exception& error) {
    why = error.what();  // Want of memory: it may pass.
  }
  const MutexGuard guard(mutex_);
  if (!why.empty()) note_refusal(why);
  const std::vector<Flights::Map::value_type*> carried = flights_.carried_by(parcel.id.number);
  for (Flights::Map::value_type* const one : carried) one->second.step = Flight::Step::ToSubmit;
  if (!carried.empty()) flights_.put_back(parcel.id.number);
  return false;
}

bool ClusterPlace::submit_what_waits() {
  for (;;) {
    if (!store_values()) return false;
    if (const std::optional<Parcel> parcel = next_parcel()) {
      if (!submit_parcel(*own_engine_, *parcel, kSubmitPatience)) return false;
      continue;
    }
    const MutexGuard guard(mutex_);
    if (flights_.none_waits()) return true;
  }
}

bool ClusterPlace::submit_here(EngineClient& engine) {
  while (const std::optional<Parcel> parcel = next_parcel())
    if (!submit_parcel(engine, *parcel, milliseconds::zero())) return false;
  const MutexGuard guard(mutex_);
  return flights_.none_waits();
}

void ClusterPlace::note_refusal(const std::string& why) {
  if (!refused_since_) refused_since_ = Clock::now();
  refused_why_ = why;
}

void ClusterPlace::on_stored(const ClusterTaskId& id, const std::vector<std::string>&) {
  const MutexGuard guard(mutex_);
  refused_since_.reset();
  for (Flights::Map::value_type* const one : flights_.carried_by(id.number)) {
    Flight& flight = one->second;
    if (!is_batch(id) && flight.attempt != id.attempt) continue;
    flight.step = Flight::Step::Stored;
    flight.stored_at = Clock::now();
  }
}

void ClusterPlace::on_submit_error(const ClusterTaskId& id, const std::string& why) {
  log_line(LogLevel::Debug, "a task of the executor {} is not known to be stored: {}", core_->name(), why);
  const MutexGuard guard(mutex_);
  note_refusal(why);
  for (Flights::Map::value_type* const one : flights_.carried_by(id.number)) {
    Flight& flight = one->second;
    // At the next look: at once it would most likely meet what it met now.
    if (is_batch(id) || flight.attempt == id.attempt) flight.step = Flight::Step::ToSubmit;
  }
}

}  // namespace tandem::detail
