#include "cluster/stop_signal.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace tandem::detail {
namespace {

std::atomic<int> noted_at{-1};

void note_signal(int) {
  const int error = errno;
  const std::uint64_t one = 1;
  // It fails only if it is readable already.
  static_cast<void>(!::write(noted_at.load(std::memory_order_relaxed), &one, sizeof one));
  errno = error;
}

}  // namespace

StopSignal::StopSignal(std::initializer_list<int> signals)
    : fd_(above_standard(Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)))) {
  if (!fd_) throw_errno("cannot make a descriptor for signals");
  noted_at.store(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 3));
  if (noted_at.load() < 0) throw_errno("cannot duplicate a descriptor for signals");
  struct sigaction action{};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  sigset_t heard;
  sigemptyset(&heard);
  for (const int signum : signals) {
    if (::sigaction(signum, &action, nullptr) != 0) throw_errno("cannot handle a signal");
    sigaddset(&heard, signum);
  }
  // Who started this process may have had them blocked, which is inherited.
  ::pthread_sigmask(SIG_UNBLOCK, &heard, nullptr);
}

bool StopSignal::take() noexcept {
  std::uint64_t count = 0;
  return ::read(fd_.get(), &count, sizeof count) == sizeof count;
}

}  // namespace tandem::detail
