#include "cluster/cluster_place.hpp"

#include <algorithm>
#include <random>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include <tandem/detail/remote_task.hpp>
#include <tandem/error.hpp>

#include "cluster/batch_message.hpp"
#include "cluster/nats_engine.hpp"
#include "cluster/task_message.hpp"
#include "core/check.hpp"
#include "core/exception_text.hpp"
#include "core/log.hpp"
#include "ipc/family.hpp"

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;

// How often it is looked whether the engine still has everything: a few round trips each time.
constexpr std::chrono::seconds kLook{1};
// How long submit() of the engine may wait: then it is looked whether there is something else to do.
constexpr milliseconds kSubmitPatience{100};
// What was not stored, or not taken, is not tried sooner: during an election a server refuses at once.
constexpr milliseconds kSubmitAgain{200};
// A node that was silent for so long counts for nothing: it announces itself once in a second.
constexpr std::chrono::seconds kSilent{10};
// A node that runs a task has said so within this time.
constexpr std::chrono::seconds kRunning{3};
// How long storing a value may wait for room and for the connection.
constexpr milliseconds kStorePatience{1000};
// How long a value is kept that no handle and no task which is out refers to: one that still waits may.
constexpr std::chrono::seconds kKeepValue{10};
// How long tasks may wait without a node before that is said.
constexpr std::chrono::seconds kLonely{5};
// For shorter tasks more are out than there are slots, for about so long a work of each: so that a node has the next
// one when a result leaves.
constexpr double kShortNanoseconds = 5e6, kNanosecondsAhead = 1e7;
constexpr std::size_t kMostAhead = 128;
// As much work goes into one message, so many bytes, and so many tasks.
constexpr double kBatchNanoseconds = 4e6;
constexpr std::size_t kMostInBatch = 128;
// Messages for each slot that are out, of short tasks: one that runs, one that is there next, one on its way. The
// others wait in the executor's queue, so that they go in few messages.
constexpr std::size_t kMessagesPerSlot = 3;
constexpr std::size_t kBatchBytes = std::size_t{64} << 10;
// Up to here a task is handed to the engine by who submits it, if nothing else is out.
constexpr std::size_t kSmallBytes = std::size_t{16} << 10;
// What a task counts for that made others wait until their agent sent them back.
constexpr double kLongNanoseconds = 2e7;

thread_local const ClusterPlace* t_telling = nullptr;

std::string random_name() {
  std::random_device device;
  return fmt::format("c{:08x}{:08x}{:08x}", device(), device(), device());
}

bool is_small(const Task& task) {
  const Payload& payload = static_cast<const RemoteTask&>(task).payload();
  return payload.parcel() == nullptr && payload.bytes().size() <= kSmallBytes;
}

bool never_alone(const Task&) {
  return false;
}

}  // namespace

ClusterPlace::ClusterPlace(Options options)
    : options_(std::move(options)), client_(random_name()), local_(options_.local) {
  std::shared_ptr<EngineClient> engine = connect_nats_client(options_.engine, client_, *this);
  const MutexGuard guard(mutex_);
  engine_ = std::move(engine);
  own_engine_ = engine_;
}

ClusterPlace::~ClusterPlace() {
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    engine = std::move(engine_);
  }
  if (::getpid() != owner_) {
    // Forked off: the connection and its threads are the other process's, which this one must not disturb.
    static_cast<void>(new std::shared_ptr<EngineClient>(std::move(engine)));
    static_cast<void>(new std::shared_ptr<EngineClient>(std::move(own_engine_)));
    return;
  }
  own_engine_.reset();
  // Without the mutex: it waits for callbacks.
  engine.reset();
}

std::size_t ClusterPlace::hear_slots(std::size_t agents, milliseconds patience) {
  const Deadline deadline = Deadline::after(patience);
  const MutexGuard guard(mutex_);
  while (nodes_.size() < agents && !deadline.passed()) changed_.wait_for(mutex_, deadline.left(kLook));
  return slots();
}

