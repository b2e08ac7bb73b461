/// What a process knows of one of its children.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <tandem/process.hpp>

#include "core/mutex.hpp"
#include "process/child_record.hpp"
#include "process/pidfd.hpp"

namespace tandem::detail {

struct ChildSetup;
struct Launched;
struct Server;

/// In this order only, but for a start that fails, which leads back from Starting to Fresh.
enum class ChildStage {
  Fresh,     ///< Not started.
  Starting,  ///< Inside start().
  Running,   ///< start() has learned its pid.
  Ended,     ///< Its exit status is known, and nothing is left of it in the system.
  Closed,    ///< close() was called.
};

/// The inside of a Process; kept by it, and by the registry while the child may be alive.
///
/// Threads: every member from any.
class Child : public std::enable_shared_from_this<Child> {
 public:
  /// Throws std::invalid_argument for an option that makes no sense.
  Child(std::unique_ptr<ProcessBody> body, ProcessOptions options);

  /// Has `told` called once the child has ended and everything is known of its end, by the thread that sees children
  /// end, which must not wait for anything. Before start().
  void on_end(std::function<void()> told) { on_end_ = std::move(told); }

  // For Process; each does what the member of its name does.
  void start();
  bool wait(const Deadline& deadline);
  bool request_stop();
  std::stop_token stop_token() const { return stop_.get_token(); }
  void signal(int signum);
  void kill_tree();
  void close();
  bool is_alive() const;
  std::string name() const;
  void set_name(std::string name);
  bool daemon() const;
  void set_daemon(bool daemon);
  std::optional<std::uint64_t> id() const;
  std::optional<pid_t> pid() const;
  StartMethod method() const;
  int sentinel();
  std::optional<ExitStatus> status() const;
  std::optional<ProcessUsage> usage() const;
  std::optional<CrashReport> crash_report() const;
  ProcessInfo info() const;
  std::optional<ProcessInfo> info_if_running() const;
  std::string to_string() const;

  // For the end of a Process or of this process.
  /// What ~Process() does.
  void abandon() noexcept;
  /// Waits for it; kills it if it is still there at `deadline`.
  void await_or_kill(const Deadline& deadline) noexcept;
  std::chrono::milliseconds terminate_grace() const noexcept { return options_.terminate_grace; }

  // For the watcher.
  std::uint64_t number() const noexcept { return number_; }
  /// -1 if it is not known. Only the watcher may use it without the mutex: it is who has it closed, by end().
  int pidfd() const;
  std::shared_ptr<Server> server() const;
  /// The child holds the parcel itself now.
  void drop_parcel();
  /// Whether an end by SIGKILL would be one that this process did not ask for.
  bool sigkill_is_foreign() const;
  /// Whether it is known how the child ended, although the kernel does not tell: it left a note, or this process killed
  /// it.
  bool end_is_noted() const;
  /// The child has ended: notes how and wakes who waits. `told` is what the kernel says; empty if it does not, and then
  /// it is pieced together. `pid` matters if start() has not learned it.
  void end(pid_t pid, const std::optional<Ending>& told, std::vector<std::string> stderr_tail,
           bool killed_for_lack_of_memory);
  /// Wakes a start() that waits for news, because its server is gone.
  void nudge();
  /// In a process forked off this one: closes what that must not keep open.
  void close_in_forked_process() noexcept TANDEM_NO_THREAD_SAFETY_ANALYSIS {
    pidfd_.reset();
    channel_.reset();
  }

  // For the launcher by fork server, within start().
  void set_server(std::shared_ptr<Server> server);
  /// Waits until the child has ended or the server is gone; whether it has ended.
  bool wait_for_end_or_loss_of(const Server& server);

 private:
  struct Failure;

  void check_usable() const;
  void check_started(const char* member) const TANDEM_REQUIRES(mutex_);
  bool started() const TANDEM_REQUIRES(mutex_) { return stage_ != ChildStage::Fresh; }
  bool alive() const TANDEM_REQUIRES(mutex_) { return stage_ == ChildStage::Starting || stage_ == ChildStage::Running; }

  // Parts of start() (child_start.cpp).
  ChildSetup begin_start();
  void launch(ChildSetup& setup);
  void finish_start(Launched launched);
  void undo_start() noexcept;

  // Parts of end() (child_end.cpp).
  static std::optional<ExitStatus> noted_status(const ChildRecord* record, int last_signal);
  void mark_ended(const ExitStatus& status, const std::optional<ProcessUsage>& used, std::shared_ptr<Failure> failure);

  const ProcessOptions options_;
  const bool fork_only_;
  std::function<void()> on_end_;  // Written before start().
  std::stop_source stop_;

  // The process that this is a child of, 0 until started: in another one, forked off that, it is void.
  std::atomic<pid_t> owner_{0};
  std::uint64_t number_ = 0;  // Written by start(), before the child is registered.

  mutable Mutex mutex_;
  mutable ConditionVariable changed_;  // stage_, or the server is gone.
  ChildStage stage_ TANDEM_GUARDED_BY(mutex_) = ChildStage::Fresh;
  std::string name_ TANDEM_GUARDED_BY(mutex_);
  bool daemon_ TANDEM_GUARDED_BY(mutex_);
  std::optional<StartMethod> method_ TANDEM_GUARDED_BY(mutex_);  // Settled by start().
  std::unique_ptr<ProcessBody> body_ TANDEM_GUARDED_BY(mutex_);  // Until it has left.
  pid_t pid_ TANDEM_GUARDED_BY(mutex_) = 0;
  Fd pidfd_ TANDEM_GUARDED_BY(mutex_);                        // While Running.
  SharedObjectPtr record_ TANDEM_GUARDED_BY(mutex_);          // From Starting until Ended.
  SharedObjectPtr parcel_ TANDEM_GUARDED_BY(mutex_);          // Until the child holds it.
  Fd channel_ TANDEM_GUARDED_BY(mutex_);                      // Closed by the child when it holds the parcel.
  std::shared_ptr<Server> server_ TANDEM_GUARDED_BY(mutex_);  // That forked it, if one did.
  int last_signal_ TANDEM_GUARDED_BY(mutex_) = 0;             // Sent by this process.
  Fd sentinel_ TANDEM_GUARDED_BY(mutex_);                     // An eventfd; made when asked for.
  std::optional<ExitStatus> status_ TANDEM_GUARDED_BY(mutex_);
  std::optional<ProcessUsage> usage_ TANDEM_GUARDED_BY(mutex_);
  std::shared_ptr<const Failure> failure_ TANDEM_GUARDED_BY(mutex_);
};

using ChildPtr = std::shared_ptr<Child>;

}  // namespace tandem::detail
