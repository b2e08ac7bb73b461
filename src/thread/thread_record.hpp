/// What is known of one thread of this process, for as long as anybody asks about it.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/thread_body.hpp>
#include <tandem/gil.hpp>

namespace tandem::detail {

enum class ThreadKind {
  Main,     ///< Runs main(), or called fork().
  Thread,   ///< Started by a Thread.
  Task,     ///< Started by start_new_thread().
  Foreign,  ///< Not started by Tandem.
};

/// In this order only, but for a start that the system refuses, which leads back from Running to Fresh.
enum class ThreadState : std::uint32_t {
  Fresh,    ///< Not started.
  Running,  ///< Registered; the system's thread exists or is about to.
  Ended,    ///< The body and its thread_local objects are gone; the system's thread is about to be.
  Gone,     ///< Nothing is left of it.
};

/// One thread. Kept alive by the registry while it runs, and by everything that refers to it.
///
/// Threads: name, daemon flag, kind and id are guarded by the registry's mutex, which its members take; what is written
/// before the thread starts is not written afterwards; the rest is atomic.
class ThreadRecord : public std::enable_shared_from_this<ThreadRecord> {
 public:
  ThreadRecord(ThreadKind kind, std::string name, bool daemon) : kind_(kind), name_(std::move(name)), daemon_(daemon) {}
  /// A thread that ended and that nobody joined is left to the system to clean up.
  ~ThreadRecord();
  ThreadRecord(const ThreadRecord&) = delete;
  ThreadRecord& operator=(const ThreadRecord&) = delete;

  ThreadState state() const noexcept { return static_cast<ThreadState>(state_.load(std::memory_order_acquire)); }
  bool alive() const noexcept { return state() == ThreadState::Running; }
  /// Waits until nothing is left of the thread; false if the deadline passes. Throws StateError if it is not started,
  /// the calling one, or foreign.
  bool join(const Deadline& deadline);
  /// Empty before the start. Waits for a thread that was started and has not reached its first instruction.
  std::optional<pid_t> native_id();

  /// For people: "<Type(name, started daemon 7)>".
  std::string describe(const char* type);

  // Written before the start.
  std::unique_ptr<ThreadBody> body;  // The thread moves it to its stack.
  std::optional<Gil> gil;
  std::size_t stack_size_bytes = 0;

  std::stop_source stop;

 private:
  friend class ThreadRegistry;
  void set_state(ThreadState state) noexcept;
  void set_native_id(pid_t id) noexcept;
  bool reap(pthread_t thread);
  /// Sleeps while `word` is `expected`; as futex_wait().
  bool wait_for_change(std::atomic<std::uint32_t>& word, std::uint32_t expected, const Deadline& deadline);
  void wake_waiters(std::atomic<std::uint32_t>& word) noexcept;

  std::atomic<std::uint32_t> state_{static_cast<std::uint32_t>(ThreadState::Fresh)};
  // SYNC(native-id): stored by the thread at its start, after pthread_ is written.
  std::atomic<std::uint32_t> native_id_{0};
  // How many are in wait_for_change(): mostly none, and then nobody need be woken.
  std::atomic<std::uint32_t> waiting_{0};
  // One of those who join is waiting for the system's thread.
  std::atomic<bool> claimed_{false};
  // The thread as who started it knows it; 0 before that, and for a main thread. SYNC(created): stored with release.
  std::atomic<pthread_t> created_{0};
  // Written by the thread at its start, before native_id_. It names nothing in a process that was forked later.
  pthread_t pthread_{};
  std::uint32_t fork_generation_ = 0;  // Written by start().

  // Guarded by the registry's mutex.
  ThreadKind kind_;
  std::string name_;
  const void* unnamed_function_ = nullptr;  // What the default name is yet to mention.
  bool daemon_;
  std::uint64_t id_ = 0;        // 0 until started.
  bool pthread_known_ = false;  // Whether pthread_ is written.
};

using ThreadRecordPtr = std::shared_ptr<ThreadRecord>;

}  // namespace tandem::detail
