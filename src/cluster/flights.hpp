/// The tasks of a client that are out, and the messages that carry them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "cluster/engine.hpp"
#include "executor/executor_core.hpp"

namespace tandem::detail {

/// A task that was taken from the core and has no result yet.
struct Flight {
  using Clock = std::chrono::steady_clock;
  enum class Step {
    ToSubmit,
    Submitted,  ///< The engine has it and has not said whether it is stored.
    Stored,
  };
  TaskPtr task;
  std::uint32_t attempt = 1;
  std::uint64_t carrier = 0;            ///< The number that the engine knows: its own, or that of its batch.
  std::uint32_t deliveries = 0;         ///< Of earlier attempts: agents that did not come back.
  std::vector<std::uint64_t> values{};  ///< What it needs on its node.
  Step step = Step::ToSubmit;
  Clock::time_point stored_at{};   ///< When it was heard that it is.
  Clock::time_point running_at{};  ///< When a node said last that it runs.
  std::string node{};              ///< Which one.
};

/// Flights by their numbers, which of them wait for being submitted, and which go together in one message: its number,
/// that of a batch or of the one flight that is alone in it, is their carrier. Threads: one at a time.
class Flights {
 public:
  using Map = std::map<std::uint64_t, Flight>;

  /// `most_deliveries`: of a task. If it may be handed out only once, none goes in a batch.
  explicit Flights(unsigned most_deliveries) noexcept : most_deliveries_(most_deliveries) {}

  /// Adds one that waits for being submitted.
  void add(TaskPtr task);
  /// Those that wait are to go in so many messages, if they may.
  void share_out(std::size_t messages);
  /// Those that go next, in one message, which gets this id; none if nothing waits.
  std::vector<std::uint64_t> next(ClusterTaskId& id, std::size_t most_in_batch);
  /// What was next is next again.
  void put_back(std::uint64_t carrier) { to_submit_.push_front(carrier); }
  /// As another attempt, alone.
  void submit_again(std::uint64_t number, Flight& flight);
  /// Those that are to be submitted, and do not wait for it yet, do from now on.
  void queue_rest();
  void erase(std::uint64_t number);
  /// Takes out all.
  Map take_all();

  bool empty() const noexcept { return flights_.empty(); }
  std::size_t size() const noexcept { return flights_.size(); }
  const Map& all() const noexcept { return flights_; }
  Flight& at(std::uint64_t number) { return flights_.at(number); }
  /// Null if there is none.
  Flight* find(std::uint64_t number);
  const Flight* find(std::uint64_t number) const;
  Map::value_type* find(const Task& task);
  /// Those that are in this message and have no result yet.
  std::vector<Map::value_type*> carried_by(std::uint64_t carrier);
  /// Messages that are out, or wait.
  std::size_t messages() const noexcept { return batches_.size() + flights_.size() - in_batches_; }
  bool none_waits() const noexcept { return to_submit_.empty(); }
  /// Whether the next one may be handed to the engine by any thread: it does not take long.
  bool is_next_small() const;
  std::vector<std::uint64_t> stored() const;
  /// Leaves those that are stored still, and gives in how many messages.
  std::size_t keep_stored(std::vector<std::uint64_t>& numbers) const;

 private:
  /// Several flights in one message.
  struct Batch {
    std::vector<std::uint64_t> numbers;
    std::size_t left = 0;  // Those that have no result yet.
  };
  std::vector<std::uint64_t> numbers_of(std::uint64_t carrier) const;
  bool is_to_submit(std::uint64_t number) const;
  bool fits_a_batch(const Flight& flight) const;
  /// Its batch, if it is in one, is not its carrier any more.
  void leave_batch(const Flight& flight);

  const unsigned most_deliveries_;
  Map flights_;
  std::deque<std::uint64_t> to_submit_;  // Carriers.
  std::uint64_t last_number_ = 0;
  std::unordered_map<std::uint64_t, Batch> batches_;
  std::size_t in_batches_ = 0;  // Flights.
  std::size_t share_ = 1;       // How many tasks are to go into one message.
};

}  // namespace tandem::detail
