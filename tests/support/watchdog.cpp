#include "support/watchdog.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace tandem::testing {
namespace {

// Made in advance: nothing can be allocated in a signal handler.
char own_pid[16];

int watchdog_signal() {
  return SIGRTMAX - 3;
}

// Only async-signal-safe calls: the thread that it interrupts may hold any lock.
void show_and_abort(int) {
  constexpr char kMessage[] = "\n*** the watchdog ends this test; every stack follows\n";
  static_cast<void>(::write(STDERR_FILENO, kMessage, sizeof kMessage - 1));
  ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  const pid_t pid = ::_Fork();  // without the handlers of pthread_atfork(), which take locks
  if (pid == 0) {
    ::dup2(STDERR_FILENO, STDOUT_FILENO);
    ::execl("/bin/sh", "sh", TANDEM_SOURCE_DIR "/tests/support/show_stacks.sh", own_pid, nullptr);
    ::_exit(127);
  }
  while (pid > 0 && ::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  ::signal(SIGABRT, SIG_DFL);
  ::abort();
}

}  // namespace

Watchdog::Watchdog(std::chrono::seconds limit) {
  std::snprintf(own_pid, sizeof own_pid, "%d", ::getpid());
  struct sigaction action{};
  action.sa_handler = show_and_abort;
  ::sigaction(watchdog_signal(), &action, nullptr);
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = watchdog_signal();
  timer_t timer{};
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
    throw std::runtime_error("cannot make the watchdog's timer");
  timer_ = timer;
  itimerspec when{};
  when.it_value.tv_sec = limit.count() * (kSanitized ? 5 : 3);
  ::timer_settime(timer, 0, &when, nullptr);
}

Watchdog::~Watchdog() {
  ::timer_delete(timer_);
}

}  // namespace tandem::testing
