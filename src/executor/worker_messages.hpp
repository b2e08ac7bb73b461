/// What passes between a pool and its worker processes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/detail/handle.hpp>
#include <tandem/detail/remote_task.hpp>
#include <tandem/error.hpp>
#include <tandem/queue.hpp>

namespace tandem::detail {

/// A parcel as a value that travels; who has one keeps the parcel. Handle.
template <ObjectKind kKind>
class ObjectRef {
 public:
  explicit ObjectRef(SharedObjectPtr object) : object_(std::move(object)) {}
  const SharedObjectPtr& object() const noexcept { return object_; }

 private:
  friend struct HandleAccess;
  static constexpr ObjectKind kObjectKind = kKind;
  const SharedObjectPtr& shared_object() const noexcept { return object_; }
  SharedObjectPtr object_;
};
using ParcelRef = ObjectRef<ObjectKind::Parcel>;
using RecordRef = ObjectRef<ObjectKind::Plain>;

/// One for each worker, in the arena; all zeros at first.
///
/// A task is begun by one compare-and-swap here, by the worker, and taken back from it by another, by the pool: so a
/// task that was taken back never runs, and when a worker is dead its pool knows which one it had begun. Killed peers:
/// only the worker begins; what it leaves behind is the number of the task that died with it.
struct WorkerRecord {
  static constexpr int kNumberBits = 48;
  static constexpr std::uint64_t kNumbers = (std::uint64_t{1} << kNumberBits) - 1;
  static constexpr std::uint64_t pack(std::uint64_t round, std::uint64_t number) noexcept {
    return round << kNumberBits | number;
  }
  static constexpr std::uint64_t round_of(std::uint64_t word) noexcept { return word >> kNumberBits; }
  static constexpr std::uint64_t number_of(std::uint64_t word) noexcept { return word & kNumbers; }

  // SYNC(task-begun): the round (16 bits), which the pool changes when it takes tasks back, and the number (48 bits) of
  // the task that the worker began last.
  std::atomic<std::uint64_t> begun;
  /// 1: the worker was ended because a task used up its CPU time.
  std::atomic<std::uint32_t> cpu_time_over;
  /// When the task that it began last began to run, on the steady clock; 0: it waits for a CPU. Only kept for tasks
  /// with a deadline.
  std::atomic<std::int64_t> started_ns;

  static WorkerRecord& of(const SharedObjectPtr& object) noexcept {
    return *static_cast<WorkerRecord*>(object->data());
  }
};
static_assert(sizeof(WorkerRecord) == 24, "layout in shared memory");

/// Tasks for one worker: a TaskBatch, the definitions of numbers of code that it has not seen, the tasks.
struct TaskBatch {
  std::uint64_t round = 0;
  std::uint64_t first_number = 0;
  std::uint64_t memory_limit_bytes = 0;  ///< 0: none. If there is a limit, there is one task.
  std::uint64_t cpu_time_limit_ns = 0;
  std::uint32_t definitions = 0;
  std::uint32_t tasks = 0;
  std::uint64_t has_deadline = 0;  ///< 1: the start of its one task is to be noted.
};
struct CodeDefinition {
  CodeNumber number = kNoCode;
  std::uint32_t size_bytes = 0;  ///< Of what follows.
};
struct TaskHead {
  CodeNumber entry = kNoCode;
  CodeNumber function = kNoCode;
  std::uint64_t size_bytes = 0;  ///< Of the arguments, which follow; kInParcel: an ObjectId follows.
};
inline constexpr std::uint64_t kInParcel = ~std::uint64_t{0};

/// What a worker, or the pool itself, has to say: a ResultHead, and what belongs to it in the same item or in a parcel.
struct ResultHead {
  enum Kind : std::uint32_t {
    kValue,
    kError,              ///< An exception.
    kOutOfMemory,        ///< Two numbers of 64 bits: the limit, the peak.
    kReady,              ///< The worker has begun; its initializer was called.
    kInitializerFailed,  ///< An exception.
    kGone,               ///< From the pool: the worker has ended.
    kWake,               ///< From the pool: something else has changed.
  };
  std::uint64_t worker = 0;
  std::uint64_t number = 0;
  std::uint32_t kind = kValue;
  std::uint32_t nanoseconds = 0;  ///< What the task took, or the most that fits.
};

using TaskQueueItem = std::vector<std::byte>;
using ResultQueueItem = std::pair<std::vector<std::byte>, std::optional<ParcelRef>>;

/// Appends to a message.
inline void append_bytes(std::vector<std::byte>& message, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const std::size_t before = message.size();
  message.resize(before + bytes.size());
  std::memcpy(message.data() + before, bytes.data(), bytes.size());
}
template <class T>
void append(std::vector<std::byte>& message, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  append_bytes(message, std::as_bytes(std::span(&value, 1)));
}

/// Reads a message. Throws WireError if it is cut short.
class MessageReader {
 public:
  explicit MessageReader(std::span<const std::byte> message) : left_(message) {}
  std::span<const std::byte> bytes(std::size_t size) {
    if (size > left_.size()) throw WireError("a message between a pool and its worker is cut short");
    const auto taken = left_.first(size);
    left_ = left_.subspan(size);
    return taken;
  }
  template <class T>
  T read() {
    T value;
    std::memcpy(&value, bytes(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::span<const std::byte> rest() const noexcept { return left_; }

 private:
  std::span<const std::byte> left_;
};

}  // namespace tandem::detail
