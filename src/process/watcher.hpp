/// The thread that sees children end.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>

#include "core/system.hpp"
#include "process/child.hpp"
#include "process/stderr_relay.hpp"

namespace tandem::detail {

struct EndReport;

/// One thread for each process that has started children, from the first one on: it waits for their ends, passes on
/// their standard error, hears what the server reports, and gives back what dead members of the family held. All
/// signals are blocked in it.
///
/// Threads: the public members from any.
class Watcher {
 public:
  Watcher() = default;

  /// Makes the thread. Throws std::system_error.
  void start();
  // Each is ended by the end of what it watches.
  void watch_stderr(std::uint64_t number, Fd pipe);
  /// For a child that no server reports.
  void watch_end(std::uint64_t number, int pidfd);
  void watch_channel(std::uint64_t number, int channel);
  void watch_server(std::uint64_t generation, int pidfd, int socket);
  /// Takes back watch_stderr() for a child that was not started.
  void forget_stderr(std::uint64_t number);

  // fork(): what the forking thread does, so that the child finds whole data.
  void lock_for_fork() TANDEM_NO_THREAD_SAFETY_ANALYSIS { mutex_.lock(); }
  void unlock_after_fork() TANDEM_NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }
  /// In the child: closes what it inherited.
  void close_all() TANDEM_NO_THREAD_SAFETY_ANALYSIS;

 private:
  // What an event is about; the low bits of its key.
  enum Kind : std::uint64_t { kEnd, kStderr, kChannel, kServerEnd, kServerReport, kStderrOut };
  static constexpr int kKindBits = 3;

  static void* run(void* watcher);
  void loop();
  void handle(Kind kind, std::uint64_t number);
  void watch_orphan(const ChildPtr& child) noexcept;
  void on_end(const ChildPtr& child);
  void finish_by_hearsay(const ChildPtr& child);
  void finish_overdue();
  int wait_limit_ms() const;
  void on_stderr(std::uint64_t number);
  void on_server_end(std::uint64_t generation);
  void on_server_report(std::uint64_t generation);
  void finish(const ChildPtr& child, pid_t pid, const std::optional<Ending>& told);
  std::vector<std::string> drain_stderr(std::uint64_t number);
  void await_stderr();
  void on_stderr_out();
  void add(int fd, std::uint32_t events, Kind kind, std::uint64_t number);
  std::shared_ptr<StderrRelay> relay(std::uint64_t number);
  void drop_relay(std::uint64_t number);
  bool kernel_killed_for_memory();

  Fd epoll_;  // Constant after start().

  Mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<StderrRelay>> relays_ TANDEM_GUARDED_BY(mutex_);  // By the child's number.

  // Used by the thread alone.
  using Clock = std::chrono::steady_clock;
  // Children that have ended, whose status is still to be taken by another process: until when to wait for that.
  std::map<std::uint64_t, Clock::time_point> untold_;
  StderrOut out_;
  bool stderr_paused_ = false;
  Fd awaited_;  // A copy of standard error, while it takes nothing.
  std::uint64_t oom_kills_ = 0;
};

}  // namespace tandem::detail
