#include "cluster/task_message.hpp"

#include <chrono>
#include <utility>

#include <fmt/format.h>

#include <tandem/cluster.hpp>
#include <tandem/error.hpp>
#include <tandem/wire.hpp>

#include "core/exception_text.hpp"
#include "executor/code_numbers.hpp"
#include "ipc/family.hpp"
#include "thread/body_name.hpp"
#include "wire/exceptions.hpp"

namespace tandem::detail {
namespace {

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto* const at = reinterpret_cast<const std::byte*>(text.data());
  return {at, at + text.size()};
}
std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A large payload is copied once.
std::vector<std::byte> joined(std::span<const std::byte> head, std::span<const std::byte> rest) {
  std::vector<std::byte> all;
  all.reserve(head.size() + rest.size());
  all.insert(all.end(), head.begin(), head.end());
  all.insert(all.end(), rest.begin(), rest.end());
  return all;
}

void encode_report(Encoder& encoder, const CrashReport& report) {
  encoder(report.name, static_cast<std::int32_t>(report.pid), report.signal, report.exit_code, report.exception_type,
          report.exception_text, report.stack, report.stderr_tail, report.peak_memory_bytes,
          static_cast<std::int64_t>(report.cpu_time.count()), report.probably_out_of_memory);
}

CrashReport decode_report(Decoder& decoder) {
  CrashReport report;
  std::int32_t pid = 0;
  std::int64_t cpu_time_ns = 0;
  decoder(report.name, pid, report.signal, report.exit_code, report.exception_type, report.exception_text, report.stack,
          report.stderr_tail, report.peak_memory_bytes, cpu_time_ns, report.probably_out_of_memory);
  report.pid = pid;
  report.cpu_time = std::chrono::nanoseconds(cpu_time_ns);
  return report;
}

}  // namespace

TaskOptions TaskTicket::options() const {
  TaskOptions options;
  options.name = name;
  if (deadline_ns > 0) options.deadline = std::chrono::nanoseconds(deadline_ns);
  if (memory_limit_bytes > 0) options.memory_limit_bytes = memory_limit_bytes;
  if (cpu_time_limit_ns > 0) options.cpu_time_limit = std::chrono::nanoseconds(cpu_time_limit_ns);
  return options;
}

namespace {

void check_can_leave(ObjectId id, ObjectKind kind) {
  if (kind != ObjectKind::Broadcast)
    throw WireError(
        "a task for a cluster refers to a shared object (a Queue, an Event, a Value or their like): these stay on "
        "their machine; pass values, and give back what is to be shared as the result");
  if (!parcel_references(*attach(id, kind)).empty())
    throw WireError(
        "the value of a Broadcast for a cluster refers to a shared object (a Queue, an Event, another Broadcast or "
        "their like): these stay on their machine");
}

}  // namespace

void check_can_leave(const RemoteTask& task) {
  const SharedObjectPtr& parcel = task.payload().parcel();
  if (parcel == nullptr) return;
  for (const auto& [id, kind] : parcel_references(*parcel)) check_can_leave(id, kind);
}

void check_can_leave(const std::vector<SharedObjectPtr>& objects) {
  if (objects.empty()) return;
  const SharedObjectPtr parcel = make_parcel(nullptr, 0, objects);
  for (const auto& [id, kind] : parcel_references(*parcel)) check_can_leave(id, kind);
}

std::vector<SharedObjectPtr> values_of(const RemoteTask& task) {
  std::vector<SharedObjectPtr> values;
  if (const SharedObjectPtr& parcel = task.payload().parcel())
    for (const auto& [id, kind] : parcel_references(*parcel)) values.push_back(attach(id, kind));
  return values;
}

CarriedValue carried(const SharedObject& value) {
  return {value.id().offset, value.id().generation, parcel_bytes(value).second};
}

SharedObjectPtr make_initializer(RemoteEntry entry, const void* function, const Encoder& arguments) {
  check_can_leave(arguments.objects());
  TaskTicket ticket;
  ticket.entry = code_definition(code_number(reinterpret_cast<const void*>(entry)));
  if (function != nullptr) ticket.function = code_definition(code_number(function));
  for (const SharedObjectPtr& object : arguments.objects()) ticket.values.push_back(carried(*object));
  Encoder encoder;
  encode(encoder, ticket);
  encoder.write(arguments.bytes().data(), arguments.bytes().size());
  return make_parcel(encoder.bytes().data(), encoder.bytes().size(), arguments.objects(), ObjectKind::Broadcast);
}

