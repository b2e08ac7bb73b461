/// The least that starting processes can cost, and what one takes: a bare fork server, and the memory of a process.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace tandem::bench {

inline void check(bool good, const char* what) {
  if (!good) throw std::runtime_error(what);
}

/// The least that a fork server can be: told by a message that carries a descriptor, it forks a child which has that
/// descriptor, waits for its end and says how it ended. Forked off before this program gets large.
class BareServer {
 public:
  enum Request : char { kEndAtOnceRequest, kIdle, kIdleUntilToldRequest };

  BareServer() {
    int ends[2];
    check(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "cannot make a socket pair");
    server_ = ::fork();
    check(server_ >= 0, "cannot fork");
    if (server_ == 0) {
      ::close(ends[0]);
      serve(ends[1]);
    }
    ::close(ends[1]);
    socket_ = ends[0];
  }
  ~BareServer() {
    ::close(socket_);
    ::waitpid(server_, nullptr, 0);
  }
  BareServer(const BareServer&) = delete;
  BareServer& operator=(const BareServer&) = delete;

  /// Starts a child and waits for its end.
  void start_and_join() {
    int ends[2];
    check(::pipe2(ends, O_CLOEXEC) == 0, "cannot make a pipe");
    send(kEndAtOnceRequest, ends[1]);
    ::close(ends[1]);
    check(receive() == 0, "a child failed");
    char nothing = 0;
    check(::read(ends[0], &nothing, 1) == 0, "a child did not end");
    ::close(ends[0]);
  }
  /// Starts a child that idles; its pid.
  pid_t start_idle() {
    send(kIdle, socket_);
    return receive();
  }

  /// Children that idle until they are told to end, all at once.
  class Group {
   public:
    explicit Group(BareServer& server) : server_(server) {
      check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_) == 0, "cannot make a socket pair");
    }
    ~Group() {
      ::close(ends_[0]);
      if (ends_[1] >= 0) ::close(ends_[1]);
    }
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;

    /// Starts one; its pid.
    pid_t start() {
      server_.send(kIdleUntilToldRequest, ends_[1]);
      return server_.receive();
    }
    /// Tells all to end and waits until they have.
    void end_and_join() {
      ::close(std::exchange(ends_[1], -1));
      ::shutdown(ends_[0], SHUT_WR);
      char nothing = 0;
      check(::read(ends_[0], &nothing, 1) == 0, "a child of the bare fork server failed");
    }

   private:
    BareServer& server_;
    int ends_[2];
  };

 private:
  static void serve(int socket) {
    for (;;) {
      char request = 0;
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
      iovec part{&request, 1};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof(control);
      if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) ::_exit(0);
      while (::waitpid(-1, nullptr, WNOHANG) > 0) {
      }
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(descriptor));
      const pid_t child = ::fork();
      if (child == 0) {
        while (request == kIdle) ::pause();
        if (request == kIdleUntilToldRequest && ::read(descriptor, &request, 1) != 0) ::_exit(1);
        ::_exit(0);
      }
      ::close(descriptor);
      int answer = child;
      if (request == kEndAtOnceRequest) ::waitpid(child, &answer, 0);
      if (::send(socket, &answer, sizeof(answer), MSG_NOSIGNAL) != sizeof(answer)) ::_exit(1);
    }
  }
  void send(char request, int descriptor) const {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
    iovec part{&request, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof(descriptor));
    check(::sendmsg(socket_, &message, MSG_NOSIGNAL) == 1, "cannot ask the bare fork server");
  }
  int receive() const {
    int answer = 0;
    check(::recv(socket_, &answer, sizeof(answer), 0) == sizeof(answer), "the bare fork server is gone");
    return answer;
  }

  pid_t server_ = 0;
  int socket_ = -1;
};

inline double pss_kibibytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/smaps_rollup");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("Pss:")) return std::stod(line.substr(4));
  throw std::runtime_error("the system does not say how much memory a process uses");
}

}  // namespace tandem::bench
