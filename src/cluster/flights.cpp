#include "cluster/flights.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include <tandem/detail/remote_task.hpp>

#include "cluster/batch_message.hpp"

namespace tandem::detail {
namespace {

// So many bytes go into one message.
constexpr std::size_t kBatchBytes = std::size_t{64} << 10;
// Up to here a task is handed to the engine by who submits it, if nothing else is out.
constexpr std::size_t kSmallBytes = std::size_t{16} << 10;

bool is_small(const Task& task) {
  const Payload& payload = static_cast<const RemoteTask&>(task).payload();
  return payload.parcel() == nullptr && payload.bytes().size() <= kSmallBytes;
}

}  // namespace

void Flights::add(TaskPtr task) {
  to_submit_.push_back(++last_number_);
  Flight& flight = flights_[last_number_];
  flight.task = std::move(task);
  flight.carrier = last_number_;
}

void Flights::share_out(std::size_t messages) {
  share_ = (to_submit_.size() + messages - 1) / messages;
}

std::vector<std::uint64_t> Flights::next(ClusterTaskId& id, std::size_t most_in_batch) {
  std::vector<std::uint64_t> numbers;
  std::size_t most = 1;
  std::size_t bytes = 0;
  while (!to_submit_.empty() && numbers.size() < most) {
    const std::uint64_t carrier = to_submit_.front();
    if (carrier >= kBatchNumbers) {
      // One that is submitted once more is the same one, so that it is stored once.
      if (!numbers.empty()) break;
      to_submit_.pop_front();
      numbers = numbers_of(carrier);
      // One that goes alone by now has left it.
      std::erase_if(numbers, [&](std::uint64_t number) {
        return !is_to_submit(number) || flights_.at(number).carrier != carrier;
      });
      id.number = carrier;
      if (!numbers.empty()) return numbers;
      continue;
    }
    if (!is_to_submit(carrier)) {
      to_submit_.pop_front();
      continue;
    }
    const Flight& flight = flights_.at(carrier);
    if (fits_a_batch(flight)) {
      if (numbers.empty()) most = std::clamp<std::size_t>(share_, 1, most_in_batch);
      bytes += static_cast<const RemoteTask&>(*flight.task).payload().bytes().size();
      if (!numbers.empty() && bytes > kBatchBytes) break;
    } else if (!numbers.empty()) {
      break;
    }
    numbers.push_back(carrier);
    to_submit_.pop_front();
    id.number = carrier;
    id.attempt = flight.attempt;
  }
  if (numbers.size() > 1) {
    id.number = kBatchNumbers | ++last_number_;
    id.attempt = 1;
    batches_[id.number] = {numbers, numbers.size()};
    in_batches_ += numbers.size();
  }
  return numbers;
}

void Flights::submit_again(std::uint64_t number, Flight& flight) {
  leave_batch(flight);
  flight.carrier = number;
  ++flight.attempt;
  flight.node.clear();
  flight.running_at = {};
  flight.step = Flight::Step::ToSubmit;
  to_submit_.push_back(number);
}

void Flights::queue_rest() {
  std::unordered_set<std::uint64_t> waiting(to_submit_.begin(), to_submit_.end());
  for (const auto& [number, flight] : flights_)
    if (flight.step == Flight::Step::ToSubmit && waiting.insert(flight.carrier).second)
      to_submit_.push_back(flight.carrier);
}

void Flights::erase(std::uint64_t number) {
  const auto flight = flights_.find(number);
  leave_batch(flight->second);
  flights_.erase(flight);
}

Flights::Map Flights::take_all() {
  Map all;
  all.swap(flights_);
  batches_.clear();
  in_batches_ = 0;
  to_submit_.clear();
  return all;
}

Flight* Flights::find(std::uint64_t number) {
  const auto found = flights_.find(number);
  return found != flights_.end() ? &found->second : nullptr;
}

const Flight* Flights::find(std::uint64_t number) const {
  const auto found = flights_.find(number);
  return found != flights_.end() ? &found->second : nullptr;
}

Flights::Map::value_type* Flights::find(const Task& task) {
  const auto found = std::find_if(flights_.begin(), flights_.end(),
                                  [&](const auto& flight) { return flight.second.task.get() == &task; });
  return found != flights_.end() ? &*found : nullptr;
}

std::vector<Flights::Map::value_type*> Flights::carried_by(std::uint64_t carrier) {
  std::vector<Map::value_type*> carried;
  for (const std::uint64_t number : numbers_of(carrier)) {
    const auto found = flights_.find(number);
    if (found != flights_.end() && found->second.carrier == carrier) carried.push_back(&*found);
  }
  return carried;
}

bool Flights::is_next_small() const {
  const auto found = to_submit_.empty() ? flights_.end() : flights_.find(to_submit_.front());
  return found != flights_.end() && is_small(*found->second.task);
}

std::vector<std::uint64_t> Flights::stored() const {
  std::vector<std::uint64_t> numbers;
  for (const auto& [number, flight] : flights_)
    if (flight.step == Flight::Step::Stored) numbers.push_back(number);
  return numbers;
}

std::size_t Flights::keep_stored(std::vector<std::uint64_t>& numbers) const {
  std::erase_if(numbers, [&](std::uint64_t number) {
    const Flight* const flight = find(number);
    return flight == nullptr || flight->step != Flight::Step::Stored;
  });
  std::unordered_set<std::uint64_t> carriers;
  for (const std::uint64_t number : numbers) carriers.insert(flights_.at(number).carrier);
  return carriers.size();
}

std::vector<std::uint64_t> Flights::numbers_of(std::uint64_t carrier) const {
  if (carrier < kBatchNumbers) return {carrier};
  const auto found = batches_.find(carrier);
  return found == batches_.end() ? std::vector<std::uint64_t>() : found->second.numbers;
}

bool Flights::is_to_submit(std::uint64_t number) const {
  const Flight* const flight = find(number);
  return flight != nullptr && flight->step == Flight::Step::ToSubmit;
}

bool Flights::fits_a_batch(const Flight& flight) const {
  // Whose agent dies in a batch is to have another one.
  if (flight.attempt > 1 || most_deliveries_ < 2) return false;
  const TaskOptions& options = flight.task->options();
  if (options.deadline || options.memory_limit_bytes || options.cpu_time_limit) return false;
  return is_small(*flight.task);
}

void Flights::leave_batch(const Flight& flight) {
  const auto found = batches_.find(flight.carrier);
  if (found == batches_.end()) return;
  --in_batches_;
  if (--found->second.left == 0) batches_.erase(found);
}

}  // namespace tandem::detail
