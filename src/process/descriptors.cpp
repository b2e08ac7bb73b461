#include "process/descriptors.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

namespace tandem::detail {

Fd above_standard(Fd fd, const char* what) {
  if (!fd) return fd;
  Fd above = above_standard(std::move(fd));
  if (!above) throw_errno(std::string("cannot duplicate the descriptor of ") + what);
  return above;
}

PipeEnds make_pipe(const char* what) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno(std::string("cannot make a pipe for ") + what);
  Fd read(ends[0]), write(ends[1]);
  return {above_standard(std::move(read), what), above_standard(std::move(write), what)};
}

SocketPair make_socket_pair(const char* what) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    throw_errno(std::string("cannot make a socket pair for ") + what);
  Fd mine(ends[0]), theirs(ends[1]);
  return {above_standard(std::move(mine), what), above_standard(std::move(theirs), what)};
}

Fd duplicate(int fd, const char* what) {
  Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!copy) throw_errno(std::string("cannot duplicate the descriptor of ") + what);
  return copy;
}

int send_parts(int socket, std::span<const iovec> parts, std::span<const int> descriptors, int flags) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  const ssize_t sent = retry_on_signal([&] { return ::sendmsg(socket, &message, flags | MSG_NOSIGNAL); });
  return sent < 0 ? errno : 0;
}

int send_message(int socket, const void* bytes, std::size_t size, std::span<const int> descriptors, int flags) {
  const iovec part{const_cast<void*>(bytes), size};
  return send_parts(socket, {&part, 1}, descriptors, flags);
}

Received receive_parts(int socket, std::span<const iovec> parts, std::vector<Fd>& descriptors, int flags) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))];
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = retry_on_signal([&] { return ::recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC); });
  if (size < 0) return {-1, errno, false, false};
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    std::vector<int> numbers((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(numbers.data(), CMSG_DATA(header), numbers.size() * sizeof(int));
    for (const int fd : numbers) descriptors.emplace_back(fd);
  }
  return {size, 0, (message.msg_flags & MSG_TRUNC) != 0, (message.msg_flags & MSG_CTRUNC) != 0};
}

bool receive_message(int socket, void* bytes, std::size_t size, std::vector<Fd>& descriptors, int flags) {
  const iovec part{bytes, size};
  const Received received = receive_parts(socket, {&part, 1}, descriptors, flags);
  return received.size_bytes == static_cast<ssize_t>(size) && !received.cut_short && !received.lost_descriptors;
}

}  // namespace tandem::detail
