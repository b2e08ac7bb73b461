/// The fixture of tests that start threads but no processes of Tandem's, and what several of them need.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include <tandem/excepthook.hpp>
#include <tandem/thread.hpp>

#include "core/system.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem::testing {

class ThreadFixture : public LeakCheckedTest {
 protected:
  void SetUp() override {
    // With the first thread of a process the thread sanitizer starts one of its own, which stays.
    std::thread([] {}).join();
    LeakCheckedTest::SetUp();
  }
  bool keep_services() const override { return false; }
};

/// For tests in which an exception leaves a body: its report reads the files with the symbols, and keeps them open.
class ReportFixture : public ThreadFixture {
 protected:
  void SetUp() override {
    const ExceptHook before = set_excepthook([](const ExceptHookArgs&) {});
    Thread thread([] { throw std::runtime_error("reads the symbols"); });
    thread.start();
    thread.join();
    set_excepthook(before);
    ThreadFixture::SetUp();
  }
};

/// While it lives, what leaves a body is kept here instead of printed. Owner.
class CaughtReports {
 public:
  CaughtReports()
      : before_(set_excepthook([this](const ExceptHookArgs& args) {
          const std::lock_guard guard(mutex_);
          reports_.push_back(args);
        })) {}
  ~CaughtReports() { set_excepthook(before_); }
  CaughtReports(const CaughtReports&) = delete;
  CaughtReports& operator=(const CaughtReports&) = delete;

  std::vector<ExceptHookArgs> take() {
    const std::lock_guard guard(mutex_);
    return std::move(reports_);
  }

 private:
  std::mutex mutex_;
  std::vector<ExceptHookArgs> reports_;
  ExceptHook before_;
};

/// Runs `child` in a process made by a bare fork(), which ends by _exit() with what it returns (255 if it throws).
inline pid_t fork_child(const std::function<int()>& child) {
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  int code = 255;
  try {
    code = child();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "in the forked child: %s\n", error.what());
  }
  std::fflush(nullptr);
  ::_exit(code);
}

/// Waits for the end of a child; its exit code, or minus the signal that ended it.
inline int exit_code_of(pid_t pid) {
  int status = 0;
  if (detail::retry_on_signal([&] { return ::waitpid(pid, &status, 0); }) != pid) return -1000;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace tandem::testing
