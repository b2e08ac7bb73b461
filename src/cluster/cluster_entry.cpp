#include "cluster/cluster_entry.hpp"

#include <unistd.h>

#include <cstring>
#include <vector>

#include <tandem/cluster.hpp>
#include <tandem/error.hpp>
#include <tandem/wire.hpp>

#include "cluster/task_message.hpp"
#include "executor/remote_entries.hpp"
#include "wire/code_address.hpp"

namespace tandem::detail {
namespace {

RemoteEntry checked_entry(void* code) {
  const auto entry = reinterpret_cast<RemoteEntry>(code);
  if (!is_noted_remote_entry(entry))
    throw WireError("a task names code that is no entry which a ClusterExecutor of this program has made");
  return entry;
}

void* code_of(std::span<const std::byte> definition) {
  Decoder decoder(definition);
  void* const code = decoder.read_code();
  decoder.expect_end();
  return code;
}

StandIns stand_ins_of(const NodeValues& values) {
  StandIns all;
  for (const auto& [offset, generation, value] : values)
    all.push_back({{offset, generation}, HandleAccess::object(value)});
  return all;
}

// A ticket and the arguments behind it.
void run_task(std::span<const std::byte> bytes, const StandIns& values, Encoder& result) {
  // What a client can name is what is here: in this process nothing is loaded on its behalf, nor is anything called
  // that does not begin a function. For good, since values may name functions too.
  find_only_loaded_functions();
  Decoder payload(bytes);
  const TaskTicket ticket = decode_ticket(payload);
  const RemoteEntry entry = checked_entry(code_of(ticket.entry));
  const void* const function = ticket.function.empty() ? nullptr : code_of(ticket.function);
  // From a beginning of their own, since what is aligned is so from there.
  Decoder arguments(bytes.last(payload.remaining()));
  arguments.stand_in(values);
  entry(function, arguments, result);
}

}  // namespace

bool note_cluster_entry(RemoteEntry entry) noexcept {
  return note_remote_entry(entry);
}

const void* function_of_ticket(std::span<const std::byte> code) noexcept {
  try {
    return code.empty() ? nullptr : code_of(code);
  } catch (const std::exception&) {
    return nullptr;  // The worker says why.
  }
}

void enter_cluster_task(const void*, Decoder& payload, Encoder& result) {
  const auto values = decode<NodeValues>(payload);
  std::vector<std::byte> bytes(payload.remaining());
  payload.read(bytes.data(), bytes.size());
  run_task(bytes, stand_ins_of(values), result);
  if (!result.objects().empty())
    throw WireError(
        "the result of a task in a cluster refers to a shared object (a Queue, an Event, a Value or their like): these "
        "stay on their machine");
  const auto pid = static_cast<std::int32_t>(::getpid());
  result.write(&pid, sizeof pid);
}

std::int32_t take_pid(std::vector<std::byte>& result) noexcept {
  std::int32_t pid = 0;
  if (result.size() < sizeof pid) return pid;
  std::memcpy(&pid, result.data() + result.size() - sizeof pid, sizeof pid);
  result.resize(result.size() - sizeof pid);
  return pid;
}

void initialize_for_client(const NodeInitializer& initializer) {
  const auto [bytes, size] = parcel_bytes(*HandleAccess::object(initializer.payload));
  Encoder result;
  run_task({bytes, size}, stand_ins_of(initializer.values), result);
}

}  // namespace tandem::detail