void ClusterPlace::open(std::shared_ptr<ExecutorCore> core) {
  core_ = core.get();
  const ExecutorOptions& options = core->options();
  if (options.gil) throw std::invalid_argument("machines share no Gil: the option is for a ThreadExecutor");
  if (options.start_method || options.tasks_per_child || options.worker_memory_bytes)
    throw std::invalid_argument(
        "how worker processes are started and replaced is up to the agents of a cluster, not to an executor");
}

void ClusterPlace::check(const TaskOptions& options) const {
  if (options.memory_limit_bytes == std::uint64_t{0})
    throw std::invalid_argument("a task cannot have at most 0 bytes of memory");
  if (options.cpu_time_limit && *options.cpu_time_limit <= std::chrono::nanoseconds::zero())
    throw std::invalid_argument("a task's CPU time limit must be above zero");
}

void ClusterPlace::more_work() {
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    if (!thread_) {
      thread_.emplace(ThreadOptions{.name = core_->name() + "-cluster", .daemon = false},
                      [this, core = core_->shared_from_this()] { run(); });
      try {
        thread_->start();
      } catch (...) {
        thread_.reset();
        throw;
      }
    }
    if (flights_.empty()) {
      fill();
      if (may_submit_here()) engine = engine_;
    }
    if (engine == nullptr) return wake();
  }
  // If it is the only one, it is there sooner without another thread.
  if (submit_here(*engine)) return;
  const MutexGuard guard(mutex_);
  wake();
}

void ClusterPlace::closed() noexcept {
  const MutexGuard guard(mutex_);
  wake();
}

std::size_t ClusterPlace::slots_of_nodes() const {
  std::size_t all = 0;
  const Clock::time_point now = Clock::now();
  for (const auto& [name, node] : nodes_)
    if (!node.leaving && now - node.heard_at < kSilent) all += node.slots;
  return all;
}

std::size_t ClusterPlace::slots() const {
  const std::size_t all = slots_of_nodes();
  // One in any case: nothing depends on announcements.
  return std::max<std::size_t>(1, options_.workers ? std::min(all, *options_.workers) : all);
}

std::size_t ClusterPlace::window() const {
  const std::size_t slots = this->slots();
  if (task_nanoseconds_ == 0 || task_nanoseconds_ > kShortNanoseconds) return slots;
  // Where there is room for more than may run at once, or it is not known for how many, all that is out may run.
  if (slots_of_nodes() != slots) return slots;
  const auto ahead = static_cast<std::size_t>(kNanosecondsAhead / std::max(task_nanoseconds_, 1.0));
  return slots * (1 + std::clamp<std::size_t>(ahead, 1, kMostAhead));
}

std::size_t ClusterPlace::most_in_batch() const {
  if (task_nanoseconds_ <= 0 || task_nanoseconds_ > kShortNanoseconds) return 1;
  return std::clamp<std::size_t>(static_cast<std::size_t>(kBatchNanoseconds / task_nanoseconds_), 1, kMostInBatch);
}

void ClusterPlace::fill() {
  if (given_up_) return;
  for (;;) {
    const std::size_t window = this->window();
    const std::size_t messages = kMessagesPerSlot * slots();
    const std::size_t out = batches_.size() + flights_.size() - in_batches_;
    if (flights_.size() >= window || out >= messages) return core_->call_for_more_work(false);
    const std::size_t room = messages - out;
    core_->take(std::min(window - flights_.size(), room * most_in_batch()), 1, never_alone, true, taken_);
    if (taken_.empty()) {
      // Another task may have come by now, which its submitter left to this.
      core_->call_for_more_work(true);
      if (!core_->has_queued()) return;
    }
    for (TaskPtr& task : taken_) {
      to_submit_.push_back(++last_number_);
      Flight& flight = flights_[last_number_];
      flight.task = std::move(task);
      flight.carrier = last_number_;
    }
    taken_.clear();
    // Each slot its share, if there is so much room.
    const std::size_t parts = std::min(room, slots());
    share_ = (to_submit_.size() + parts - 1) / parts;
  }
}

