#include "thread/thread_registry.hpp"

#include <unistd.h>
#include <tandem/error.hpp>
#include <tandem/start_new_thread.hpp>

#include <climits>
#include <exception>

#include "core/check.hpp"
#include "core/system.hpp"
#include "core/throw_stack.hpp"
#include "ipc/futex.hpp"
#include "sync/gil_core.hpp"
#include "thread/body_name.hpp"
#include "thread/excepthook.hpp"
#include "thread/native_thread.hpp"
#include "thread/process_exit.hpp"

namespace tandem::detail {
namespace {

// The calling thread's record while the registry knows it. Without a destructor, so that it can be read at any time
// during the end of a thread.
thread_local ThreadRecord* t_record = nullptr;
// Whether the thread's own thread_local objects are gone and it only lets other destructors go first.
thread_local bool t_leaving = false;

}  // namespace

ThreadRegistry& ThreadRegistry::instance() {
  static ThreadRegistry* const registry = [] {
    auto* const made = new ThreadRegistry;
    arm_process_exit();
    return made;
  }();
  return *registry;
}

ThreadRegistry::ThreadRegistry() {
  // The destructors of pthread keys run after those of thread_local objects: the end of a thread is told by the former
  // so that join() waits for the latter.
  const int error = ::pthread_key_create(&at_thread_end_, &ThreadRegistry::leave);
  if (error != 0) throw_system_error(error, "cannot make the key that tells the end of a thread");
  MutexGuard guard(mutex_);
  main_ = std::make_shared<ThreadRecord>(ThreadKind::Main, "MainThread", /*daemon=*/false);
  main_->id_ = ++last_id_;
  main_->native_id_.store(static_cast<std::uint32_t>(::getpid()), std::memory_order_release);
  main_->set_state(ThreadState::Running);
  alive_.emplace(main_->id_, main_);
}

// ---------------------------------------------------------------------------------------------------------------------
// A thread's way

ThreadRecordPtr ThreadRegistry::make(ThreadKind kind, std::string name, bool daemon, std::unique_ptr<ThreadBody> body) {
  const bool named = !name.empty();
  if (!named) {
    const std::string callable = body->function() == nullptr ? class_name(body->type()) : std::string();
    MutexGuard guard(mutex_);
    name = "Thread-" + std::to_string(++last_default_name_);
    if (!callable.empty()) name += " (" + callable + ")";
  }
  auto record = std::make_shared<ThreadRecord>(kind, std::move(name), daemon);
  if (!named) record->unnamed_function_ = body->function();
  record->body = std::move(body);
  return record;
}

void ThreadRegistry::start(const ThreadRecordPtr& record) {
  start(record, [] {});
}

void ThreadRegistry::start_task(const ThreadRecordPtr& record, std::unique_ptr<ThreadBody> body) {
  const std::string callable = body->function() == nullptr ? class_name(body->type()) : std::string();
  start(record, [&] {
    record->name_ = callable.empty() ? "task" : "task (" + callable + ")";
    record->unnamed_function_ = body->function();
    record->body = std::move(body);
  });
}

template <class Prepare>
void ThreadRegistry::start(const ThreadRecordPtr& record, Prepare&& prepare) {
  std::uint64_t id = 0;
  std::size_t stack_bytes = stack_size();
  {
    MutexGuard guard(mutex_);
    if (record->state() != ThreadState::Fresh) throw StateError("a thread can be started only once");
    if (closed_) throw StateError("this process is ending: no thread can be started any more");
    prepare();
    if (record->stack_size_bytes != 0) stack_bytes = record->stack_size_bytes;
    id = last_id_ + 1;
    alive_.emplace(id, record);
    last_id_ = id;
    record->id_ = id;
    record->fork_generation_ = fork_generation();
    record->set_state(ThreadState::Running);
  }
  // The registry keeps the record alive until the thread has ended.
  pthread_t thread{};
  const int error = start_native_thread(stack_bytes, &ThreadRegistry::run, record.get(), &thread);
  if (error == 0) {
    record->created_.store(thread, std::memory_order_release);  // SYNC(created)
    return;
  }
  std::string name;
  {
    MutexGuard guard(mutex_);
    alive_.erase(id);
    record->id_ = 0;
    record->set_state(ThreadState::Fresh);
    name = record->name_;
  }
  futex_wake(record->native_id_, INT_MAX);
  throw_system_error(error, "cannot start thread '" + name + "'");
}

void* ThreadRegistry::run(void* handed_over) {
  auto& record = *static_cast<ThreadRecord*>(handed_over);
  instance().enter(record);
  run_body(record);
  return nullptr;
}

void ThreadRegistry::enter(ThreadRecord& record) {
  t_record = &record;
  const int error = ::pthread_setspecific(at_thread_end_, &record);
  TANDEM_CHECK(error == 0, error, record.id_);
  {
    MutexGuard guard(mutex_);
    record.pthread_ = ::pthread_self();
    record.pthread_known_ = true;
    set_native_thread_name(record.pthread_, record.name_);
  }
  record.set_native_id(current_native_id());
}

void ThreadRegistry::run_body(ThreadRecord& record) {
  // In this order: the body is destroyed first, and still under the Gil.
  struct GilGuard {
    ~GilGuard() { release_gil_of_this_thread(); }
  } gil_guard;
  ExitScope exit_scope;
  std::optional<Gil> gil = std::move(record.gil);
  std::unique_ptr<ThreadBody> body = std::move(record.body);
  if (gil) gil->lock();
  ThrowStackScope throw_scope;
  try {
    throw_scope.run([&] { body->run(record.stop.get_token()); });
  } catch (const ExitRequest&) {
  } catch (...) {
    const std::exception_ptr exception = std::current_exception();
    // pthread_exit() and pthread_cancel() unwind with what is no exception of C++, and must not be stopped.
    if (exception == nullptr) throw;
    report_uncaught(record, exception);
  }
}

void ThreadRegistry::leave(void* record) {
  auto& ended = *static_cast<ThreadRecord*>(record);
  if (!t_leaving) {
    // Once more round: the destructors of other keys that run in this round may still use Tandem.
    t_leaving = true;
    ::pthread_setspecific(instance().at_thread_end_, record);
    return;
  }
  instance().finish(ended);
}

void ThreadRegistry::finish(ThreadRecord& record) noexcept {
  ThreadRecordPtr last;  // Destroys the record, if nobody else refers to it, outside the lock.
  {
    MutexGuard guard(mutex_);
    t_record = nullptr;
    t_leaving = false;
    if (record.kind_ == ThreadKind::Main) {
      // A forked process whose main thread is the one that called fork(), inside some body: the process ends next.
      record.set_state(ThreadState::Gone);
      return;
    }
    const auto found = alive_.find(record.id_);
    TANDEM_CHECK(found != alive_.end(), record.id_, record.state());
    last = std::move(found->second);
    alive_.erase(found);
    record.set_state(record.kind_ == ThreadKind::Foreign ? ThreadState::Gone : ThreadState::Ended);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Who is there

ThreadRecord* ThreadRegistry::current_if_known() const noexcept {
  return t_record;
}

ThreadRecordPtr ThreadRegistry::current() {
  if (t_record == nullptr) return register_caller();
  return t_record->shared_from_this();
}

ThreadRecordPtr ThreadRegistry::register_caller() {
  if (is_main_native_thread()) {
    arm_process_exit();  // In case that the first use was in another thread.
    MutexGuard guard(mutex_);
    main_->pthread_ = ::pthread_self();
    main_->pthread_known_ = true;
    t_record = main_.get();
    return main_;
  }
  ThreadRecordPtr record;
  {
    MutexGuard guard(mutex_);
    record = std::make_shared<ThreadRecord>(ThreadKind::Foreign, "Foreign-" + std::to_string(++last_foreign_name_),
                                            /*daemon=*/true);
    record->id_ = last_id_ + 1;
    record->pthread_ = ::pthread_self();
    record->pthread_known_ = true;
    record->fork_generation_ = fork_generation();
    record->native_id_.store(static_cast<std::uint32_t>(current_native_id()), std::memory_order_release);
    record->set_state(ThreadState::Running);
    alive_.emplace(record->id_, record);
    last_id_ = record->id_;
  }
  t_record = record.get();
  const int error = ::pthread_setspecific(at_thread_end_, record.get());
  TANDEM_CHECK(error == 0, error, 0);
  return record;
}

ThreadRecordPtr ThreadRegistry::main() {
  MutexGuard guard(mutex_);
  return main_;
}

std::vector<ThreadRecordPtr> ThreadRegistry::alive() {
  MutexGuard guard(mutex_);
  std::vector<ThreadRecordPtr> records;
  records.reserve(alive_.size());
  for (const auto& [id, record] : alive_) records.push_back(record);
  return records;
}

std::size_t ThreadRegistry::started_count() {
  MutexGuard guard(mutex_);
  std::size_t count = 0;
  for (const auto& [id, record] : alive_)
    count += record->kind_ == ThreadKind::Thread || record->kind_ == ThreadKind::Task ? 1 : 0;
  return count;
}

void ThreadRegistry::leave_main() {
  MutexGuard guard(mutex_);
  main_->set_state(ThreadState::Gone);
}

ThreadRecordPtr ThreadRegistry::next_to_wait_for() {
  MutexGuard guard(mutex_);
  for (const auto& [id, record] : alive_)
    if (record->kind_ == ThreadKind::Thread && !record->daemon_ && record.get() != t_record) return record;
  closed_ = true;
  return nullptr;
}

// ---------------------------------------------------------------------------------------------------------------------
// Properties

ThreadKind ThreadRegistry::kind(const ThreadRecord& record) {
  MutexGuard guard(mutex_);
  return record.kind_;
}

std::uint64_t ThreadRegistry::id(const ThreadRecord& record) {
  MutexGuard guard(mutex_);
  return record.id_;
}

std::string ThreadRegistry::name(ThreadRecord& record) {
  const void* function = nullptr;
  {
    MutexGuard guard(mutex_);
    function = record.unnamed_function_;
    if (function == nullptr) return record.name_;
  }
  const std::string found = function_name(function);
  MutexGuard guard(mutex_);
  // Another thread may have been here meanwhile, or have renamed it.
  if (record.unnamed_function_ != nullptr && !found.empty()) record.name_ += " (" + found + ")";
  record.unnamed_function_ = nullptr;
  return record.name_;
}

void ThreadRegistry::set_name(ThreadRecord& record, std::string name) {
  MutexGuard guard(mutex_);
  record.name_ = std::move(name);
  record.unnamed_function_ = nullptr;
  // A thread marks its end under the lock, so the system's thread is there. One that has just been started shows its
  // name itself.
  if (record.alive() && record.pthread_known_) set_native_thread_name(record.pthread_, record.name_);
}

bool ThreadRegistry::daemon(const ThreadRecord& record) {
  MutexGuard guard(mutex_);
  return record.daemon_;
}

void ThreadRegistry::set_daemon(ThreadRecord& record, bool daemon) {
  MutexGuard guard(mutex_);
  if (record.state() != ThreadState::Fresh) throw StateError("the daemon flag cannot change once a thread is started");
  record.daemon_ = daemon;
}

// ---------------------------------------------------------------------------------------------------------------------
// fork()

void ThreadRegistry::before_fork() {
  mutex_.lock();
  forked_by_main_ = is_main_native_thread();
}

void ThreadRegistry::after_fork_in_parent() {
  mutex_.unlock();
}

void ThreadRegistry::after_fork_in_child() {
  fork_generation_.fetch_add(1, std::memory_order_relaxed);
  for (const auto& [id, record] : alive_) {
    if (record.get() == t_record || (forked_by_main_ && record == main_)) continue;
    // Its threads do not exist here. The stop state may be locked by one of them for ever, so it gets a new one.
    record->set_state(ThreadState::Gone);
    record->stop = std::stop_source();
    if (record->kind_ == ThreadKind::Main) record->kind_ = ThreadKind::Thread;
  }
  if (!forked_by_main_) {
    if (t_record != nullptr) {
      main_ = t_record->shared_from_this();
      if (main_->kind_ == ThreadKind::Foreign) main_->name_ = "MainThread";
    } else {
      main_ = std::make_shared<ThreadRecord>(ThreadKind::Main, "MainThread", /*daemon=*/false);
      main_->id_ = ++last_id_;
    }
  }
  alive_.clear();
  alive_.emplace(main_->id_, main_);
  main_->kind_ = ThreadKind::Main;
  main_->daemon_ = false;
  main_->pthread_ = ::pthread_self();
  main_->pthread_known_ = true;
  main_->created_.store(0, std::memory_order_relaxed);  // Its end is that of the process.
  main_->native_id_.store(static_cast<std::uint32_t>(::getpid()), std::memory_order_release);
  main_->set_state(ThreadState::Running);
  t_record = main_.get();
  closed_ = false;
  mutex_.unlock();
}

}  // namespace tandem::detail
