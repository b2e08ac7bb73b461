// Programs with pools that are interrupted or killed: everybody is gone, with one line at the most.
#include <gmock/gmock.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <tandem/executor.hpp>

#include "process/descriptors.hpp"
#include "process/pidfd.hpp"
#include "support/executor_places.hpp"
#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

class ProcessExecutorProgramTest : public LeakCheckedTest {};

constexpr char kRole[] = "TANDEM_TEST_POOL_PROGRAM";

void wait_in_a_worker(Event begun) {
  begun.set();
  for (;;) ::pause();
}

// What the programs below do: two workers that never end; says their pids when both have begun.
TEST_F(ProcessExecutorProgramTest, RunsForEver) {
  if (std::getenv(kRole) == nullptr) GTEST_SKIP() << "for the other tests";
  ProcessExecutor executor(2);
  Event first, second;
  const Future<void> a = executor.submit(wait_in_a_worker, first), b = executor.submit(wait_in_a_worker, second);
  first.wait();
  second.wait();
  for (const WorkerInfo& worker : executor.workers()) std::printf("worker %d\n", worker.pid);
  std::printf("ready\n");
  std::fflush(stdout);
  for (;;) ::pause();
}

/// This program, running the test above in a process group of its own. Owner.
class Program {
 public:
  Program() {
    detail::PipeEnds out = detail::make_pipe("a test's standard output"),
                     err = detail::make_pipe("a test's standard error");
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, out.write.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, err.write.get(), STDERR_FILENO);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    const std::string path = std::filesystem::read_symlink("/proc/self/exe");
    std::string filter = "--gtest_filter=*ProcessExecutorProgramTest.RunsForEver";
    char* const arguments[] = {const_cast<char*>(path.c_str()), filter.data(), nullptr};
    ::setenv(kRole, "1", 1);
    EXPECT_EQ(::posix_spawn(&pid_, path.c_str(), &actions, &attributes, arguments, environ), 0);
    ::unsetenv(kRole);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    err_ = std::move(err.read);
    out.write.reset();
    err.write.reset();
    std::string line;
    for (char letter = 0; ::read(out.read.get(), &letter, 1) == 1;) {
      if (letter != '\n') {
        line += letter;
        continue;
      }
      if (line == "ready") break;
      if (line.starts_with("worker ")) workers_.push_back(detail::open_pidfd(std::stoi(line.substr(7))));
      line.clear();
    }
    EXPECT_EQ(workers_.size(), 2u);
  }

  /// Sends a signal to the process or to its whole group, as a terminal does; gives what is on standard error until
  /// everybody is gone.
  std::string end(int signum, bool group) {
    EXPECT_EQ(::kill(group ? -pid_ : pid_, signum), 0);
    std::string text;
    char bytes[4096];
    for (ssize_t size = 0; (size = ::read(err_.get(), bytes, sizeof bytes)) > 0;)
      text.append(bytes, static_cast<std::size_t>(size));
    detail::retry_on_signal([&] { return ::waitpid(pid_, &status_, 0); });
    for (const detail::Fd& worker : workers_) EXPECT_TRUE(ends_within(worker, std::chrono::seconds(60)));
    return text;
  }
  int status() const { return status_; }

 private:
  pid_t pid_ = 0;
  int status_ = 0;
  detail::Fd err_;
  std::vector<detail::Fd> workers_;
};

// Ctrl-C: the shell's exit code for this end is 130.
TEST_F(ProcessExecutorProgramTest, InterruptEndsAllWithOneLine) {
  Program program;
  EXPECT_THAT(program.end(SIGINT, true), ::testing::EndsWith("tandem: interrupted\n"));
  EXPECT_TRUE(WIFSIGNALED(program.status()) && WTERMSIG(program.status()) == SIGINT);
}

// CRS-41
TEST_F(ProcessExecutorProgramTest, WorkersGoWithTheProgram) {
  Program program;
  program.end(SIGKILL, false);
  EXPECT_TRUE(WIFSIGNALED(program.status()) && WTERMSIG(program.status()) == SIGKILL);
}

}  // namespace
}  // namespace tandem::testing