bool ClusterPlace::ended() {
  return !core_->is_open() && flights_.empty() && telling_ == 0 && (given_up_ || !core_->has_queued());
}

void ClusterPlace::run() {
  look_at_ = Clock::now() + kLook;
  for (bool refused = false;;) {
    {
      const MutexGuard guard(mutex_);
      fill();
      if (ended()) break;
      if (to_submit_.empty() || refused) {
        const Clock::duration left = std::min<Clock::duration>(look_at_ - Clock::now(), refused ? kSubmitAgain : kLook);
        if ((!woken_ || refused) && left > Clock::duration::zero()) changed_.wait_for(mutex_, left);
        woken_ = false;
        fill();
      }
    }
    refused = !submit_what_waits();
    if (Clock::now() < look_at_) continue;
    look();
    drop_values();
    find_loss();
    look_at_ = Clock::now() + kLook;
  }
  // Here, where no callback is: its end waits for them. And before the executor's end is told: nothing is left then.
  std::shared_ptr<LocalClusterKeeper> local;
  {
    const MutexGuard guard(mutex_);
    engine_.reset();
    nodes_.clear();
    local = std::move(local_);
  }
  own_engine_.reset();
}

void ClusterPlace::note_value(const SharedObjectPtr& object, Flight& flight) {
  Kept& kept = values_[object->id().generation];
  if (kept.object == nullptr) kept = {object, parcel_bytes(*object).second == 0, Clock::now()};
  flight.values.push_back(object->id().generation);
}

bool ClusterPlace::note_values(Flight& flight) {
  if (flight.values.empty()) {
    for (const SharedObjectPtr& object : values_of(static_cast<const RemoteTask&>(*flight.task)))
      note_value(object, flight);
    if (options_.initializer != nullptr) {
      note_value(options_.initializer, flight);
      for (const auto& [id, kind] : parcel_references(*options_.initializer)) note_value(attach(id, kind), flight);
    }
  }
  return std::all_of(flight.values.begin(), flight.values.end(),
                     [&](std::uint64_t number)
                         TANDEM_NO_THREAD_SAFETY_ANALYSIS { return values_.at(number).is_stored; });
}

bool ClusterPlace::store_values() {
  for (;;) {
    SharedObjectPtr object;
    {
      const MutexGuard guard(mutex_);
      const auto found =
          std::find_if(values_.begin(), values_.end(), [](const auto& one) { return !one.second.is_stored; });
      if (found == values_.end()) return true;
      object = found->second.object;
      // What a node misses from here on is missed again.
      found->second.is_stored = true;
    }
    const std::uint64_t number = object->id().generation;
    const auto [bytes, size] = parcel_bytes(*object);
    if (own_engine_->store_value(number, {bytes, size}, kStorePatience)) continue;
    const MutexGuard guard(mutex_);
    if (const auto found = values_.find(number); found != values_.end()) found->second.is_stored = false;
    return false;
  }
}

