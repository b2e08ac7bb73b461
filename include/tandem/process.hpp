/// Processes with the members of threads, and with reports of how they ended.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/crash_report.hpp>
#include <tandem/descriptor.hpp>
#include <tandem/detail/deadline.hpp>
#include <tandem/detail/process_body.hpp>
#include <tandem/error.hpp>
#include <tandem/exit.hpp>
#include <tandem/init.hpp>
#include <tandem/start_method.hpp>

namespace tandem {
namespace detail {
class Child;
}  // namespace detail

/// How a Process differs from the usual one. Value.
struct ProcessOptions {
  /// Empty: "Process-N", N counting those of the process that makes it; in a child "Process-2:1" and so on.
  std::string name{};
  /// A daemon is ended, not waited for, when the process that started it ends. Empty: as the process that makes it.
  std::optional<bool> daemon{};
  /// Empty: start_method().
  std::optional<StartMethod> start_method{};
  /// Changes to the environment that the child starts with: a value, or none to remove the variable.
  std::map<std::string, std::optional<std::string>> environment{};
  /// Whether standard error goes through this process, which passes it on and keeps the last lines for crash_report().
  /// If not, the child writes to this process's standard error itself.
  bool keep_stderr_tail = true;
  /// Whether a fatal signal (as SIGSEGV) is caught, to note the stack, before it ends the child. Not done for signals
  /// that something else handles. TANDEM_CRASH_HANDLER=0 in the environment turns it off for all.
  bool crash_handler = true;
  /// How long the destructor, or the end of this process, waits between terminate() and kill() of a daemon.
  std::chrono::milliseconds terminate_grace{5000};
};

/// A process as others see it. Value.
struct ProcessInfo {
  std::string name;
  pid_t pid = 0;
  bool daemon = false;
  /// How it was started; empty for the program's first process.
  std::optional<StartMethod> start_method{};
  friend bool operator==(const ProcessInfo&, const ProcessInfo&) = default;
};

/// A child process. Owner: move-only; its destructor asks it to stop and waits for its end, or if it is a daemon
/// terminates it.
///
///   tandem::Process p(work, 1, 0, 50'000'000, result);   // the arguments are copied; they must be able to travel
///   p.start();
///   p.join();
///   if (auto report = p.crash_report()) std::cerr << report->to_string() << '\n';
///
///   tandem::Process q(tandem::fork, [&] { use(big_table); });   // a plain fork: anything goes
///
/// The callable is called as std::jthread would: with a std::stop_token first if it takes one. Its result, if an int or
/// a bool, is the exit code. tandem::exit(code) in it ends the child quietly. An uncaught exception is reported on the
/// child's standard error and in crash_report(), and the exit code is 1. The child then ends as a program does: it
/// waits for its threads and processes that are no daemons and runs its exit hooks.
///
/// Threads: every member may be called at once from any thread of the process that started it, except the destructor,
/// moving and close(). In a process forked off it, the Process is void: members throw StateError and the destructor
/// does nothing.
/// Killed peers: when the process that started it is gone, however it went, the child is killed by the kernel at once.
/// Memory ordering: what happened before start() is seen by the child in shared objects; what the child did is seen
/// there after join().
/// Errors: StateError for a member called in the wrong state; NotInitialized, std::system_error, WireError from
/// start(), and then no process is left and start() may be tried again.
/// Cost: start() by the server the same for a program of any size, by spawn what the program takes to load, by fork
/// what its memory takes to copy; see docs/performance.md.
class Process {
 public:
  /// Makes a process that is not started yet. Does not compile if the callable or an argument cannot travel.
  template <class F, class... Args>
    requires(!std::same_as<std::remove_cvref_t<F>, Process> && !std::same_as<std::remove_cvref_t<F>, ProcessOptions> &&
             !std::same_as<std::remove_cvref_t<F>, fork_t>)
  explicit Process(F&& fn, Args&&... args)
      : Process(detail::make_portable_body(std::forward<F>(fn), std::forward<Args>(args)...), ProcessOptions()) {}
  /// Throws std::invalid_argument for an option that makes no sense.
  template <class F, class... Args>
  Process(ProcessOptions options, F&& fn, Args&&... args)
      : Process(detail::make_portable_body(std::forward<F>(fn), std::forward<Args>(args)...), std::move(options)) {}
  /// The same for a plain fork: callable and arguments may be of any type.
  template <class F, class... Args>
    requires(!std::same_as<std::remove_cvref_t<F>, ProcessOptions>)
  Process(fork_t, F&& fn, Args&&... args)
      : Process(detail::make_fork_body(std::forward<F>(fn), std::forward<Args>(args)...), ProcessOptions()) {}
  /// Throws std::invalid_argument also if the options ask for another start method.
  template <class F, class... Args>
  Process(fork_t, ProcessOptions options, F&& fn, Args&&... args)
      : Process(detail::make_fork_body(std::forward<F>(fn), std::forward<Args>(args)...), std::move(options)) {}
  Process(Process&&) noexcept = default;
  /// Ends the process that was here before as the destructor does.
  Process& operator=(Process&& other) noexcept;
  ~Process();