std::vector<std::byte> encode_task(const RemoteTask& task, TaskTicket ticket) {
  const TaskOptions& options = task.options();
  ticket.name = options.name;
  // The agent finds the name of a plain function, but does not know the type of an object.
  if (ticket.name.empty() && task.function() == kNoCode) ticket.name = class_name(task.callable_type());
  if (options.deadline) ticket.deadline_ns = options.deadline->count();
  ticket.memory_limit_bytes = options.memory_limit_bytes.value_or(0);
  if (options.cpu_time_limit) ticket.cpu_time_limit_ns = options.cpu_time_limit->count();
  ticket.entry = code_definition(task.entry());
  if (task.function() != kNoCode) ticket.function = code_definition(task.function());
  const EncoderLease lease;
  encode(*lease, ticket);
  const auto head = (*lease).bytes();
  if (const SharedObjectPtr& parcel = task.payload().parcel()) {
    const auto [bytes, size] = parcel_bytes(*parcel);
    return joined(head, {bytes, size});
  }
  return joined(head, task.payload().bytes());
}

TaskTicket decode_ticket(Decoder& payload) {
  return decode<TaskTicket>(payload);
}

void check_fits(const char* what, std::uint64_t bytes, std::uint64_t most) {
  if (bytes > most)
    throw ClusterError(fmt::format(
        "{} of {} bytes: the store of the cluster takes {} bytes at most; what is large belongs into a shared file",
        what, bytes, most));
}

TaskOutcome outcome_of_value(std::vector<std::byte> value) {
  TaskOutcome outcome;
  outcome.bytes = std::move(value);
  return outcome;
}

TaskOutcome outcome_of_error(const std::exception_ptr& error) {
  TaskOutcome outcome;
  try {
    std::rethrow_exception(error);
  } catch (const TaskCrashed& crash) {
    outcome.kind = TaskOutcome::kCrashed;
    outcome.bytes = bytes_of(crash.what());
    outcome.report = crash.report();
  } catch (...) {
    outcome.kind = TaskOutcome::kError;
    outcome.bytes = encode_exception(error);
  }
  return outcome;
}

TaskOutcome outcome_of_broken(const std::exception_ptr& error) {
  TaskOutcome outcome;
  outcome.kind = TaskOutcome::kBroken;
  outcome.bytes = bytes_of(describe_exception(error).what);
  return outcome;
}

TaskOutcome outcome_of_abandoned(std::uint32_t deliveries) {
  TaskOutcome outcome;
  outcome.kind = TaskOutcome::kAbandoned;
  outcome.deliveries = deliveries;
  outcome.bytes =
      bytes_of(fmt::format("the task was handed to {} agents, and none of them came back with a result", deliveries));
  return outcome;
}

std::vector<std::byte> encode_outcome(const TaskOutcome& outcome) {
  Encoder encoder;
  encoder(outcome.kind, outcome.took_ns, outcome.pid, outcome.deliveries, outcome.report.has_value());
  if (outcome.report) encode_report(encoder, *outcome.report);
  return joined(encoder.bytes(), outcome.bytes);
}

TaskOutcome decode_outcome(std::span<const std::byte> payload) {
  Decoder decoder(payload);
  TaskOutcome outcome;
  bool has_report = false;
  decoder(outcome.kind, outcome.took_ns, outcome.pid, outcome.deliveries, has_report);
  if (outcome.kind > TaskOutcome::kAbandoned) throw WireError("a result of a kind that there is not");
  if (has_report) outcome.report = decode_report(decoder);
  const std::span<const std::byte> rest = payload.last(decoder.remaining());
  if (outcome.kind == TaskOutcome::kValue) {
    outcome.value = rest;
  } else {
    outcome.bytes.assign(rest.begin(), rest.end());
  }
  return outcome;
}

std::exception_ptr error_of(TaskOutcome outcome, const std::string& node, unsigned attempt) {
  if (outcome.kind == TaskOutcome::kCancelled)
    return std::make_exception_ptr(TaskCancelled(fmt::format("the task was stopped on node {}", node)));
  if (outcome.kind == TaskOutcome::kError) return decode_exception(outcome.bytes);
  if (outcome.kind == TaskOutcome::kBroken)
    return std::make_exception_ptr(BrokenExecutor(fmt::format("node {}: {}", node, text_of(outcome.bytes))));
  CrashReport report = outcome.report.value_or(CrashReport());
  report.name = report.name.empty() ? node : node + "/" + report.name;
  std::string text = fmt::format("node {}: {}", node, text_of(outcome.bytes));
  if (attempt > 1) text += fmt::format(" (attempt {})", attempt);
  return std::make_exception_ptr(TaskCrashed(text, std::move(report), attempt));
}

}  // namespace tandem::detail
