/// The threads of this process that Tandem knows.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/mutex.hpp"
#include "thread/thread_record.hpp"

namespace tandem::detail {

/// One for each process, made on first use and never destroyed: threads and static objects may need it at any time
/// during the exit. Making it arranges for fork() and for the exit of the process.
///
/// Threads: every member may be called from any thread, except the three for fork().
class ThreadRegistry {
 public:
  static ThreadRegistry& instance();

  // What a thread goes through.
  /// A record for a thread that is not started. An empty name becomes "Thread-N (what it runs)"; the name of a function
  /// is looked up when somebody asks for the thread's name, because that is slow, so the system shows only "Thread-N".
  ThreadRecordPtr make(ThreadKind kind, std::string name, bool daemon, std::unique_ptr<ThreadBody> body);
  /// Starts it. Throws StateError if it was started before or threads are no longer waited for; std::system_error if
  /// the system refuses, and then it is as before.
  void start(const ThreadRecordPtr& record);
  /// The same for a record made by a ThreadHandle, which learns only now what it is to run.
  void start_task(const ThreadRecordPtr& record, std::unique_ptr<ThreadBody> body);
  /// The calling thread's record; makes one if it is a foreign thread.
  ThreadRecordPtr current();
  /// The record that current() would find, without making one: null for a foreign thread not seen yet.
  ThreadRecord* current_if_known() const noexcept;
  ThreadRecordPtr main();

  /// How many forks lie between the program's first process and this one.
  std::uint32_t fork_generation() const noexcept { return fork_generation_.load(std::memory_order_relaxed); }

  std::vector<ThreadRecordPtr> alive();
  /// Threads and tasks that Tandem started and that have not ended.
  std::size_t started_count();

  // The exit of the process.
  /// Marks the main thread as ended, for those who join it.
  void leave_main();
  /// A thread other than the calling one that the exit must wait for. Null if there is none, and then no thread can be
  /// started any more.
  ThreadRecordPtr next_to_wait_for();

  // Guarded properties of a record.
  ThreadKind kind(const ThreadRecord& record);
  std::uint64_t id(const ThreadRecord& record);
  std::string name(ThreadRecord& record);
  void set_name(ThreadRecord& record, std::string name);
  bool daemon(const ThreadRecord& record);
  /// Throws StateError if the thread was started.
  void set_daemon(ThreadRecord& record, bool daemon);

  // fork(): called by the handlers of process_exit.cpp, in the forking thread.
  void before_fork() TANDEM_NO_THREAD_SAFETY_ANALYSIS;
  void after_fork_in_parent() TANDEM_NO_THREAD_SAFETY_ANALYSIS;
  /// Leaves one thread, the calling one, and makes it the main thread; every other one counts as ended.
  void after_fork_in_child() TANDEM_NO_THREAD_SAFETY_ANALYSIS;

 private:
  ThreadRegistry();
  template <class Prepare>
  void start(const ThreadRecordPtr& record, Prepare&& prepare);
  static void* run(void* handed_over);
  static void run_body(ThreadRecord& record);
  static void leave(void* record);
  void enter(ThreadRecord& record);
  void finish(ThreadRecord& record) noexcept;
  ThreadRecordPtr register_caller();

  Mutex mutex_;
  std::map<std::uint64_t, ThreadRecordPtr> alive_ TANDEM_GUARDED_BY(mutex_);
  ThreadRecordPtr main_ TANDEM_GUARDED_BY(mutex_);
  std::uint64_t last_id_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::uint64_t last_default_name_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::uint64_t last_foreign_name_ TANDEM_GUARDED_BY(mutex_) = 0;
  bool closed_ TANDEM_GUARDED_BY(mutex_) = false;          // The exit has waited for the threads.
  bool forked_by_main_ TANDEM_GUARDED_BY(mutex_) = false;  // From before_fork() to after it.
  std::atomic<std::uint32_t> fork_generation_{0};          // Changes only while there is one thread.
  pthread_key_t at_thread_end_{};
};

}  // namespace tandem::detail