void ClusterPlace::drop_values() {
  std::vector<SharedObjectPtr> dropped;
  {
    const MutexGuard guard(mutex_);
    if (values_.empty()) return;
    const Clock::time_point now = Clock::now();
    for (const auto& [number, flight] : flights_)
      for (const std::uint64_t value : flight.values) values_.at(value).used_at = now;
    for (auto at = values_.begin(); at != values_.end();) {
      Kept& kept = at->second;
      // The one is this place's: other handles of this process share it.
      if (kept.object.use_count() > 1) kept.used_at = now;
      const bool is_over = now - kept.used_at > kKeepValue;
      if (is_over) dropped.push_back(std::move(kept.object));
      at = is_over ? values_.erase(at) : std::next(at);
    }
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
  if (to_submit_.empty() || engine_ == nullptr) return false;
  const auto found = flights_.find(to_submit_.front());
  return found != flights_.end() && is_small(*found->second.task);
}

std::atomic<std::int64_t> assumed_call_nanoseconds{0};

bool ClusterPlace::fits_a_batch(const Flight& flight) const {
  // Whose agent dies in a batch is to have another one.
  if (flight.attempt > 1 || options_.most_deliveries < 2) return false;
  const TaskOptions& options = flight.task->options();
  if (options.deadline || options.memory_limit_bytes || options.cpu_time_limit) return false;
  return is_small(*flight.task);
}

bool ClusterPlace::is_to_submit(std::uint64_t number) const {
  const auto found = flights_.find(number);
  return found != flights_.end() && found->second.step == Flight::Step::ToSubmit;
}

// Those that go next, in one message, which gets this id.
std::vector<std::uint64_t> ClusterPlace::next_numbers(ClusterTaskId& id) {
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
      std::erase_if(numbers,
                    [this](std::uint64_t number) TANDEM_NO_THREAD_SAFETY_ANALYSIS { return !is_to_submit(number); });
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
      if (numbers.empty()) most = std::clamp<std::size_t>(share_, 1, most_in_batch());
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

std::optional<ClusterPlace::Parcel> ClusterPlace::next_parcel() {
  for (;;) {
    Parcel parcel;
    parcel.id.client = client_;
    std::vector<TaskPtr> failed;
    std::exception_ptr error;
    {
      const MutexGuard guard(mutex_);
      const std::vector<std::uint64_t> numbers = next_numbers(parcel.id);
      if (numbers.empty()) return std::nullopt;
      bool has_values = true;
      for (const std::uint64_t number : numbers) {
        Flight& flight = flights_.at(number);
        flight.carrier = parcel.id.number;
        has_values = note_values(flight) && has_values;
      }
      if (!has_values) {
        // They go first.
        to_submit_.push_front(parcel.id.number);
        return std::nullopt;
      }
      std::size_t encoded = 0;
      for (const std::uint64_t number : numbers) {
        Flight& flight = flights_.at(number);
        flight.step = Flight::Step::Submitted;
        // With the mutex: who takes the flight out of here may forget the task's arguments then.
        try {
          std::vector<std::byte> bytes = encode_task(static_cast<const RemoteTask&>(*flight.task), ticket_of(flight));
          if (is_batch(parcel.id)) {
            add_to_batch(parcel.payload, {number, flight.attempt, std::move(bytes)});
          } else {
            parcel.payload = std::move(bytes);
          }
          ++encoded;
        } catch (const std::exception&) {
          // There is no memory for it.
          error = std::current_exception();
          failed.push_back(std::move(flight.task));
          erase(flights_.find(number));
        }
      }
      telling_ += failed.size();
      if (failed.empty()) return parcel;
      if (encoded > 0) to_submit_.push_front(parcel.id.number);
      for (const std::uint64_t number : numbers)
        if (const auto found = flights_.find(number); found != flights_.end())
          found->second.step = Flight::Step::ToSubmit;
    }
    for (const TaskPtr& task : failed) core_->failed(*task, error);
    const MutexGuard guard(mutex_);
    telling_ -= failed.size();
  }
}

bool ClusterPlace::submit_parcel(EngineClient& engine, const Parcel& parcel, milliseconds patience) {
  if (engine.submit(parcel.id, parcel.payload, TaskTarget(), patience)) return true;
  const MutexGuard guard(mutex_);
  bool any = false;
  for (const std::uint64_t number : numbers_of(parcel.id.number)) {
    const auto found = flights_.find(number);
    if (found == flights_.end() || found->second.carrier != parcel.id.number) continue;
    found->second.step = Flight::Step::ToSubmit;
    any = true;
  }
  if (any) to_submit_.push_front(parcel.id.number);
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
    if (to_submit_.empty()) return true;
  }
}

bool ClusterPlace::submit_here(EngineClient& engine) {
  while (const std::optional<Parcel> parcel = next_parcel())
    if (!submit_parcel(engine, *parcel, milliseconds::zero())) return false;
  const MutexGuard guard(mutex_);
  return to_submit_.empty();
}

std::vector<std::uint64_t> ClusterPlace::numbers_of(std::uint64_t carrier) const {
  if (carrier < kBatchNumbers) return {carrier};
  const auto found = batches_.find(carrier);
  return found == batches_.end() ? std::vector<std::uint64_t>() : found->second.numbers;
}

void ClusterPlace::leave_batch(Flight& flight) {
  const auto found = batches_.find(flight.carrier);
  if (found == batches_.end()) return;
  --in_batches_;
  if (--found->second.left == 0) batches_.erase(found);
}

void ClusterPlace::erase(Flights::iterator flight) {
  leave_batch(flight->second);
  flights_.erase(flight);
}

void ClusterPlace::on_stored(const ClusterTaskId& id, const std::vector<std::string>&) {
  const MutexGuard guard(mutex_);
  for (const std::uint64_t number : numbers_of(id.number)) {
    const auto found = flights_.find(number);
    if (found == flights_.end() || found->second.carrier != id.number) continue;
    if (!is_batch(id) && found->second.attempt != id.attempt) continue;
    found->second.step = Flight::Step::Stored;
    found->second.stored_at = Clock::now();
  }
}

void ClusterPlace::on_submit_error(const ClusterTaskId& id, const std::string& why) {
  log_line(LogLevel::Debug, "a task of the executor {} is not known to be stored: {}", core_->name(), why);
  const MutexGuard guard(mutex_);
  for (const std::uint64_t number : numbers_of(id.number)) {
    const auto found = flights_.find(number);
    if (found == flights_.end() || found->second.carrier != id.number) continue;
    // At the next look: at once it would most likely meet what it met now.
    if (is_batch(id) || found->second.attempt == id.attempt) found->second.step = Flight::Step::ToSubmit;
  }
}

void ClusterPlace::look() {
  // What is stored before the engine is asked, and has no result after it answered, it must have counted.
  std::vector<std::uint64_t> stored;
  const Clock::time_point before = Clock::now() - kLook;
  {
    const MutexGuard guard(mutex_);
    complain_of_no_nodes();
    std::unordered_set<std::uint64_t> waiting(to_submit_.begin(), to_submit_.end());
    for (const auto& [number, flight] : flights_) {
      if (flight.step == Flight::Step::Stored) stored.push_back(number);
      if (flight.step == Flight::Step::ToSubmit && waiting.insert(flight.carrier).second)
        to_submit_.push_back(flight.carrier);
    }
  }
  if (stored.empty()) {
    looks_ = 0;
    return;
  }
  const std::optional<Census> census = own_engine_->census();
  if (!census) {
    looks_ = 0;
    return;
  }
  const bool forgot = generation_ && *generation_ != census->generation;
  generation_ = census->generation;
  const MutexGuard guard(mutex_);
  std::erase_if(stored, [&](std::uint64_t number) TANDEM_NO_THREAD_SAFETY_ANALYSIS {
    const auto found = flights_.find(number);
    return found == flights_.end() || found->second.step != Flight::Step::Stored;
  });
  std::unordered_set<std::uint64_t> carriers;
  for (const std::uint64_t number : stored) carriers.insert(flights_.at(number).carrier);
  if (census->tasks + census->results >= carriers.size()) {
    looks_ = 0;
  } else if (++looks_ >= 2 || forgot) {
    // Twice: a task that ends is in two places, or in none, for a moment.
    looks_ = 0;
    submit_again(stored, before);
  }
}

void ClusterPlace::submit_again(const std::vector<std::uint64_t>& numbers, Clock::time_point before) {
  std::size_t count = 0;
  const Clock::time_point now = Clock::now();
  for (const std::uint64_t number : numbers) {
    Flight& flight = flights_.at(number);
    // The result of one that runs is still to come. What was stored since the last look is most likely there.
    if (now - flight.running_at < kRunning || flight.stored_at > before) continue;
    leave_batch(flight);
    flight.carrier = number;
    ++flight.attempt;
    flight.step = Flight::Step::ToSubmit;
    to_submit_.push_back(number);
    ++count;
  }
  if (count > 0)
    log_line(LogLevel::Info, "the server has forgotten tasks of the executor {}: {} are submitted again", core_->name(),
             count);
}

void ClusterPlace::complain_of_no_nodes() {
  const Clock::time_point now = Clock::now();
  const bool alone = std::none_of(nodes_.begin(), nodes_.end(),
                                  [&](const auto& node) { return now - node.second.heard_at < kSilent; });
  if (!alone || flights_.empty()) {
    lonely_since_ = {};
    complained_ = false;
    return;
  }
  if (lonely_since_ == Clock::time_point()) lonely_since_ = now;
  if (complained_ || now - lonely_since_ < kLonely) return;
  complained_ = true;
  log_line(LogLevel::Warning,
           "the tasks of the executor {} wait: no agent of this build ({}) is heard in the pool {}, {} of other builds",
           core_->name(), options_.engine.build_id, options_.engine.pool, strangers_.size());
}

void ClusterPlace::find_loss() noexcept {
  std::shared_ptr<LocalClusterKeeper> local;
  {
    const MutexGuard guard(mutex_);
    local = local_;
  }
  if (local != nullptr && !local->is_alive())
    return break_off("the local cluster of the executor " + core_->name() + " has ended: " + local->end());
  if (own_engine_->state() == EngineState::Refused)
    break_off("the server of the executor " + core_->name() + " refuses this program now");
}

void ClusterPlace::break_off(const std::string& text) noexcept {
  Flights lost;
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    engine = engine_;
    lost.swap(flights_);
    batches_.clear();
    in_batches_ = 0;
    to_submit_.clear();
    given_up_ = true;
  }
  core_->broke(text);
  for (auto& [number, flight] : lost) {
    if (engine != nullptr) cancel(*engine, {client_, number, flight.attempt}, flight.node);
    core_->failed(*flight.task, std::make_exception_ptr(BrokenExecutor(text)), /*final_error=*/true);
  }
}

