/// Leaving a thread, leaving the program, and what runs then.
#pragma once

#include <csignal>
#include <cstdint>
#include <functional>

#include <tandem/error.hpp>

namespace tandem {

/// Ends the current thread's, task's or child process's body quietly by throwing ExitRequest; `code` is the exit code
/// of a child process. In the main thread, outside any such body, it ends the program as std::exit(code) does.
[[noreturn]] void exit(int code = 0);

/// Names one call of at_exit(). Value.
class ExitHookId {
 public:
  friend bool operator==(const ExitHookId&, const ExitHookId&) = default;

 private:
  friend ExitHookId at_exit(std::function<void()> hook, int priority);
  friend bool cancel(ExitHookId id);
  explicit ExitHookId(std::uint64_t number) noexcept : number_(number) {}
  std::uint64_t number_;
};

/// Has `hook` called once at the normal end of this process (main returns, std::exit(); the body's end in a child),
/// after the threads that are no daemons have ended. Higher priorities first, among equals the latest first; those of
/// priority 0 and above before child processes are waited for, so that they can tell them to end, the others after it.
/// What a hook throws is reported on standard error and the others go on. A child process starts without its parent's
/// hooks; one made by a bare fork() has them. Throws StateError when the hooks have all run, std::invalid_argument for
/// an empty function. Any thread may call it.
ExitHookId at_exit(std::function<void()> hook, int priority = 0);
/// Takes a hook back. False if it has run, is running or was taken back before.
bool cancel(ExitHookId id);

/// Sends signal `signum` to the main thread, whichever thread calls: a handler runs there and interrupts what it waits
/// for in the system; an ignored signal does nothing; without a handler the signal's default action is taken, which
/// for SIGINT ends the program as Ctrl-C does. From the main thread itself the handler has run on return, unless the
/// signal is blocked. Throws std::invalid_argument if there is no such signal.
void interrupt_main(int signum = SIGINT);

}  // namespace tandem
