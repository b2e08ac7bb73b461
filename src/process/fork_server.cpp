#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include <tandem/detail/deadline.hpp>

#include "core/kill_point.hpp"
#include "core/log.hpp"
#include "ipc/family.hpp"
#include "ipc/segment.hpp"
#include "process/child_main.hpp"
#include "process/child_setup.hpp"
#include "process/crash_handler.hpp"
#include "process/descriptors.hpp"
#include "process/lifeline.hpp"
#include "process/server_link.hpp"

namespace tandem::detail {
namespace {

// How long a family whose first process is gone is waited for: far longer than it takes, even on a busy machine.
constexpr std::chrono::seconds kLongestEnd{5};

class ForkServer {
 public:
  explicit ForkServer(Fd socket) : socket_(std::move(socket)) {}

  [[noreturn]] void run() {
    prepare();
    for (;;) {
      const bool wants_spare = !spare_ && !refused_;
      // The child that was just told to begin may be waiting for this very core.
      if (wants_spare) ::sched_yield();
      pollfd events[] = {{socket_.get(), POLLIN, 0}, {child_ended_.get(), POLLIN, 0}, {lifeline_, 0, 0}};
      if (retry_on_signal([&] { return ::poll(events, 3, wants_spare ? 0 : -1); }) == 0) make_spare();
      if (events[2].revents != 0) clear_up();
      if ((events[1].revents & POLLIN) != 0) report_ends();
      if (events[0].revents != 0 && !serve_one()) clear_up();
    }
  }

 private:
  // A child that waits for a request. Owner.
  struct Spare {
    pid_t pid = 0;
    Fd socket;  // Closes with the server, which ends the spare.
    Fd call;    // An eventfd: there is a message.
  };

  void prepare() {
    // Text that static objects of the program have written belongs to this process, not to each child.
    std::cout.flush();
    std::fflush(nullptr);
    // The children get their own; and a pipe must not stay open because this process has it.
    // All three are open from here on, so that no descriptor that arrives gets one of their numbers.
    const Fd nothing = above_standard(Fd(::open("/dev/null", O_RDWR | O_CLOEXEC)), "/dev/null");
    if (!nothing) throw_errno("cannot open /dev/null");
    ::dup2(nothing.get(), STDIN_FILENO);
    ::dup2(nothing.get(), STDOUT_FILENO);
    if (::fcntl(STDERR_FILENO, F_GETFD) < 0) ::dup2(nothing.get(), STDERR_FILENO);
    // Ctrl-C in the terminal is for the program: it decides what becomes of its children, and this process goes with
    // it.
    // Blocked, not ignored: a child has nothing to undo, and gets what came for it before it had begun.
    sigset_t blocked, child_ended;
    sigemptyset(&blocked);
    for (const int signum : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGCHLD}) sigaddset(&blocked, signum);
    ::signal(SIGCHLD, SIG_DFL);  // Ignored, it would take the exit statuses away.
    ::sigprocmask(SIG_SETMASK, &blocked, nullptr);
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    child_ended_ = Fd(::signalfd(-1, &child_ended, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!child_ended_) throw_errno("cannot watch the children of the fork server");
    lifeline_ = outlive_lifeline();
    // What every child would otherwise do anew.
    prepare_crash_handler();
    remember_signals();
    rehearse_parcel();
    rehearse_child();
    make_spare();
    try {
      client_ = open_pidfd(::getppid());
    } catch (const std::system_error&) {
      // It is gone already, which the lifeline tells, or in another pid namespace: then clear_up() does not wait for
      // it.
    }
  }

  // The client is gone, by SIGKILL perhaps, and with it the children, whose lifeline it held. What they had given names
  // to is removed by this process, which is the last one. It waits for them to be dead, since a process that lives
  // keeps its names: the kernel has killed them all, but on a busy machine it takes them a while to get to their end.
  [[noreturn]] void clear_up() {
    const Deadline limit = Deadline::after(kLongestEnd);
    TANDEM_KILL_POINT("process.server.alone");
    if (client_) await(client_.get(), limit);
    pid_t pid = 0;
    do {
      forget_signals();
      while (reap_any(pid, /*keep=*/false)) {
      }
    } while (errno != ECHILD && await(child_ended_.get(), limit));
    Segment::sweep();
    ::_exit(0);
  }

  // Whether there is something to read before the time is over.
  static bool await(int fd, Deadline limit) {
    pollfd event{fd, POLLIN, 0};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(limit.left(kLongestEnd));
    return retry_on_signal([&] { return ::poll(&event, 1, static_cast<int>(left.count())); }) == 1;
  }

  void forget_signals() {
    signalfd_siginfo discarded;
    while (::read(child_ended_.get(), &discarded, sizeof discarded) > 0) {
    }
  }

  // False if the client has nothing more to ask.
  bool serve_one() {
    StartRequest request;
    received_.clear();
    if (!receive_message(socket_.get(), &request, sizeof request, received_)) return false;
    if (request.number == StartRequest::kFarewell) leave();
    TANDEM_KILL_POINT("process.server.asked");
    if (const int error = hand_over(request)) {
      const StartReply reply{error, 0};
      static_cast<void>(send_message(received_.at(0).get(), &reply, sizeof reply, {}));
    }
    received_.clear();
    TANDEM_KILL_POINT("process.server.forked");
    return true;
  }

