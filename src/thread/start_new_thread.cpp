#include <tandem/start_new_thread.hpp>

#include <atomic>
#include <stdexcept>
#include <string>

#include "thread/stack_size.hpp"
#include "thread/thread_record.hpp"
#include "thread/thread_registry.hpp"

namespace tandem {

using detail::ThreadKind;
using detail::ThreadRegistry;
using detail::ThreadState;

namespace {
std::atomic<std::size_t> default_stack_bytes{0};
}  // namespace

ThreadHandle::ThreadHandle()
    : record_(std::make_shared<detail::ThreadRecord>(ThreadKind::Task, std::string(), /*daemon=*/true)) {}

void ThreadHandle::start(std::unique_ptr<detail::ThreadBody> body) {
  ThreadRegistry::instance().start_task(record_, std::move(body));
}

bool ThreadHandle::wait(const detail::Deadline& deadline) const {
  return record_->join(deadline);
}

bool ThreadHandle::done() const {
  const ThreadState state = record_->state();
  return state != ThreadState::Fresh && state != ThreadState::Running;
}

std::optional<std::uint64_t> ThreadHandle::id() const {
  const std::uint64_t id = ThreadRegistry::instance().id(*record_);
  return id == 0 ? std::nullopt : std::optional(id);
}

std::size_t thread_count() {
  return ThreadRegistry::instance().started_count();
}

std::size_t stack_size() {
  return default_stack_bytes.load(std::memory_order_relaxed);
}

std::size_t set_stack_size(std::size_t bytes) {
  if (bytes != 0) detail::check_stack_size(bytes);
  return default_stack_bytes.exchange(bytes, std::memory_order_relaxed);
}

void detail::check_stack_size(std::size_t bytes) {
  constexpr std::size_t kMaxStackBytes = std::size_t{1} << 40U;
  if (bytes >= kMinStackBytes && bytes <= kMaxStackBytes) return;
  throw std::invalid_argument("a thread's stack must have from " + std::to_string(kMinStackBytes) + " to " +
                              std::to_string(kMaxStackBytes) + " bytes, not " + std::to_string(bytes));
}

}  // namespace tandem
