#include "executor/pool_worker.hpp"

#include <signal.h>

#include <algorithm>
#include <utility>

#include <tandem/detail/process_body.hpp>
#include <tandem/error.hpp>

#include "core/kill_point.hpp"
#include "executor/code_numbers.hpp"
#include "executor/worker_main.hpp"

namespace tandem::detail {
namespace {

// How much work a worker is given ahead: more than a result and the next task need for their way, far less than anybody
// notices.
constexpr double kNanosecondsAhead = 200'000;
// Nothing waits behind tasks that are longer: the way of a result is nothing beside them.
constexpr double kLongTaskNanoseconds = std::chrono::nanoseconds(PoolWorker::kLongTask).count();
// So that a few measurements that came out much too small do no harm.
constexpr double kMostAhead = 512;

ProcessOptions process_options(const PoolWorker::Start& start) {
  ProcessOptions options;
  options.name = start.name;
  options.daemon = false;  // So that what tasks start is none either, unless they say so.
  options.start_method = start.options.start_method;
  options.terminate_grace = start.options.terminate_grace;
  return options;
}

// Called by the thread that sees processes end.
void tell_of_end(tandem::Queue<ResultQueueItem>& results, std::uint64_t worker) noexcept {
  try {
    ResultQueueItem item;
    append(item.first, ResultHead{worker, 0, ResultHead::kGone, 0});
    results.put(item);
  } catch (const std::exception&) {
    // The arena is full: the pool's thread finds out by itself, a little later.
  }
}

}  // namespace

bool runs_alone(const Task& task) {
  const TaskOptions& options = task.options();
  return options.deadline || options.memory_limit_bytes || options.cpu_time_limit;
}

PoolWorker::PoolWorker(const Start& start)
    : id_(start.id),
      name_(start.name),
      quota_(start.options.tasks_per_child),
      record_(make_plain(sizeof(WorkerRecord))),
      heard_(Clock::now()) {
  const WorkerSetup setup{id_, start.options.worker_memory_bytes.value_or(0)};
  child_ = std::make_shared<Child>(make_portable_body(run_worker, setup, tasks_, start.results, RecordRef(record_),
                                                      RecordRef(start.budget), start.initializer),
                                   process_options(start));
  child_->on_end([results = start.results, id = id_]() mutable { tell_of_end(results, id); });
  child_->start();
}

std::size_t PoolWorker::room() const noexcept {
  if (closed_ || (runs_alone_ && !in_flight_.empty())) return 0;
  std::size_t most = 1;
  if (task_nanoseconds_ > 0 && task_nanoseconds_ < kLongTaskNanoseconds)
    most = static_cast<std::size_t>(std::clamp(kNanosecondsAhead / task_nanoseconds_, 2.0, kMostAhead));
  // Not one by one: what is sent together costs less.
  if (in_flight_.size() > most / 2) return 0;
  std::size_t room = most - in_flight_.size();
  if (quota_) room = std::min(room, *quota_ - sent_);
  return room;
}

void PoolWorker::add_definition(std::vector<std::byte>& message, TaskBatch& batch, CodeNumber number) {
  if (number == kNoCode || (number < knows_.size() && knows_[number])) return;
  if (knows_.size() <= number) knows_.resize(number + 1);
  knows_[number] = true;
  const std::vector<std::byte> definition = code_definition(number);
  append(message, CodeDefinition{number, static_cast<std::uint32_t>(definition.size())});
  append_bytes(message, definition);
  ++batch.definitions;
}

void PoolWorker::send(std::vector<TaskPtr>& tasks) {
  const TaskOptions& options = tasks.front()->options();
  TaskBatch batch{
      round_, last_number_ + 1, options.memory_limit_bytes.value_or(0), 0, 0, static_cast<std::uint32_t>(tasks.size())};
  if (options.deadline) batch.has_deadline = 1;
  if (options.cpu_time_limit) batch.cpu_time_limit_ns = static_cast<std::uint64_t>(options.cpu_time_limit->count());
  message_.clear();
  append(message_, batch);
  for (const TaskPtr& task : tasks) {
    const auto& remote = static_cast<const RemoteTask&>(*task);
    add_definition(message_, batch, remote.entry());
    add_definition(message_, batch, remote.function());
  }
  std::memcpy(message_.data(), &batch, sizeof batch);
  for (const TaskPtr& task : tasks) {
    const auto& remote = static_cast<const RemoteTask&>(*task);
    if (const SharedObjectPtr& parcel = remote.payload().parcel()) {
      append(message_, TaskHead{remote.entry(), remote.function(), kInParcel});
      append(message_, parcel->id());
    } else {
      const auto bytes = remote.payload().bytes();
      append(message_, TaskHead{remote.entry(), remote.function(), bytes.size()});
      append_bytes(message_, bytes);
    }
  }
  try {
    TANDEM_KILL_POINT("pool.send");
    tasks_.put(message_);
  } catch (...) {
    knows_.clear();
    throw;
  }
  if (in_flight_.empty()) heard_ = Clock::now();
  runs_alone_ = runs_alone(*tasks.front());
  sent_ += tasks.size();
  for (TaskPtr& task : tasks) in_flight_.push_back({++last_number_, std::move(task)});
  tasks.clear();
  if (quota_ && sent_ >= *quota_) close();
}

TaskPtr PoolWorker::take_result(const ResultHead& head) {
  heard_ = Clock::now();
  if (in_flight_.empty() || in_flight_.front().number != head.number) return nullptr;
  const double now = std::max(1.0, static_cast<double>(head.nanoseconds));
  // Long ones count more: what waits behind one waits for it.
  task_nanoseconds_ += (now - task_nanoseconds_) * (task_nanoseconds_ == 0 ? 1 : now > task_nanoseconds_ ? 0.5 : 0.125);
  TaskPtr task = std::move(in_flight_.front().task);
  in_flight_.pop_front();
  return task;
}

const Task* PoolWorker::task(const ResultHead& head) const noexcept {
  return in_flight_.empty() || in_flight_.front().number != head.number ? nullptr : in_flight_.front().task.get();
}

std::vector<TaskPtr> PoolWorker::take_back() {
  std::atomic<std::uint64_t>& begun = WorkerRecord::of(record_).begun;
  round_ = (round_ + 1) & (~std::uint64_t{0} >> WorkerRecord::kNumberBits);
  std::uint64_t word = begun.load();
  while (!begun.compare_exchange_weak(word, WorkerRecord::pack(round_, WorkerRecord::number_of(word)))) continue;
  std::vector<TaskPtr> taken;
  // SYNC(task-begun): what the worker has not begun by now it never will.
  while (!in_flight_.empty() && in_flight_.back().number > WorkerRecord::number_of(word)) {
    taken.push_back(std::move(in_flight_.back().task));
    in_flight_.pop_back();
    --sent_;
  }
  return taken;
}

void PoolWorker::note_long_task() noexcept {
  const std::chrono::duration<double, std::nano> silent = Clock::now() - heard_;
  task_nanoseconds_ = std::max(task_nanoseconds_, silent.count());
}

Task* PoolWorker::current() const noexcept {
  if (in_flight_.empty()) return nullptr;
  const std::uint64_t begun = WorkerRecord::number_of(WorkerRecord::of(record_).begun.load());
  return in_flight_.front().number <= begun ? in_flight_.front().task.get() : nullptr;
}

std::optional<PoolWorker::Clock::time_point> PoolWorker::started() const noexcept {
  if (current() == nullptr) return std::nullopt;
  const std::int64_t at = WorkerRecord::of(record_).started_ns.load();
  return at == 0 ? std::nullopt : std::optional(Clock::time_point(std::chrono::nanoseconds(at)));
}

bool PoolWorker::has(const Task& task) const noexcept {
  return std::any_of(in_flight_.begin(), in_flight_.end(),
                     [&](const InFlight& in_flight) { return in_flight.task.get() == &task; });
}

bool PoolWorker::has_ended(const Task& task) const noexcept {
  const std::uint64_t begun = WorkerRecord::number_of(WorkerRecord::of(record_).begun.load());
  return std::any_of(in_flight_.begin(), in_flight_.end(), [&](const InFlight& in_flight) {
    return in_flight.task.get() == &task && in_flight.number < begun;
  });
}

void PoolWorker::close() noexcept {
  if (std::exchange(closed_, true)) return;
  try {
    tasks_.close();
  } catch (const std::exception&) {
    terminate(std::chrono::milliseconds(0));
  }
}

void PoolWorker::terminate(std::chrono::milliseconds grace) {
  if (!std::exchange(closed_, true)) {
    try {
      tasks_.close();  // If its task takes no notice of SIGTERM and ends, it leaves behind that.
    } catch (const std::exception&) {
      grace = std::chrono::milliseconds(0);
    }
  }
  if (kill_at_.is_never()) kill_at_ = Deadline::after(grace);
  try {
    child_->signal(SIGTERM);
  } catch (const std::system_error&) {
    // It became another user's, say: SIGKILL will not do either, and this process's end will.
  }
}

void PoolWorker::kill_if_due() noexcept {
  if (!kill_at_.passed()) return;
  kill_at_ = Deadline::never();
  try {
    child_->signal(SIGKILL);
  } catch (const std::system_error&) {
    // As in terminate().
  }
}

CrashReport PoolWorker::report() const {
  if (std::optional<CrashReport> report = child_->crash_report()) return *std::move(report);
  CrashReport report;  // It left with exit code 0, in the middle of a task.
  report.name = name_;
  report.pid = child_->pid().value_or(0);
  if (const std::optional<ProcessUsage> usage = child_->usage()) {
    report.peak_memory_bytes = usage->peak_memory_bytes;
    report.cpu_time = usage->user_time + usage->system_time;
  }
  return report;
}

std::exception_ptr PoolWorker::death_of(const Task& task) const {
  if (stop_error_) return stop_error_;
  const TaskOptions& options = task.options();
  if (options.cpu_time_limit && WorkerRecord::of(record_).cpu_time_over.load() != 0)
    return std::make_exception_ptr(
        CpuTimeExceeded("the task " + task.name() + " used more CPU time than it may, and was killed"));
  CrashReport report = this->report();
  if (options.memory_limit_bytes && report.probably_out_of_memory)
    return std::make_exception_ptr(OutOfMemory("the task " + task.name() + " ran out of memory and its worker died",
                                               *options.memory_limit_bytes, report.peak_memory_bytes));
  const std::optional<ExitStatus> status = child_->status();
  std::string text = "the worker " + name_ + " (pid " + std::to_string(report.pid) + ") died while it ran the task " +
                     task.name() + ": " + (status ? status->to_string() : "it is not known how");
  if (!report.exception_type.empty()) text += ": " + report.exception_type + ": " + report.exception_text;
  if (report.probably_out_of_memory) text += ", probably out of memory";
  if (task.attempts() > 1) text += " (attempt " + std::to_string(task.attempts()) + ")";
  return std::make_exception_ptr(TaskCrashed(text, std::move(report), task.attempts()));
}

}  // namespace tandem::detail
