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

/// All of a task but its arguments. Value; travels.
struct TaskTicket {
  std::string name{};  ///< Empty: that of the function.
  std::int64_t deadline_ns = 0;
  std::uint64_t memory_limit_bytes = 0;
  std::int64_t cpu_time_limit_ns = 0;
  /// How many agents it may be handed to.
  std::uint32_t most_deliveries = 0;
  /// The RemoteEntry and the plain function, as Encoder::write_code() writes them; the latter may be empty.
  std::vector<std::byte> entry{};
  std::vector<std::byte> function{};

  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, deadline_ns, memory_limit_bytes, cpu_time_limit_ns, most_deliveries, entry, function);
  }
  /// Its limits and its name; no retries, which are the client's to count.
  TaskOptions options() const;
};

/// Whether its arguments have handles, which mean nothing elsewhere.
bool refers_to_shared_objects(const RemoteTask& task);

/// The payload of a task: its ticket, then its arguments. To be called while nobody forgets the task.
std::vector<std::byte> encode_task(const RemoteTask& task, std::uint32_t most_deliveries);
/// Reads the ticket; what is left are the arguments. Throws WireError.
TaskTicket decode_ticket(Decoder& payload);

/// What came of a task. Value; travels.
struct TaskOutcome {
  enum Kind : std::uint32_t {
    kValue,      ///< `bytes`: the value.
    kError,      ///< `bytes`: an exception.
    kCrashed,    ///< `bytes`: the text of TaskCrashed, with `report`.
    kCancelled,  ///< It was stopped, or not begun, because the client asked for it.
  };
  std::uint32_t kind = kValue;
  std::int64_t took_ns = 0;  ///< On the node, from when the agent had it.
  std::vector<std::byte> bytes{};
  std::optional<CrashReport> report{};
};

/// What the future of a task in the agent holds: its value, or why there is none.
TaskOutcome outcome_of_value(std::vector<std::byte> value);
TaskOutcome outcome_of_error(const std::exception_ptr& error);

std::vector<std::byte> encode_outcome(const TaskOutcome& outcome);
/// Throws WireError.
TaskOutcome decode_outcome(std::span<const std::byte> payload);
/// What a task fails with: `node` ran it, in the client's attempt `attempt`. For every kind but kValue.
std::exception_ptr error_of(TaskOutcome outcome, const std::string& node, unsigned attempt);

}  // namespace tandem::detail