void ClusterPlace::cancel(EngineClient& engine, const ClusterTaskId& id, const std::string& node) noexcept {
  try {
    engine.cancel(id, node);
  } catch (const std::exception& error) {
    log_line(LogLevel::Info, "a task runs on to no purpose: {}", error.what());
  }
}

void ClusterPlace::on_result(const ClusterTaskId& id, const std::string& node, std::vector<std::byte> result) {
  t_telling = this;
  if (!is_batch(id)) {
    take(id, node, result);
  } else {
    try {
      for (const BatchItem& item : decode_batch(result)) take({id.client, item.number, item.attempt}, node, item.bytes);
    } catch (const std::exception& error) {
      // What is missing then is missing in the census, too.
      log_line(LogLevel::Warning, "results from node {} that cannot be read: {}", node, error.what());
    }
  }
  t_telling = nullptr;
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    fill();
    if (may_submit_here() && core_->is_open()) {
      engine = engine_;
    } else if (!to_submit_.empty() || !core_->is_open()) {
      wake();
    }
  }
  // By this thread, which has the core now.
  if (engine == nullptr || submit_here(*engine)) return;
  const MutexGuard guard(mutex_);
  wake();
}

void ClusterPlace::take(const ClusterTaskId& id, const std::string& node, std::span<const std::byte> result) noexcept {
  TaskOutcome outcome;
  try {
    outcome = decode_outcome(result);
  } catch (const std::exception&) {
    outcome = outcome_of_error(std::current_exception());
  }
  const bool not_begun = outcome.kind == TaskOutcome::kNotBegun;
  TaskPtr task;
  {
    const MutexGuard guard(mutex_);
    const auto found = flights_.find(id.number);
    if (found == flights_.end()) return;  // It came before, or nobody wants it any more.
    Flight& flight = found->second;
    const bool is_back = not_begun || outcome.kind == TaskOutcome::kGivenBack;
    // An earlier attempt may come late, or twice.
    if (is_back && flight.attempt != id.attempt) return;
    if (outcome.kind == TaskOutcome::kGivenBack) {
      leave_batch(flight);
      flight.carrier = id.number;
      flight.deliveries += outcome.deliveries;
      ++flight.attempt;
      flight.step = Flight::Step::ToSubmit;
      to_submit_.push_back(id.number);
      return;
    }
    if (not_begun) {
      task_nanoseconds_ = std::max(task_nanoseconds_, kLongNanoseconds);
    } else {
      note_time(outcome.took_ns);
    }
    task = std::move(flight.task);
    erase(found);
    ++telling_;
  }
  if (not_begun) {
    core_->give_back(*task);
  } else {
    tell(*task, std::move(outcome), node);
  }
  task.reset();
  const MutexGuard guard(mutex_);
  --telling_;
}

