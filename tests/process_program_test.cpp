// Programs that start processes: how they are called, and what they forgot. Each test runs this program once more.
#include <dlfcn.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "process/executed_child.hpp"
#include "support/bodies.hpp"
#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kStartBeforeMain[] = "TANDEM_TEST_START_BEFORE_MAIN";

// What a program does that starts processes where it defines its variables.
const bool started_before_main = [] {
  if (std::getenv(kStartBeforeMain) == nullptr) return false;
  try {
    Process process(bodies::do_nothing);
    process.start();
    std::fputs("it was started", stderr);
  } catch (const NotInitialized& error) {
    std::fputs(error.what(), stderr);
  }
  std::fputs(";", stderr);
  return true;
}();

struct Ran {
  int code = -1;
  std::string error;
};

// Runs a program and reads its standard error; `path` is found as a shell finds it.
Ran run(const std::string& path, std::vector<std::string> words,
        const std::map<std::string, std::optional<std::string>>& environment = {}, const std::string& folder = ".") {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) detail::throw_errno("cannot make a pipe");
  const detail::Fd reader(ends[0]);
  detail::Fd writer(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writer.get(), STDERR_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  std::vector<std::string> texts = detail::environment_with(environment);
  std::vector<char*> argv = {const_cast<char*>(path.c_str())}, envp;
  for (std::string& word : words) argv.push_back(word.data());
  for (std::string& text : texts) envp.push_back(text.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, path.c_str(), &actions, nullptr, argv.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) detail::throw_system_error(error, "cannot execute " + path);
  writer.reset();
  Ran ran;
  char bytes[4096];
  ssize_t size = 0;
  while ((size = ::read(reader.get(), bytes, sizeof bytes)) > 0)
    ran.error.append(bytes, static_cast<std::size_t>(size));
  int status = 0;
  detail::retry_on_signal([&] { return ::waitpid(pid, &status, 0); });
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return ran;
}

std::filesystem::path this_program() {
  return std::filesystem::read_symlink("/proc/self/exe");
}

const std::vector<std::string> kStartsThem = {"--gtest_filter=*StartsThemByEveryMethod"};

class ProcessProgramTest : public LeakCheckedTest {};

// What the other tests run, and a test itself.
TEST_F(ProcessProgramTest, StartsThemByEveryMethod) {
  for (const Where where : {Where::ForkServer, Where::Spawn, Where::Fork})
    EXPECT_EQ(exitcode_of(where, bodies::ask_to_exit, 3), 3);
}

// STM-01
TEST_F(ProcessProgramTest, IsFoundHoweverItWasCalled) {
  const std::filesystem::path path = this_program();
  EXPECT_EQ(run(path, kStartsThem).code, 0);
  EXPECT_EQ(run("./" + path.filename().string(), kStartsThem, {}, path.parent_path()).code, 0);
  EXPECT_EQ(
      run("../" + (path.parent_path().filename() / path.filename()).string(), kStartsThem, {}, path.parent_path()).code,
      0);
  const std::filesystem::path link = "/tmp/tandem_test_link_" + std::to_string(::getpid());
  std::filesystem::create_symlink(path, link);
  EXPECT_EQ(run(link, kStartsThem).code, 0);
  const std::string search = std::string(std::getenv("PATH")) + ":/tmp";
  ::setenv("PATH", search.c_str(), 1);
  EXPECT_EQ(run(link.filename(), kStartsThem, {}, "/").code, 0);
  std::filesystem::remove(link);
}

// As when it is built anew while it runs.
TEST_F(ProcessProgramTest, IsFoundAfterItsFileIsGone) {
  const std::filesystem::path copy = "/tmp/tandem_test_copy_" + std::to_string(::getpid());
  std::filesystem::create_hard_link(this_program(), copy);
  const Ran ran = run("/bin/sh", {"-c", "exec 9<" + copy.string() + "; rm " + copy.string() +
                                            "; exec /proc/self/fd/9 --gtest_filter=*StartsThemByEveryMethod"});
  std::filesystem::remove(copy);
  EXPECT_EQ(ran.code, 0) << ran.error;
}

// STM-18
TEST_F(ProcessProgramTest, ALongCommandLineIsNoHindrance) {
  std::vector<std::string> words(5000, "an argument of the program");
  words.push_back(kStartsThem[0]);
  EXPECT_EQ(run(this_program(), words).code, 0);
}

// STM-07
TEST_F(ProcessProgramTest, StartingBeforeInitFailsClearlyAndOnce) {
  const Ran ran = run(this_program(), {"--gtest_list_tests"}, {{kStartBeforeMain, "1"}});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.error, "a process cannot be started yet: call tandem::init() first in main();");
}

TEST_F(ProcessProgramTest, AVariableThatTandemDidNotSetIsRefused) {
  for (const char* const value : {"nonsense", "child 1 2", "child 1 2 3 4", "child 1 2 0", "server"}) {
    const Ran ran = run(this_program(), {"--gtest_list_tests"}, {{"TANDEM_CHILD", value}});
    EXPECT_EQ(ran.code, 127) << value;
    EXPECT_THAT(ran.error, HasSubstr("TANDEM_CHILD"));
    EXPECT_THAT(ran.error, HasSubstr(value));
  }
}

// GNU's OpenMP, called as a compiler would.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

Parallel openmp() {
  void* const library = ::dlopen("libgomp.so.1", RTLD_NOW);
  return library == nullptr ? nullptr : reinterpret_cast<Parallel>(::dlsym(library, "GOMP_parallel"));
}

int count_in_parallel() {
  std::atomic<int> count{0};
  openmp()([](void* c) { ++*static_cast<std::atomic<int>*>(c); }, &count, 4, 0);
  return count;
}

// PRC-34: by the methods that do not copy the parent's threads away; a forked child waits for them in libgomp.
TEST_F(ProcessProgramTest, AThreadPoolOfAnotherLibraryDoesNotFreezeTheChild) {
  // In a process of its own: the pool's threads stay.
  EXPECT_EQ(exitcode_of(
                Where::ForkServer,
                +[] {
                  if (openmp() == nullptr) return 77;
                  if (count_in_parallel() != 4) return 1;
                  for (const Where where : {Where::ForkServer, Where::Spawn})
                    if (exitcode_of(where, count_in_parallel) != 4) return 2;
                  return 0;
                }),
            openmp() == nullptr ? 77 : 0);
}

}  // namespace
}  // namespace tandem::testing