  /// Starts the child. Throws StateError if called twice, or when this process has waited for its children at its end.
  /// By spawn, it returns while the child is still loading.
  void start();
  /// Waits until the child has ended and everything that it wrote on standard error is passed on. Any number of threads
  /// may join, any number of times. Throws StateError before start().
  void join() { static_cast<void>(wait(detail::Deadline::never())); }
  /// As join(), but gives up after `timeout`: false. Throws std::invalid_argument for a negative one.
  template <class Rep, class Period>
  [[nodiscard]] bool join_for(std::chrono::duration<Rep, Period> timeout) {
    return wait(detail::Deadline::after(timeout));
  }
  /// Asks the body to stop: its stop token says so, and that of stop_token(). Returns whether this was the first call.
  bool request_stop();
  /// What request_stop() changes in this process.
  [[nodiscard]] std::stop_token stop_token() const;

  /// Sends SIGTERM, which ends a child that does not handle it. Nothing happens if it has ended. Throws StateError
  /// before start().
  void terminate();
  /// Sends SIGKILL: the child ends without doing anything more.
  void kill();
  /// Sends SIGINT, as Ctrl-C does.
  void interrupt();
  /// Kills the child and all of its descendants, stopping them first so that none escapes by starting another. Those
  /// that have become children of another process, as daemons do by forking twice, are not found.
  void kill_tree();
  /// Gives back what it uses. Throws StateError while the child is alive. Afterwards every member but close() and the
  /// destructor throws StateError.
  void close();

  /// Whether it is started and has not ended.
  [[nodiscard]] bool is_alive() const;
  [[nodiscard]] std::string name() const;
  /// Renames it in this process; the child knows the name that it had at start().
  void set_name(std::string name);
  [[nodiscard]] bool daemon() const;
  /// Throws StateError once started.
  void set_daemon(bool daemon);
  /// Tandem's number for it among the children of this process, never used again; empty before start().
  [[nodiscard]] std::optional<std::uint64_t> id() const;
  /// The kernel's number for it; empty before start().
  [[nodiscard]] std::optional<pid_t> pid() const;
  /// As pid().
  [[nodiscard]] std::optional<pid_t> native_id() const { return pid(); }
  /// How it is, or will be, started.
  [[nodiscard]] StartMethod start_method() const;
  /// A descriptor that is ready to be read (poll, select, epoll) once the child has ended and join() would return. It
  /// belongs to this Process: do not close or read it. Throws StateError before start().
  [[nodiscard]] int sentinel() const;

  /// How it ended, by Python's convention: the exit code, or minus the signal; empty until it has ended.
  [[nodiscard]] std::optional<int> exitcode() const;
  /// How it ended; empty until it has ended.
  [[nodiscard]] std::optional<ExitStatus> exit_status() const;
  /// What it used in its life; empty until it has ended, and if somebody else took its exit status from the kernel.
  [[nodiscard]] std::optional<ProcessUsage> usage() const;
  /// Why it failed; empty until it has ended, and if the exit code was 0. Costs milliseconds after a crash: it finds
  /// the names of the functions on the stack.
  [[nodiscard]] std::optional<CrashReport> crash_report() const;

  /// The process as others see it; pid 0 before start().
  [[nodiscard]] ProcessInfo info() const;
  /// For people, for example "<Process(Process-1, pid 4711, started daemon)>".
  [[nodiscard]] std::string to_string() const;

 private:
  Process(std::unique_ptr<detail::ProcessBody> body, ProcessOptions options);
  detail::Child& child() const;
  bool wait(const detail::Deadline& deadline) const;
  void end() noexcept;

  std::shared_ptr<detail::Child> child_;
};

/// The calling process. The program's first process is called "MainProcess".
[[nodiscard]] ProcessInfo current_process();
/// The process that started this one; empty in the program's first process.
[[nodiscard]] std::optional<ProcessInfo> parent_process();
/// The children of this process that are alive now, in the order of their start.
[[nodiscard]] std::vector<ProcessInfo> active_children();

}  // namespace tandem