void ClusterPlace::note_time(std::int64_t nanoseconds) {
  if (const std::int64_t assumed = assumed_call_nanoseconds.load(std::memory_order_relaxed)) nanoseconds = assumed;
  const auto now = static_cast<double>(std::max<std::int64_t>(nanoseconds, 1));
  // Long ones count more: what is handed out behind one waits for it.
  const double share = task_nanoseconds_ == 0 ? 1 : now > task_nanoseconds_ ? 0.5 : 0.125;
  task_nanoseconds_ += (now - task_nanoseconds_) * share;
}

void ClusterPlace::tell(Task& task, TaskOutcome outcome, const std::string& node) noexcept {
  std::exception_ptr error;
  const bool is_broken = outcome.kind == TaskOutcome::kBroken;
  const bool is_final = outcome.kind == TaskOutcome::kCancelled || is_broken;
  try {
    if (task.state().running()) {
      const pid_t pid = outcome.report ? outcome.report->pid : outcome.pid;
      note_in_trace(task, node, pid, std::chrono::nanoseconds(outcome.took_ns));
    }
    if (outcome.kind == TaskOutcome::kValue) {
      if (!task.state().claim_running()) return;
      Decoder decoder(outcome.value);
      const FutureState::Outcome kind = static_cast<RemoteTask&>(task).take_result(decoder);
      task.forget();
      return core_->finished(task, kind);
    }
    error = error_of(std::move(outcome), node, task.attempts());
    if (is_broken) break_off(describe_exception(error).what);
  } catch (const std::exception&) {
    error = std::current_exception();
  }
  core_->failed(task, std::move(error), is_final);
}

