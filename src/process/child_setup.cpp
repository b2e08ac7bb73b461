#include "process/child_setup.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "ipc/futex.hpp"
#include "process/crash_handler.hpp"
#include "process/proc_status.hpp"

namespace tandem::detail {
namespace {

constexpr int kLastSignal = 64;

constexpr std::uint64_t bit(int signum) {
  return std::uint64_t{1} << (signum - 1);
}

// What this process does on a signal. Handled: by the program, or by a sanitizer, which set that up before main() in
// any process.
enum class Action : std::uint8_t { Default, Ignored, Handled, CrashHandled };

Action action_on(int signum) {
  struct sigaction action{};
  if (sigaction(signum, nullptr, &action) != 0) return Action::Handled;  // One of those that glibc keeps for itself.
  if (is_crash_handled(signum)) return Action::CrashHandled;
  if ((action.sa_flags & SA_SIGINFO) != 0) return Action::Handled;
  if (action.sa_handler == SIG_IGN) return Action::Ignored;
  return action.sa_handler == SIG_DFL ? Action::Default : Action::Handled;
}

// Of the fork server: what its children inherit. Looked up once, because a hundred system calls are a good part of a
// child's start.
std::array<Action, kLastSignal> actions_of_server{};

std::uint64_t ignored_signals() {
  std::uint64_t ignored = 0;
  for (int signum = 1; signum <= kLastSignal; ++signum)
    if (action_on(signum) == Action::Ignored) ignored |= bit(signum);
  return ignored;
}

// The number behind `name` in the text of /proc/self/status; empty if it is not there.
std::optional<std::uint64_t> number_called(const char* status, const char* name, int base) {
  const char* const at = std::strstr(status, name);
  return at == nullptr ? std::nullopt : std::optional(std::strtoull(at + std::strlen(name), nullptr, base));
}

}  // namespace

void Inheritance::bequeath() noexcept {
  if (complete.load(std::memory_order_relaxed) != 0) return;  // For a server that has died since.
  char status[4096];
  read_status(status);
  // Setting the mask is the only other way to read it, and for a moment changes it for all threads.
  file_mode_mask = static_cast<std::uint32_t>(number_called(status, "\nUmask:", 8).value_or(022));
  const std::optional<std::uint64_t> ignored = number_called(status, "\nSigIgn:", 16);
  ignored_signals = ignored ? *ignored : detail::ignored_signals();
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  blocked_signals = 0;
  for (int signum = 1; signum <= kLastSignal; ++signum)
    if (sigismember(&blocked, signum) == 1) blocked_signals |= bit(signum);
  // SYNC(inheritance): what is written above is seen by the child that finds it complete.
  complete.store(1, std::memory_order_release);
  futex_wake(complete, 1);
}

void remember_signals() {
  for (int signum = 1; signum <= kLastSignal; ++signum)
    actions_of_server[static_cast<std::size_t>(signum - 1)] = action_on(signum);
}

void Inheritance::take_over() {
  // SYNC(inheritance)
  while (complete.load(std::memory_order_acquire) == 0) static_cast<void>(futex_wait(complete, 0, Deadline::never()));
  ::umask(file_mode_mask);
  for (int signum = 1; signum <= kLastSignal; ++signum) {
    const Action now = actions_of_server[static_cast<std::size_t>(signum - 1)];
    const bool ignore = (ignored_signals & bit(signum)) != 0;
    if (now == Action::Handled || ignore == (now == Action::Ignored)) continue;
    struct sigaction action{};
    action.sa_handler = ignore ? SIG_IGN : SIG_DFL;
    sigaction(signum, &action, nullptr);  // Refused for SIGKILL and SIGSTOP.
  }
  sigset_t blocked;
  sigemptyset(&blocked);
  for (int signum = 1; signum <= kLastSignal; ++signum)
    if ((blocked_signals & bit(signum)) != 0) sigaddset(&blocked, signum);
  pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
}

}  // namespace tandem::detail
