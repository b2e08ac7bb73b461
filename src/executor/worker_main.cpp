#include "executor/worker_main.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include <tandem/callable.hpp>

#include "core/kill_point.hpp"
#include "executor/cpu_budget.hpp"
#include "process/limits.hpp"
#include "wire/exceptions.hpp"

namespace tandem::detail {
namespace {

using Clock = std::chrono::steady_clock;

// How often a worker looks how much memory it has: a look costs some microseconds.
constexpr std::chrono::milliseconds kMemoryLooks{10};

/// What a number of code stands for here.
struct Code {
  void* address = nullptr;
  std::exception_ptr error;  // Why there is none.
};

class Worker {
 public:
  Worker(const WorkerSetup& setup, tandem::Queue<ResultQueueItem> results, const SharedObjectPtr& record,
         const SharedObjectPtr& budget)
      : setup_(setup), results_(std::move(results)), record_(WorkerRecord::of(record)), token_(budget) {}

  /// Whether the worker may go on.
  bool initialize(const std::optional<ParcelRef>& initializer) {
    if (initializer) {
      try {
        const auto [bytes, size] = parcel_bytes(*initializer->object());
        Decoder decoder(bytes, size);
        static_cast<void>(run_call(decoder));
      } catch (...) {
        send_error(ResultHead::kInitializerFailed, 0, std::current_exception());
        return false;
      }
    }
    send(ResultHead::kReady, 0);
    return true;
  }

  /// Whether the worker may go on.
  bool run_batch(std::span<const std::byte> message) {
    MessageReader reader(message);
    const auto batch = reader.read<TaskBatch>();
    for (std::uint32_t left = batch.definitions; left > 0; --left) define(reader);
    time_ = Clock::now();
    for (std::uint32_t at = 0; at < batch.tasks; ++at) {
      const auto head = reader.read<TaskHead>();
      std::span<const std::byte> arguments;
      std::optional<ObjectId> id;
      if (head.size_bytes == kInParcel) {
        id = reader.read<ObjectId>();
      } else {
        arguments = reader.bytes(head.size_bytes);
      }
      // SYNC(task-begun): what the task before has left is gone when the pool sees that this one is begun.
      if (batch.has_deadline != 0) record_.started_ns.store(0, std::memory_order_relaxed);
      if (begin(batch.round, batch.first_number + at)) run_task(batch, batch.first_number + at, head, arguments, id);
    }
    return !has_grown();
  }

 private:
  void define(MessageReader& reader) {
    const auto definition = reader.read<CodeDefinition>();
    const auto bytes = reader.bytes(definition.size_bytes);
    if (codes_.size() <= definition.number) codes_.resize(definition.number + 1);
    try {
      Decoder decoder(bytes);
      codes_[definition.number].address = decoder.read_code();
    } catch (...) {
      codes_[definition.number].error = std::current_exception();
    }
  }
  void* code(CodeNumber number) const {
    if (number == kNoCode) return nullptr;
    const Code& found = codes_.at(number);
    if (found.error) std::rethrow_exception(found.error);
    return found.address;
  }

  /// False if the task was taken back.
  bool begin(std::uint64_t round, std::uint64_t number) noexcept {
    std::uint64_t word = record_.begun.load(std::memory_order_relaxed);
    do {
      if (WorkerRecord::round_of(word) != round) return false;
    } while (!record_.begun.compare_exchange_weak(word, WorkerRecord::pack(round, number)));  // SYNC(task-begun)
    TANDEM_KILL_POINT("worker.begun");
    return true;
  }