void ClusterPlace::note_in_trace(const Task& task, const std::string& node, pid_t pid,
                                 std::chrono::nanoseconds took) const noexcept {
  if (core_->trace() != nullptr) core_->trace()->ran(task, node, pid, Clock::now() - took);
}

void ClusterPlace::on_node(const NodeInfo& info) {
  const MutexGuard guard(mutex_);
  const Clock::time_point now = Clock::now();
  if (info.build_id != options_.engine.build_id) {
    if (strangers_.insert(info.node).second)
      log_line(LogLevel::Info, "node {} runs another build ({}) and gets no tasks of this one", info.node,
               info.build_id);
    return;
  }
  const bool is_new = !nodes_.contains(info.node);
  const std::size_t before = slots();
  std::erase_if(nodes_, [&](const auto& node) { return now - node.second.heard_at > kSilent; });
  Node& node = nodes_[info.node];
  node = {info.slots, std::chrono::nanoseconds(info.cpu_time_ns), info.memory_bytes, info.leaving, now, std::nullopt};
  for (const ClusterValueId& id : info.wanted) {
    const auto found = id.client == client_ ? values_.find(id.number) : values_.end();
    if (found == values_.end() || !found->second.is_stored) continue;
    found->second.is_stored = false;
    wake();
  }
  for (const ClusterTaskId& id : info.running) {
    if (id.client != client_) continue;
    for (const std::uint64_t number : numbers_of(id.number)) {
      const auto found = flights_.find(number);
      if (found == flights_.end() || found->second.carrier != id.number) continue;
      found->second.running_at = now;
      found->second.node = info.node;
      if (!node.task) node.task = number;
    }
  }
  if (is_new || slots() != before) wake();
}

ClusterPlace::Flights::iterator ClusterPlace::flight_of(const Task& task) {
  return std::find_if(flights_.begin(), flights_.end(),
                      [&](const auto& flight) { return flight.second.task.get() == &task; });
}

