#include "support/shared_memory_fixture.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

namespace tandem::testing {
namespace {

constexpr int kNotAllowed = 77;

}  // namespace

bool in_private_shm(std::size_t size_bytes, const std::function<void()>& body) {
  const int status = status_of_forked([&] {
    const bool apart = ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    const std::string size = "size=" + std::to_string(size_bytes);
    if (!apart || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, (size + ",mode=1777").c_str()) != 0)
      ::_exit(kNotAllowed);
    body();
  });
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotAllowed) return false;
  EXPECT_EQ(status, 0) << "wait status of the process with a /dev/shm of its own";
  return true;
}

WaitingProcess::WaitingProcess(const std::function<void()>& begin) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) detail::throw_errno("cannot make a pipe");
  const detail::Fd reader(ends[0]);
  detail::Fd writer(ends[1]);
  std::fflush(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) detail::throw_errno("cannot fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      begin();
      static_cast<void>(!::write(writer.get(), "b", 1));
    } catch (const std::exception& error) {
      std::fprintf(stderr, "the body threw: %s\n", error.what());
      ::_exit(1);
    }
    for (;;) ::pause();
  }
  writer.reset();
  char begun = 0;
  EXPECT_EQ(detail::retry_on_signal([&] { return ::read(reader.get(), &begun, 1); }), 1) << "it has not begun";
}

void WaitingProcess::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  detail::retry_on_signal([&] { return ::waitpid(pid_, nullptr, 0); });
  pid_ = -1;
}

}  // namespace tandem::testing
