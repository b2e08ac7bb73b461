#include "compare/machine_limit.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <tandem/compare.hpp>
#include <vector>

#include "core/system.hpp"

namespace tandem::detail {
namespace {

// Long enough that starting the children (0.3 ms each) is lost in it, short enough not to double the time that a long
// comparison takes.
constexpr double kShortestSeconds = 0.05;
constexpr double kLongestSeconds = 2.0;
constexpr std::uint64_t kFirstAdditions = std::uint64_t{1} << 25;

// The empty statement claims to change `total` each time, so every addition waits for the one before: the compiler can
// neither sum in vectors nor find the closed form.
[[gnu::noinline]] std::uint64_t add_chain(std::uint64_t additions) {
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < additions; ++i) {
    total += i;
    asm volatile("" : "+r"(total));
  }
  return total;
}

/// Children without anything of Tandem in them. Owner: kills and reaps them in its destructor. (glibc 2.36 declares its
/// pidfd functions without C linkage, so those system calls are made by number.)
class BareChildren {
 public:
  BareChildren() = default;
  BareChildren(const BareChildren&) = delete;
  BareChildren& operator=(const BareChildren&) = delete;
  ~BareChildren() {
    kill_all();
    wait_all();
  }

  void start(std::uint64_t additions) {
    const std::lock_guard guard(mutex_);
    if (stopped_) throw CompareStopped("the comparison was stopped");
    const pid_t parent = ::getpid();
    // All signals stay blocked in the child: the handlers that it inherits belong to the parent.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    const pid_t child = ::_Fork();  // Not fork(): its handlers would make the child a member of the family.
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      add_chain(additions);
      ::_exit(0);
    }
    const int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (child < 0) throw_system_error(error, "cannot fork a child to measure the machine's limit");
    pidfds_.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
    if (!pidfds_.back()) {
      const int open_error = errno;
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
      pidfds_.pop_back();
      throw_system_error(open_error, "cannot open a descriptor of a child to measure the machine's limit");
    }
  }

  /// Kills all and returns once they have ended; they are reaped by wait_all().
  void stop() {
    const std::lock_guard guard(mutex_);
    stopped_ = true;
    kill_all();
    for (const Fd& pidfd : pidfds_) {
      pollfd ended{pidfd.get(), POLLIN, 0};
      retry_on_signal([&] { return ::poll(&ended, 1, -1); });
    }
  }

  /// Reaps all; false if one of them did not end by itself.
  bool wait_all() {
    bool good = true;
    while (reaped_ < pidfds_.size()) {
      siginfo_t info{};
      const auto id = static_cast<id_t>(pidfds_[reaped_].get());
      const int result = retry_on_signal([&] { return ::waitid(P_PIDFD, id, &info, WEXITED); });
      good = good && result == 0 && info.si_code == CLD_EXITED && info.si_status == 0;
      ++reaped_;
    }
    return good;
  }

 private:
  void kill_all() {
    for (const Fd& pidfd : pidfds_) ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
  }

  std::mutex mutex_;  // Between the thread that starts and one that stops.
  bool stopped_ = false;
  std::vector<Fd> pidfds_;
  std::size_t reaped_ = 0;
};

}  // namespace

MachineLimit::MachineLimit(std::size_t children, std::stop_token stop)
    : children_(children), stop_(std::move(stop)), additions_(kFirstAdditions) {}

void MachineLimit::calibrate(double serial_seconds) {
  const double seconds = seconds_of(1, kFirstAdditions);
  const double wanted = std::clamp(serial_seconds, kShortestSeconds, kLongestSeconds);
  additions_ = static_cast<std::uint64_t>(static_cast<double>(kFirstAdditions) * wanted / seconds);
}

double MachineLimit::measure() {
  // Which goes first changes each time, so that neither always meets the warmer machine.
  together_first_ = !together_first_;
  const std::uint64_t each = additions_ / children_;
  const double first = together_first_ ? seconds_of(children_, each) : seconds_of(1, additions_);
  const double second = together_first_ ? seconds_of(1, additions_) : seconds_of(children_, each);
  return together_first_ ? second / first : first / second;
}

double MachineLimit::seconds_of(std::size_t children, std::uint64_t additions_each) const {
  BareChildren running;
  const std::stop_callback on_stop(stop_, [&running] { running.stop(); });
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < children; ++i) running.start(additions_each);
  const bool good = running.wait_all();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  if (stop_.stop_requested()) throw CompareStopped("the comparison was stopped");
  if (!good) throw Error("a child that measured the machine's limit was killed");
  return taken.count();
}

}  // namespace tandem::detail
