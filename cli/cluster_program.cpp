#include "cluster_program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>
#include <system_error>

#include "bad_input.hpp"
#include "text.hpp"

namespace tandem::tool {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

bool is_program(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> environment_with(const Environment& changes) {
  std::vector<std::string> all;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    if (!changes.contains(text.substr(0, text.find('=')))) all.push_back(text);
  }
  for (const auto& [name, value] : changes)
    if (value) all.push_back(name + "=" + *value);
  return all;
}

}  // namespace

std::string find_program(const std::string& name, const std::vector<std::string>& more) {
  if (name.empty()) throw BadInput("a program needs a name");
  if (name.find('/') != std::string::npos) {
    if (is_program(name)) return name;
    struct stat info{};
    const bool there = ::stat(name.c_str(), &info) == 0;
    throw BadInput(
        fmt::format("{}: {}", printable(name), there ? "is no program that can be executed" : "no such program"));
  }
  const char* const path = std::getenv("PATH");
  std::stringstream folders(path != nullptr ? path : "/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (const std::string found = folder + "/" + name; !folder.empty() && is_program(found)) return found;
  for (const std::string& folder : more)
    if (const std::string found = folder + "/" + name; is_program(found)) return found;
  throw BadInput(fmt::format("{}: no such program in the search path", printable(name)));
}

void become(const std::vector<std::string>& words, const Environment& environment, Interruption& interruption) {
  const std::string path = find_program(words.at(0));
  std::vector<std::string> copies = words;
  std::vector<std::string> variables = environment_with(environment);
  std::signal(SIGPIPE, SIG_DFL);
  interruption.let_through();
  ::execve(path.c_str(), pointers_to(copies).data(), pointers_to(variables).data());
  const int error = errno;
  throw BadInput(fmt::format("{}: cannot be executed: {}", printable(path), std::generic_category().message(error)));
}

void OwnFd::reset(int fd) noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

int OwnFd::release() noexcept {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

PipeEnds::PipeEnds() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail("cannot make a pipe");
  read.reset(ends[0]);
  write.reset(ends[1]);
}

bool write_all(int fd, const std::string& text) noexcept {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t wrote = ::write(fd, text.data() + done, text.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    done += static_cast<std::size_t>(wrote);
  }
  return true;
}

void write_private_file(const std::string& path, const std::string& text) {
  const std::string beside = path + ".new";
  const OwnFd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file || !write_all(file.get(), text) || ::rename(beside.c_str(), path.c_str()) != 0)
    fail("cannot write " + path);
}

std::string read_text_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad())
    throw BadInput(fmt::format("{}: cannot be read: {}", printable(path), std::generic_category().message(errno)));
  return text;
}

pid_t start_child(const ChildSetup& setup) {
  std::vector<std::string> words = setup.words;
  const std::string path = find_program(words.at(0), {"/usr/sbin", "/usr/local/sbin"});
  std::vector<std::string> variables = environment_with(setup.environment);
  const std::vector<char*> word_pointers = pointers_to(words), variable_pointers = pointers_to(variables);
  const OwnFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!nothing) fail("cannot open /dev/null");
  const pid_t parent = ::getpid();
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t child = ::fork();
  if (child != 0) {
    const int error = errno;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    errno = error;
    if (child < 0) fail("cannot start " + path);
    return child;
  }
  // System calls only: there may be other threads in the process that this is a copy of.
  if (setup.bound) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
  }
  if (setup.own_session) ::setsid();
  // What is above the standard descriptors stays there while they are set.
  const std::array<int, 3> fds = {setup.in_fd, setup.out_fd, setup.err_fd};
  for (int fd = 0; fd < 3; ++fd) {
    const int from = fds[static_cast<std::size_t>(fd)] < 0 ? nothing.get() : fds[static_cast<std::size_t>(fd)];
    if (from == fd)
      ::fcntl(fd, F_SETFD, 0);
    else if (::dup2(from, fd) < 0)
      ::_exit(127);
  }
  if (setup.kept_fd >= 0) ::fcntl(setup.kept_fd, F_SETFD, 0);
  for (const int signal : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD}) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(path.c_str(), word_pointers.data(), variable_pointers.data());
  ::_exit(127);
}

std::string status_text(int status) {
  if (WIFSIGNALED(status)) {
    // A real-time signal has no name.
    const char* const name = ::sigabbrev_np(WTERMSIG(status));
    return name != nullptr ? fmt::format("it was ended by SIG{}", name)
                           : fmt::format("it was ended by signal {}", WTERMSIG(status));
  }
  return fmt::format("it ended with {}", WEXITSTATUS(status));
}

std::string random_digits(int words) {
  std::random_device device;  // The kernel's.
  std::string digits;
  for (int i = 0; i < words; ++i) digits += fmt::format("{:08x}", device());
  return digits;
}

}  // namespace tandem::tool
