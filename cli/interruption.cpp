#include "interruption.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>

#include "exit_code.hpp"
#include "output.hpp"

namespace tandem::tool {
namespace {

bool is_ignored(int signal) {
  struct sigaction action{};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

Interruption::Interruption() {
  sigemptyset(&signals_);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    if (!is_ignored(signal)) sigaddset(&signals_, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  std::thread([this] { wait(); }).detach();
}

void Interruption::hold_off_for_good() {
  if (!held_for_good_) printing_.lock();
  held_for_good_ = true;
}

void Interruption::let_through() const {
  ::pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
}

void Interruption::wait() {
  int signal = 0;
  while (::sigwait(&signals_, &signal) != 0) continue;
  end_by(signal);
}

void Interruption::end_by(int signal) {
  printing_.lock();  // For good: nothing is printed after the line below.
  stop_.request_stop();
  print_error(
      fmt::format("stopped by SIG{} ({}); the workers are gone", ::sigabbrev_np(signal), ::sigdescr_np(signal)));
  // Not exit(): a thread that computes cannot be stopped, and destructors would wait for it.
  ::_exit(kExitSignal + signal);
}

}  // namespace tandem::tool