  // Gives the request to a spare child. Returns an errno value.
  int hand_over(const StartRequest& request) {
    std::vector<int> numbers;
    for (const Fd& fd : received_) numbers.push_back(fd.get());
    for (;;) {
      const bool made_now = !spare_;
      if (made_now) {
        if (const int error = make_spare()) return error;
      }
      const int error = send_message(spare_->socket.get(), &request, sizeof request, numbers);
      const bool is_dead = error == EPIPE || error == ECONNRESET;
      if (error != 0 && !is_dead) return error;
      const Spare called = *std::exchange(spare_, std::nullopt);
      if (is_dead && !made_now) continue;  // It was killed before anybody needed it.
      // From here on it is the client's child, whatever becomes of it. (Dead already, it was killed as soon as it was
      // made for this request.)
      numbers_[called.pid] = request.number;
      call(called);
      return 0;
    }
  }

  // The kernel takes a message on a socket as a sign that its sender is about to wait for an answer, and has the
  // receiver run on the same core. This is none.
  static void call(const Spare& spare) {
    const std::uint64_t one = 1;
    retry_on_signal([&] { return ::write(spare.call.get(), &one, sizeof one); });
  }

  // Forks a child ahead of the request for it, for to fork takes longer than all the rest of a start. Returns an errno
  // value; then it is not tried again before somebody asks for a child.
  int make_spare() {
    refused_ = true;
    try {
      SocketPair sockets = make_socket_pair("the next child process");
      Fd call(::eventfd(0, EFD_CLOEXEC));
      if (!call) return errno;
      const pid_t pid = fork_member();
      if (pid == 0) {
        sockets.mine.reset();
        be_spare(std::move(sockets.theirs), std::move(call));
      }
      if (pid < 0) return errno;
      spare_.emplace(Spare{pid, std::move(sockets.mine), std::move(call)});
    } catch (const std::system_error& error) {
      return error.code().value();
    }
    refused_ = false;
    return 0;
  }

  [[noreturn]] void be_spare(Fd socket, Fd call) {
    try {
      socket_.reset();
      child_ended_.reset();
      client_.reset();
      spare_.reset();
      received_.clear();
      renew_lifeline();
      TANDEM_KILL_POINT("process.spare.forked");
      rehearse_child();
      TANDEM_KILL_POINT("process.spare.ready");
      StartRequest request;
      std::vector<Fd> descriptors;
      // The other end of the socket closes when the server is gone.
      pollfd events[] = {{call.get(), POLLIN, 0}, {socket.get(), 0, 0}};
      retry_on_signal([&] { return ::poll(events, 2, -1); });
      // No request: the server is gone, and with it who would have one.
      if (!receive_message(socket.get(), &request, sizeof request, descriptors)) ::_exit(0);
      socket.reset();
      call.reset();
      become_child(request, std::move(descriptors));
    } catch (const std::exception& error) {
      log_line(LogLevel::Error, "a child process cannot begin: {}", error.what());
      ::_exit(1);
    }
  }

  [[noreturn]] static void become_child(const StartRequest& request, std::vector<Fd> descriptors) {
    TANDEM_KILL_POINT("process.child.forked");
    PortableChild child;
    child.leave = Leave::AtOnce;
    std::size_t next = 0;
    child.channel = std::move(descriptors.at(next++));
    Fd folder = std::move(descriptors.at(next++));
    if (::fchdir(folder.get()) != 0) throw_errno("cannot enter the working directory of the parent process");
    folder.reset();
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
      if ((request.streams & 1u << stream) == 0) {
        ::close(stream);
      } else if (::dup2(descriptors.at(next++).get(), stream) < 0) {
        throw_errno("cannot set up the standard streams of this child process");
      }
    }
    child.parcel = request.parcel;
    for (; next < descriptors.size(); ++next) child.arguments.push_back(std::move(descriptors[next]));
    descriptors.clear();
    run_portable_child(std::move(child));
  }

  // The client has no children any more, and is about to end.
  [[noreturn]] void leave() {
    if (spare_) {
      ::kill(spare_->pid, SIGKILL);
      retry_on_signal([&] { return ::waitpid(spare_->pid, nullptr, 0); });
    }
    ::_exit(0);
  }

  void report_ends() {
    forget_signals();
    pid_t pid = 0;
    // Looked at, reported, and only then taken: killed in between, the client still learns the status.
    while (const std::optional<Ending> ending = reap_any(pid, /*keep=*/true)) {
      TANDEM_KILL_POINT("process.server.ended");
      if (const auto known = numbers_.find(pid); known != numbers_.end()) {
        EndReport report{};
        report.number = known->second;
        report.pid = pid;
        report.exit_code = ending->status.code().value_or(0);
        report.signal = ending->status.signal().value_or(0);
        if (ending->usage) report.usage = *ending->usage;
        static_cast<void>(send_message(socket_.get(), &report, sizeof report, {}));
        numbers_.erase(known);
      } else if (spare_ && spare_->pid == pid) {
        // Not made anew before somebody asks: it may be killed again and again.
        spare_.reset();
        refused_ = true;
      }
      TANDEM_KILL_POINT("process.server.reported");
      discard(pid);
    }
  }

  Fd socket_;
  Fd child_ended_;
  Fd client_;
  int lifeline_ = -1;
  std::vector<Fd> received_;                // With the request that is being served.
  std::map<pid_t, std::uint64_t> numbers_;  // The client's names for the children.
  std::optional<Spare> spare_;              // Made whenever there is nothing else to do.
  bool refused_ = false;                    // But not now: the system refused it, or it was killed.
};

}  // namespace

void run_fork_server(Fd socket) {
  try {
    ForkServer(std::move(socket)).run();
  } catch (const std::exception& error) {
    log_line(LogLevel::Error, "the fork server ends: {}", error.what());
    ::_exit(1);
  }
}

}  // namespace tandem::detail
