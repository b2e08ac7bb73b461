/// The normal end of a process.
#pragma once

namespace tandem::detail {

/// Ends the process's work, once: calls what on_process_exit_begun() set, waits for the threads that are no daemons,
/// runs the exit hooks of priority 0 and above, calls what on_process_exit() set, runs the remaining hooks. The first
/// process does this from exit(), of itself, from its first use of Tandem on; a child process that ends otherwise calls
/// it at the end of its body.
void run_process_exit() noexcept;

/// Sets what is called before the threads are waited for: it tells those that wait for work that there will be none.
/// Null for nothing.
void on_process_exit_begun(void (*end_waiting_threads)()) noexcept;

/// Sets what waits for child processes at the exit. Null for nothing.
void on_process_exit(void (*join_children)()) noexcept;

/// Makes run_process_exit() happen at the exit of this process. Called on first use; earlier is better, because static
/// objects made before the call outlive the threads.
void arm_process_exit();

/// Begins anew in a forked process, whose parent may have been about to exit. Called by the handlers of fork().
void restart_process_exit();

/// Drops every exit hook: for a child made by fork() that starts without its parent's.
void clear_exit_hooks();

/// Marks a scope whose caller catches ExitRequest, so that tandem::exit() may throw it there in the main thread too:
/// the body of a child process stands in one.
class ExitScope {
 public:
  ExitScope() noexcept;
  ~ExitScope();
  ExitScope(const ExitScope&) = delete;
  ExitScope& operator=(const ExitScope&) = delete;
};

}  // namespace tandem::detail
