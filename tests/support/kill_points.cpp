#include "support/kill_points.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <set>
#include <sstream>
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

[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

void report(const char* line, std::size_t size) {
  if (report_descriptor >= 0) static_cast<void>(::write(report_descriptor, line, size));
}

void die_when_due(const char* name) {
  if (fatal_name[0] != '\0' && std::strcmp(name, fatal_name) != 0) return;
  if (passes_left.fetch_sub(1) != 1) return;
  report(name, std::strlen(name));
  die();
}

// What for_each_kill_point has dealt with, for the child that it forks: how many passes of each point.
struct PointsDone {
  std::atomic<const char*> name{nullptr};
  std::atomic<std::size_t> done{0};
  std::atomic<std::size_t> passed{0};  // in this child
};
std::array<PointsDone, 256> points_done;
std::set<std::string> passed_by_killed;  // by the child that for_each_kill_point killed last

// No lock: the body may fork while another thread is in here.
PointsDone& entry_of(const char* name) {
  for (PointsDone& entry : points_done) {
    const char* found = nullptr;
    if (entry.name.compare_exchange_strong(found, name)) return entry;
    if (std::strcmp(found, name) == 0) return entry;
  }
  std::fprintf(stderr, "more than %zu kill points\n", points_done.size());
  std::abort();
}

// Reports each point and each pass that is new, and dies at the last of the new passes that are to be made. So does a
// process that the body forks, at passes of its own.
void die_at_new_pass(const char* name) {
  PointsDone& entry = entry_of(name);
  const std::size_t pass = entry.passed.fetch_add(1);
  const bool is_new = pass >= entry.done;
  if (!is_new && pass > 0) return;
  char line[160];
  const int size = std::snprintf(line, sizeof line, "%d %zu %s\n", ::getpid(), pass, name);
  report(line, static_cast<std::size_t>(size));
  if (is_new && passes_left.fetch_sub(1) == 1) die();
}

// Runs `body` in a forked child with that hook; gives what the child reported.
KilledRun run_with_hook(detail::KillPointHook hook, std::size_t passes, const std::function<void()>& body) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) detail::throw_errno("cannot make a pipe");
  detail::Fd reader(ends[0]), writer(ends[1]);
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) detail::throw_errno("cannot fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    report_descriptor = writer.get();
    fatal_name[0] = '\0';
    passes_left = passes;
    detail::kill_point_hook = hook;
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
  run.pid = pid;
  run.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  EXPECT_TRUE(run.killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << "wait status " << status;
  // What is there, not up to the end: a process that the body forked may hold the other end open for as long as it
  // likes.
  char text[4096];
  for (ssize_t size; (size = detail::retry_on_signal([&] { return ::read(reader.get(), text, sizeof text); })) > 0;)
    run.at.append(text, static_cast<std::size_t>(size));
  return run;
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
  return run_with_hook(die_when_due, pass + 1, body);
}

std::vector<std::string> for_each_kill_point(const std::function<void()>& body,
                                             const std::function<void(const std::string& at)>& after,
                                             std::size_t step) {
  for (PointsDone& entry : points_done) entry.name = nullptr, entry.done = entry.passed = 0;
  std::deque<std::string> names_in_table;
  std::vector<std::string> killed_at;
  for (std::size_t passes = 1 + random_engine()() % step;; passes = step) {
    const KilledRun run = run_with_hook(die_at_new_pass, passes, body);
    std::istringstream lines(run.at);
    pid_t pid = 0;
    std::size_t pass = 0;
    std::string last;
    passed_by_killed.clear();
    for (std::string name; lines >> pid >> pass && std::getline(lines >> std::ws, name);) {
      std::atomic<std::size_t>& done = entry_of(names_in_table.emplace_back(name).c_str()).done;
      done = std::max(done.load(), pass + 1);
      if (pid != run.pid) continue;
      last = name + ", pass " + std::to_string(pass);
      passed_by_killed.insert(name);
    }
    if (!run.killed || ::testing::Test::HasFatalFailure()) break;
    SCOPED_TRACE("killed at " + last);
    killed_at.push_back(last.substr(0, last.find(',')));
    after(killed_at.back());
  }
  return killed_at;
}

bool killed_had_passed(const std::string& name) {
  return passed_by_killed.contains(name);
}

}  // namespace tandem::testing
