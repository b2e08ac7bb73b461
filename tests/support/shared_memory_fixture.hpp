/// What the tests of shared memory need: names of their own, owners to kill, and a /dev/shm of their own.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <functional>
#include <string>

#include <tandem/shared_memory.hpp>

#include "core/system.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem::testing {

/// A name that no other test that runs now has.
inline std::string unique_name(const std::string& what) {
  return "test-" + std::to_string(::getpid()) + "-" + what;
}

inline std::string path_of_memory(const std::string& name) {
  return "/dev/shm/tandem.memory." + name;
}

/// Whether there is such a name, without using it: nothing is swept.
inline bool memory_exists(const std::string& name) {
  return std::filesystem::exists(std::filesystem::symlink_status(path_of_memory(name)));
}

inline bool can_attach(const std::string& name) {
  try {
    return static_cast<bool>(SharedMemory::attach(name));
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), ENOENT) << error.what();
    return false;
  }
}

/// Runs a body in a forked process and returns its wait status; the body's exceptions and failures make it 1.
inline int status_of_forked(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) detail::throw_errno("cannot fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "the body threw: %s\n", error.what());
      ::_exit(1);
    }
    std::fflush(nullptr);
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  detail::retry_on_signal([&] { return ::waitpid(pid, &status, 0); });
  return status;
}

/// Runs a body in a process that has a /dev/shm of its own, of `size_bytes`, so that nobody else uses it. False if the
/// system does not allow that. The test fails if the body does.
bool in_private_shm(std::size_t size_bytes, const std::function<void()>& body);

/// A process that has run `begin`, and waits. Owner: kills it.
class WaitingProcess {
 public:
  explicit WaitingProcess(const std::function<void()>& begin);
  ~WaitingProcess() { kill(); }
  WaitingProcess(const WaitingProcess&) = delete;
  WaitingProcess& operator=(const WaitingProcess&) = delete;

  pid_t pid() const { return pid_; }
  /// With SIGKILL, and waits for its end.
  void kill();

 private:
  pid_t pid_ = -1;
};

}  // namespace tandem::testing
