#include <tandem/thread.hpp>

#include <stdexcept>

#include "thread/stack_size.hpp"
#include "thread/thread_record.hpp"
#include "thread/thread_registry.hpp"

namespace tandem {

using detail::ThreadKind;
using detail::ThreadRegistry;

namespace {

// A thread made by a daemon is a daemon, because nobody waits for its maker either. Foreign threads never said so.
bool inherited_daemon() {
  ThreadRegistry& registry = ThreadRegistry::instance();
  const detail::ThreadRecord* const maker = registry.current_if_known();
  return maker != nullptr && registry.kind(*maker) != ThreadKind::Foreign && registry.daemon(*maker);
}

}  // namespace

Thread::Thread(std::unique_ptr<detail::ThreadBody> body, ThreadOptions options) {
  if (options.stack_size_bytes != 0) detail::check_stack_size(options.stack_size_bytes);
  const bool daemon = options.daemon ? *options.daemon : inherited_daemon();
  record_ = ThreadRegistry::instance().make(ThreadKind::Thread, std::move(options.name), daemon, std::move(body));
  record_->gil = std::move(options.gil);
  record_->stack_size_bytes = options.stack_size_bytes;
}

Thread& Thread::operator=(Thread&& other) noexcept {
  if (this != &other) {
    end();
    record_ = std::move(other.record_);
  }
  return *this;
}

Thread::~Thread() {
  end();
}

void Thread::end() noexcept {
  if (record_ == nullptr) return;
  const detail::ThreadRecordPtr ended = std::move(record_);
  if (ended->state() == detail::ThreadState::Fresh || ThreadRegistry::instance().daemon(*ended)) return;
  ended->stop.request_stop();
  // The thread may own itself, through its arguments.
  if (ThreadRegistry::instance().current_if_known() != ended.get()) ended->join(detail::Deadline::never());
}

detail::ThreadRecord& Thread::record() const {
  if (record_ == nullptr) throw StateError("this Thread was moved from");
  return *record_;
}

void Thread::start() {
  static_cast<void>(record());
  ThreadRegistry::instance().start(record_);
}

bool Thread::wait(const detail::Deadline& deadline) {
  return record().join(deadline);
}
bool Thread::request_stop() {
  return record().stop.request_stop();
}
std::stop_token Thread::stop_token() const {
  return record().stop.get_token();
}
bool Thread::is_alive() const {
  return record().alive();
}
std::string Thread::name() const {
  return ThreadRegistry::instance().name(record());
}
void Thread::set_name(std::string name) {
  ThreadRegistry::instance().set_name(record(), std::move(name));
}
bool Thread::daemon() const {
  return ThreadRegistry::instance().daemon(record());
}
void Thread::set_daemon(bool daemon) {
  ThreadRegistry::instance().set_daemon(record(), daemon);
}
std::optional<pid_t> Thread::native_id() const {
  return record().native_id();
}
std::string Thread::to_string() const {
  return record().describe("Thread");
}

std::optional<std::uint64_t> Thread::id() const {
  const std::uint64_t id = ThreadRegistry::instance().id(record());
  return id == 0 ? std::nullopt : std::optional(id);
}

ThreadInfo Thread::info() const {
  static_cast<void>(record());
  return ThreadInfo(record_);
}

}  // namespace tandem