void ClusterPlace::stop(Task& task, Why why) noexcept {
  bool settle = false;
  TaskPtr held;
  ClusterTaskId id;
  std::string node;
  std::shared_ptr<EngineClient> engine;
  {
    const MutexGuard guard(mutex_);
    const auto found = flight_of(task);
    if (found == flights_.end()) {
      // It has ended, and the engine's thread is about to say how.
      settle = why != Why::Deadline && task.state().claim_running();
    } else if (why == Why::Deadline) {
      // The agent counts, from the start in its worker, and says so.
    } else if (task.state().claim_running()) {
      settle = true;
      held = std::move(found->second.task);
      id = {client_, found->first, found->second.attempt};
      node = found->second.node;
      erase(found);
      engine = engine_;
      wake();
    }
  }
  if (!settle) return;
  if (engine != nullptr) cancel(*engine, id, node);
  task.forget();
  if (why != Why::Cancelled) task.state().write_error(stop_error(task, why));
  core_->finished(task, why == Why::Cancelled ? FutureState::Outcome::Cancelled : FutureState::Outcome::Error);
}

bool ClusterPlace::in_own_thread() const {
  if (t_telling == this) return true;
  const MutexGuard guard(mutex_);
  return thread_ && thread_->id() == current_thread().id();
}

bool ClusterPlace::join(const Deadline& deadline) {
  Thread* thread = nullptr;
  std::shared_ptr<EngineClient> engine;
  std::shared_ptr<LocalClusterKeeper> local;
  {
    const MutexGuard guard(mutex_);
    if (thread_) {
      thread = &*thread_;
    } else {
      engine = std::move(engine_);
      local = std::move(local_);
      nodes_.clear();
    }
  }
  if (thread != nullptr) return thread->join_for(deadline.left(std::chrono::hours(24 * 365)));
  own_engine_.reset();
  return true;
}

std::vector<GivenUpTask> ClusterPlace::give_up() {
  std::vector<GivenUpTask> given_up;
  std::vector<TaskPtr> running;
  {
    const MutexGuard guard(mutex_);
    given_up_ = true;
    for (const auto& [number, flight] : flights_) {
      if (!flight.task->state().running()) continue;
      given_up.push_back({{}, flight.node.empty() ? "the cluster" : flight.node});
      flight.task->state().add_reference();
      running.emplace_back(flight.task.get());
    }
  }
  for (const TaskPtr& task : running) stop(*task, Why::ShutDown);
  for (std::size_t at = 0; at < running.size(); ++at) given_up[at].name = running[at]->name();
  return given_up;
}

void ClusterPlace::run_here(Task& task) noexcept {
  TANDEM_CHECK(false, task.executor(), core_->id());  // No thread of this process runs tasks of this place.
}

std::optional<std::uint64_t> ClusterPlace::begun_items() const {
  // The oldest ones, as many as there is room for: who has begun what is heard once in a second only.
  std::uint64_t items = 0;
  const MutexGuard guard(mutex_);
  std::size_t left = slots();
  for (const auto& [number, flight] : flights_) {
    if (left-- == 0) break;
    items += flight.task->items();
  }
  return items;
}

std::vector<WorkerInfo> ClusterPlace::workers() const {
  std::vector<WorkerInfo> all;
  std::vector<TaskPtr> running;
  {
    const MutexGuard guard(mutex_);
    const Clock::time_point now = Clock::now();
    for (const auto& [name, node] : nodes_) {
      if (now - node.heard_at > kSilent) continue;
      all.push_back({name, 0, 0, {}, node.cpu_time, node.memory_bytes});
      const auto found = node.task ? flights_.find(*node.task) : flights_.end();
      if (found != flights_.end()) found->second.task->state().add_reference();
      running.emplace_back(found != flights_.end() ? found->second.task.get() : nullptr);
    }
  }
  for (std::size_t at = 0; at < all.size(); ++at)
    if (running[at] != nullptr) all[at].task = running[at]->name();
  return all;
}

}  // namespace tandem::detail
