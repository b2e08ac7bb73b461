#include "support/kill_points.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <mutex>
#include <system_error>

#include "core/kill_point.hpp"
#include "core/system.hpp"
#include "support/random.hpp"

namespace tandem::testing {
namespace {

// A hook is a plain function, so what it needs is global. A forked child gets a copy, which is what is wanted.
std::mutex names_mutex;
std::vector<std::string>* names = nullptr;
std::atomic<std::size_t> passes_left{0};
char fatal_name[128] = "";   // empty: any
int report_descriptor = -1;  // who forked this process is told where it died

void record(const char* name) {
  const std::lock_guard guard(names_mutex);
  if (names != nullptr) names->push_back(name);
}

void die_when_due(const char* name) {
  if (fatal_name[0] != '\0' && std::strcmp(name, fatal_name) != 0) return;
  if (passes_left.fetch_sub(1) != 1) return;
  if (report_descriptor >= 0) static_cast<void>(::write(report_descriptor, name, std::strlen(name)));
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

}  // namespace

std::vector<std::string> kill_points_passed(const std::function<void()>& body) {
  std::vector<std::string> passed;
  {
    const std::lock_guard guard(names_mutex);
    names = &passed;
  }
  detail::kill_point_hook = record;
  body();
  detail::kill_point_hook = nullptr;
  const std::lock_guard guard(names_mutex);
  names = nullptr;
  return passed;
}

void die_at_kill_point(std::size_t pass) {
  die_at_kill_point("", pass);
}

void die_at_kill_point(const std::string& name, std::size_t pass) {
  std::snprintf(fatal_name, sizeof fatal_name, "%s", name.c_str());
  passes_left = pass + 1;
  detail::kill_point_hook = die_when_due;
}

KilledRun run_killed_at(std::size_t pass, const std::function<void()>& body) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) detail::throw_errno("cannot make a pipe");
  detail::Fd reader(ends[0]), writer(ends[1]);
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) detail::throw_errno("cannot fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    report_descriptor = writer.get();
    die_at_kill_point(pass);
    try {
      body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "the body threw: %s\n", error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }
  writer.reset();
  int status = 0;
  detail::retry_on_signal([&] { return ::waitpid(pid, &status, 0); });
  KilledRun run;
  run.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  EXPECT_TRUE(run.killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << "wait status " << status;
  if (run.killed) {
    // One read: a process that the body forked may hold the other end open for as long as it likes.
    char name[128];
    const ssize_t size = detail::retry_on_signal([&] { return ::read(reader.get(), name, sizeof name); });
    run.at.assign(name, size > 0 ? static_cast<std::size_t>(size) : 0);
  }
  return run;
}

std::vector<std::string> for_each_kill_point(const std::function<void()>& body,
                                             const std::function<void(const std::string& at)>& after,
                                             std::size_t step) {
  std::vector<std::string> passed;
  for (std::size_t pass = random_engine()() % step;; pass += step) {
    const KilledRun run = run_killed_at(pass, body);
    if (!run.killed || ::testing::Test::HasFatalFailure()) break;
    SCOPED_TRACE("killed at " + run.at + ", pass " + std::to_string(pass));
    passed.push_back(run.at);
    after(run.at);
  }
  return passed;
}

}  // namespace tandem::testing