  void run_task(const TaskBatch& batch, std::uint64_t number, const TaskHead& head,
                std::span<const std::byte> arguments, const std::optional<ObjectId>& in_parcel) {
    token_.install();
    if (batch.has_deadline != 0)
      record_.started_ns.store(Clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
    out_.clear();
    ResultHead::Kind kind = ResultHead::kValue;
    std::exception_ptr error;
    if (batch.memory_limit_bytes != 0) reset_peak_memory();
    try {
      std::optional<MemoryLimit> memory;
      std::optional<CpuTimeLimit> cpu_time;
      if (batch.memory_limit_bytes != 0) memory.emplace(batch.memory_limit_bytes);
      if (batch.cpu_time_limit_ns != 0)
        cpu_time.emplace(std::chrono::nanoseconds(batch.cpu_time_limit_ns), record_.cpu_time_over);
      SharedObjectPtr parcel;
      if (in_parcel) {
        parcel = attach(*in_parcel, ObjectKind::Parcel);
        const auto [bytes, size] = parcel_bytes(*parcel);
        arguments = {bytes, size};
      }
      Decoder decoder(arguments);
      reinterpret_cast<RemoteEntry>(code(head.entry))(code(head.function), decoder, out_);
    } catch (const std::bad_alloc&) {
      kind = batch.memory_limit_bytes != 0 ? ResultHead::kOutOfMemory : ResultHead::kError;
      error = std::current_exception();
    } catch (...) {
      kind = ResultHead::kError;
      error = std::current_exception();
    }
    TANDEM_KILL_POINT("worker.ran");
    answer(kind, number, batch.memory_limit_bytes, error);
    TANDEM_KILL_POINT("worker.answered");
  }

  void answer(ResultHead::Kind kind, std::uint64_t number, std::uint64_t memory_limit,
              const std::exception_ptr& error) {
    if (kind == ResultHead::kError) return send_error(kind, number, error);
    if (kind == ResultHead::kOutOfMemory) {
      out_.clear();
      out_(memory_limit, peak_memory_bytes());
      return send(kind, number);
    }
    try {
      send(kind, number);
    } catch (const std::system_error&) {  // The arena has no room for the result.
      send_error(ResultHead::kError, number, std::current_exception());
    }
  }
  void send_error(ResultHead::Kind kind, std::uint64_t number, const std::exception_ptr& error) {
    const std::vector<std::byte> bytes = encode_exception(error);
    out_.clear();
    out_.write(bytes.data(), bytes.size());
    send(kind, number);
  }
  /// Sends what is in out_.
  void send(ResultHead::Kind kind, std::uint64_t number) {
    const Clock::time_point now = Clock::now();
    const auto took = std::chrono::duration_cast<std::chrono::nanoseconds>(now - time_).count();
    time_ = now;
    const auto shown =
        static_cast<std::uint32_t>(std::min<std::int64_t>(took, std::numeric_limits<std::uint32_t>::max()));
    item_.first.clear();
    item_.second.reset();
    append(item_.first, ResultHead{setup_.worker, number, kind, shown});
    if (out_.bytes().size() > Payload::kMostCopiedBytes || !out_.objects().empty()) {
      item_.second.emplace(make_parcel(out_.bytes().data(), out_.bytes().size(), out_.objects()));
    } else {
      append_bytes(item_.first, out_.bytes());
    }
    results_.put(item_);
    item_.second.reset();
  }

  bool has_grown() {
    if (setup_.memory_bytes == 0 || Clock::now() - looked_ < kMemoryLooks) return false;
    looked_ = Clock::now();
    return private_memory_bytes() > setup_.memory_bytes;
  }

  const WorkerSetup setup_;
  tandem::Queue<ResultQueueItem> results_;
  WorkerRecord& record_;
  CpuToken token_;
  std::vector<Code> codes_;
  Encoder out_;
  ResultQueueItem item_;
  Clock::time_point time_ = Clock::now();
  Clock::time_point looked_{};
};

}  // namespace

int run_worker(const WorkerSetup& setup, tandem::Queue<TaskQueueItem> tasks, tandem::Queue<ResultQueueItem> results,
               RecordRef record, RecordRef budget, const std::optional<ParcelRef>& initializer) {
  // Ctrl-C goes to all processes of the terminal at once; the pool's own process sees to the end of all.
  take_no_interrupts();
  adopt_cpu_budget(budget.object());
  Worker worker(setup, std::move(results), record.object(), budget.object());
  if (!worker.initialize(initializer)) return 0;
  for (const TaskQueueItem& batch : tasks)
    if (!worker.run_batch(batch)) break;
  return 0;
}

}  // namespace tandem::detail
