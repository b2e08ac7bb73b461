/// What stands in the payloads of tasks and results: the same build writes and reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tandem/crash_report.hpp>
#include <tandem/detail/remote_task.hpp>
#include <tandem/executor_options.hpp>

namespace tandem::detail {

/// A Broadcast's value as tasks name it: by its object in the client's family. The engine keeps it under the
/// generation, which no two objects of a family share. Value; travels.
struct CarriedValue {
  std::uint64_t offset = 0;
  std::uint64_t generation = 0;
  std::uint64_t bytes = 0;

  ObjectId object() const noexcept { return {offset, generation}; }
};

/// All of a task but its arguments. Value; travels.
struct TaskTicket {
  std::string name{};  ///< Empty: that of the function.
  std::int64_t deadline_ns = 0;
  std::uint64_t memory_limit_bytes = 0;
  std::int64_t cpu_time_limit_ns = 0;
  /// How many agents it may be handed to that do not come back, and how many there were in earlier attempts.
  std::uint32_t most_deliveries = 0;
  std::uint32_t earlier_deliveries = 0;
  /// What its arguments refer to, and the task that a process has run before it: its executor's initializer.
  std::vector<CarriedValue> values{};
  std::optional<CarriedValue> initializer{};
  /// The RemoteEntry and the plain function, as Encoder::write_code() writes them; the latter may be empty.
  std::vector<std::byte> entry{};
  std::vector<std::byte> function{};

  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, deadline_ns, memory_limit_bytes, cpu_time_limit_ns, most_deliveries, earlier_deliveries, values,
            initializer, entry, function);
  }
  /// Its limits and its name; no retries, which are the client's to count.
  TaskOptions options() const;
};

/// Throws WireError for arguments with handles that mean nothing elsewhere: all but a Broadcast without such.
void check_can_leave(const std::vector<SharedObjectPtr>& objects);

// To be called while nobody forgets the task:
/// The objects of the Broadcasts among its arguments.
std::vector<SharedObjectPtr> values_of(const RemoteTask& task);
/// Its payload: its ticket, to which the rest is added, then its arguments.
std::vector<std::byte> encode_task(const RemoteTask& task, TaskTicket ticket);
/// What a client keeps as the value that is its initializer: the payload of a task, as an object that agents may have.
SharedObjectPtr make_initializer(RemoteEntry entry, const void* function, const Encoder& arguments);
CarriedValue carried(const SharedObject& value);
/// Reads the ticket; what is left are the arguments. Throws WireError.
TaskTicket decode_ticket(Decoder& payload);

/// What came of a task. Value; travels.
struct TaskOutcome {
  enum Kind : std::uint32_t {
    kValue,      ///< `bytes`: the value.
    kError,      ///< `bytes`: an exception.
    kCrashed,    ///< `bytes`: the text of TaskCrashed, with `report`.
    kCancelled,  ///< It was stopped, or not begun, because the client asked for it.
    kGivenBack,  ///< The agent leaves: it is to run elsewhere.
    kBroken,     ///< `bytes`: why the initializer of its executor failed.
    kNotBegun,   ///< It waited behind others for too long: somebody else may be free.
    kAbandoned,  ///< `bytes`: the text of TaskCrashed. Not begun: `deliveries` agents had it, and none came back.
  };
  std::uint32_t kind = kValue;
  std::int64_t took_ns = 0;      ///< On the node, from when the agent had it.
  std::int32_t pid = 0;          ///< Of the process that ran it, if that came to its end.
  std::uint32_t deliveries = 0;  ///< How many agents had it before this one: of kGivenBack, kAbandoned.
  std::vector<std::byte> bytes{};
  std::optional<CrashReport> report{};
  /// Of one that was decoded, and is a value: its bytes, in the payload; the others are empty.
  std::span<const std::byte> value{};
};

/// What the future of a task in the agent holds: its value, or why there is none.
TaskOutcome outcome_of_value(std::vector<std::byte> value);
TaskOutcome outcome_of_error(const std::exception_ptr& error);
/// `error`: the BrokenExecutor of a pool whose initializer failed.
TaskOutcome outcome_of_broken(const std::exception_ptr& error);

/// What a task comes to that so many agents had, if it may not be handed to another.
TaskOutcome outcome_of_abandoned(std::uint32_t deliveries);

/// What no store would ever take is not tried for ever: throws ClusterError if `what` has more than `most` bytes.
void check_fits(const char* what, std::uint64_t bytes, std::uint64_t most);

std::vector<std::byte> encode_outcome(const TaskOutcome& outcome);
/// Throws WireError.
TaskOutcome decode_outcome(std::span<const std::byte> payload);
/// What a task fails with: `node` ran it, in the client's attempt `attempt`. For kError, kCrashed, kCancelled,
/// kBroken, kAbandoned.
std::exception_ptr error_of(TaskOutcome outcome, const std::string& node, unsigned attempt);

}  // namespace tandem::detail
