#include "process/this_process.hpp"

#include <unistd.h>

#include <atomic>

#include "process/child_setup.hpp"

namespace tandem {
namespace detail {
namespace {

// Never destroyed: static objects may ask at exit.
std::atomic<const ThisProcess*> this_process_now{nullptr};
std::atomic<std::uint64_t> last_child_number{0};

}  // namespace

const ThisProcess& this_process_info() {
  // SYNC(this-process): a child sets it before its body, so before any thread that could ask.
  if (const ThisProcess* info = this_process_now.load(std::memory_order_acquire)) return *info;
  static const auto* const first = new ThisProcess;
  return *first;
}

void become(const ChildSetup& setup) {
  auto* const info = new ThisProcess;
  info->name = setup.name;
  info->daemon = setup.daemon;
  info->method = setup.method;
  info->parent = ProcessInfo{setup.parent_name, setup.parent_pid, false, std::nullopt};
  this_process_now.store(info, std::memory_order_release);
}

std::string next_child_name() {
  const std::string number = std::to_string(last_child_number.fetch_add(1, std::memory_order_relaxed) + 1);
  const ThisProcess& self = this_process_info();
  // As in Python: "Process-2", its child "Process-2:1". A parent with a name of its own leads to "name:1".
  return self.parent ? self.name + ":" + number : "Process-" + number;
}

void restart_child_names() noexcept {
  last_child_number.store(0, std::memory_order_relaxed);
}

}  // namespace detail

ProcessInfo current_process() {
  const detail::ThisProcess& self = detail::this_process_info();
  return {self.name, ::getpid(), self.daemon, self.method};
}

std::optional<ProcessInfo> parent_process() {
  return detail::this_process_info().parent;
}

}  // namespace tandem
