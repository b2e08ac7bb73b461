#include <tandem/thread_info.hpp>

#include "thread/thread_record.hpp"
#include "thread/thread_registry.hpp"

namespace tandem {

using detail::ThreadKind;
using detail::ThreadRegistry;

std::uint64_t ThreadInfo::id() const {
  return ThreadRegistry::instance().id(*record_);
}
std::optional<pid_t> ThreadInfo::native_id() const {
  return record_->native_id();
}
std::string ThreadInfo::name() const {
  return ThreadRegistry::instance().name(*record_);
}
void ThreadInfo::set_name(std::string name) {
  ThreadRegistry::instance().set_name(*record_, std::move(name));
}
bool ThreadInfo::daemon() const {
  return ThreadRegistry::instance().daemon(*record_);
}
bool ThreadInfo::is_alive() const {
  return record_->alive();
}
bool ThreadInfo::is_main() const {
  return ThreadRegistry::instance().kind(*record_) == ThreadKind::Main;
}
bool ThreadInfo::wait(const detail::Deadline& deadline) const {
  return record_->join(deadline);
}
bool ThreadInfo::request_stop() const {
  return record_->stop.request_stop();
}
std::stop_token ThreadInfo::stop_token() const {
  return record_->stop.get_token();
}

std::string ThreadInfo::to_string() const {
  switch (ThreadRegistry::instance().kind(*record_)) {
    case ThreadKind::Main:
      return record_->describe("MainThread");
    case ThreadKind::Thread:
      return record_->describe("Thread");
    case ThreadKind::Task:
      return record_->describe("Task");
    case ThreadKind::Foreign:
      break;
  }
  return record_->describe("ForeignThread");
}

ThreadInfo current_thread() {
  return ThreadInfo(ThreadRegistry::instance().current());
}
ThreadInfo main_thread() {
  return ThreadInfo(ThreadRegistry::instance().main());
}

std::vector<ThreadInfo> enumerate() {
  std::vector<ThreadInfo> threads;
  for (detail::ThreadRecordPtr& record : ThreadRegistry::instance().alive()) threads.emplace_back(std::move(record));
  return threads;
}

std::size_t active_count() {
  return ThreadRegistry::instance().alive().size();
}

}  // namespace tandem
