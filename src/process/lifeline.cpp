#include "process/lifeline.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>

#include "process/descriptors.hpp"
#include "thread/native_thread.hpp"

namespace tandem::detail {
namespace {

// This process's own description of the lifeline's reading end; kept open as long as the process lives.
Fd& held() {
  static auto* const made = new Fd;
  return *made;
}

[[noreturn]] void die() {
  for (;;) ::kill(::getpid(), SIGKILL);
}

// For a system without /proc, where the description cannot be opened anew: the shared one cannot name each child.
void* wait_for_the_end(void* fd) {
  pollfd line{static_cast<int>(reinterpret_cast<std::intptr_t>(fd)), 0, 0};
  retry_on_signal([&] { return ::poll(&line, 1, -1); });
  die();
}

}  // namespace

Lifeline Lifeline::make() {
  PipeEnds pipe = make_pipe("the lifeline of child processes");
  return {std::move(pipe.read), std::move(pipe.write)};
}

void hold_lifeline(Fd read) {
  const std::string path = "/proc/self/fd/" + std::to_string(read.get());
  // Opened anew, not duplicated: the signal's addressee belongs to the open file description, and each child needs
  // its own.
  Fd own(retry_on_signal([&] { return ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC); }));
  if (own) {
    own = above_standard(std::move(own), "the lifeline");
    if (::fcntl(own.get(), F_SETSIG, SIGKILL) != 0 || ::fcntl(own.get(), F_SETOWN, ::getpid()) != 0 ||
        ::fcntl(own.get(), F_SETFL, O_ASYNC | O_NONBLOCK) != 0)
      throw_errno("cannot bind this process to the life of its parent");
  } else {
    own = std::move(read);
    const auto argument = reinterpret_cast<void*>(std::intptr_t{own.get()});
    if (const int error = start_native_thread(0, wait_for_the_end, argument))
      throw_system_error(error, "cannot bind this process to the life of its parent");
  }
  held() = std::move(own);
  // The parent may have gone before the signal was armed.
  pollfd line{held().get(), 0, 0};
  if (retry_on_signal([&] { return ::poll(&line, 1, 0); }) == 1) die();
}

void renew_lifeline() {
  hold_lifeline(std::move(held()));
}

int outlive_lifeline() {
  // So that a process which somebody has stopped ends too. (Without effect where a thread waits for the end, see above:
  // that kills this process as any other.)
  if (::fcntl(held().get(), F_SETSIG, SIGCONT) != 0) throw_errno("cannot look at the life of the parent process");
  return held().get();
}

}  // namespace tandem::detail
