#include "process/child_setup.hpp"

#include <pthread.h>
#include <signal.h>

namespace tandem::detail {
namespace {

constexpr int kLastSignal = 64;

constexpr std::uint64_t bit(int signum) {
  return std::uint64_t{1} << (signum - 1);
}

}  // namespace

void note_signals(ChildSetup& setup) {
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  for (int signum = 1; signum <= kLastSignal; ++signum) {
    if (sigismember(&blocked, signum) == 1) setup.blocked_signals |= bit(signum);
    struct sigaction action{};
    if (sigaction(signum, nullptr, &action) == 0 && (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_IGN)
      setup.ignored_signals |= bit(signum);
  }
}

void apply_signals(const ChildSetup& setup) {
  for (int signum = 1; signum <= kLastSignal; ++signum) {
    struct sigaction before{};
    // A handler that is there belongs to the program (or to a sanitizer), which sets it up before main() in any
    // process.
    if (sigaction(signum, nullptr, &before) != 0 || (before.sa_flags & SA_SIGINFO) != 0) continue;
    if (before.sa_handler != SIG_IGN && before.sa_handler != SIG_DFL) continue;
    struct sigaction action{};
    action.sa_handler = (setup.ignored_signals & bit(signum)) != 0 ? SIG_IGN : SIG_DFL;
    sigaction(signum, &action, nullptr);  // Refused for SIGKILL and SIGSTOP, and for those that glibc keeps.
  }
  sigset_t blocked;
  sigemptyset(&blocked);
  for (int signum = 1; signum <= kLastSignal; ++signum)
    if ((setup.blocked_signals & bit(signum)) != 0) sigaddset(&blocked, signum);
  pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
}

}  // namespace tandem::detail
