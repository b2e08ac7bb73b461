#include "cluster/bound_program.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "process/pidfd.hpp"

namespace tandem::detail {
namespace {

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// In the child, which shares this process's memory: system calls only.
[[noreturn]] void execute(const char* path, char* const* words, char* const* environment, int output_fd, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  ::setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGINT, SIG_DFL);
  if (output_fd >= 0) {
    ::dup2(output_fd, STDOUT_FILENO);
    ::dup2(output_fd, STDERR_FILENO);
  }
  ::execve(path, words, environment);
  ::_exit(127);
}

}  // namespace

BoundProgram::BoundProgram(const std::string& path, std::vector<std::string> words,
                           std::vector<std::string> environment, int output_fd) {
  const std::vector<char*> word_pointers = pointers_to(words), environment_pointers = pointers_to(environment);
  const pid_t parent = ::getpid();
  // No copy of this process, and none of what others do at a fork. Signals wait, since a handler would run in its
  // memory too.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  pid_ = ::vfork();  // NOLINT: the one that shares memory is meant.
#pragma GCC diagnostic pop
  if (pid_ == 0) execute(path.c_str(), word_pointers.data(), environment_pointers.data(), output_fd, parent);
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid_ < 0) throw_system_error(error, "cannot start " + path);
  pidfd_ = open_pidfd(pid_);
}

BoundProgram::BoundProgram(BoundProgram&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}

BoundProgram& BoundProgram::operator=(BoundProgram&& other) noexcept {
  if (this != &other) {
    kill();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
  }
  return *this;
}

BoundProgram::~BoundProgram() {
  kill();
}

bool BoundProgram::reap() noexcept {
  if (pid_ <= 0) return true;
  int status = 0;
  if (retry_on_signal([&] { return ::waitpid(pid_, &status, WNOHANG); }) == 0) return false;
  end_ = WIFSIGNALED(status) ? ExitStatus::killed(WTERMSIG(status)) : ExitStatus::exited(WEXITSTATUS(status));
  pid_ = -1;
  pidfd_.reset();
  return true;
}

void BoundProgram::kill() noexcept {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  retry_on_signal([&] { return ::waitpid(pid_, nullptr, 0); });
  pid_ = -1;
  pidfd_.reset();
}

std::vector<std::string> own_command_line() {
  std::vector<std::string> words;
  const std::string text = read_small_file("/proc/self/cmdline");
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\0', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (words.empty()) words.emplace_back("tandem");
  return words;
}

}  // namespace tandem::detail
