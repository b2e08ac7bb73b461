#include "support/tool.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <utility>

namespace tandem::testing {
namespace {

std::pair<detail::Fd, detail::Fd> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) detail::throw_errno("cannot make a pipe");
  return {detail::Fd(ends[0]), detail::Fd(ends[1])};
}

/// Reads from each descriptor until its end, at the same time: the tool may fill either.
void read_all(std::array<std::pair<detail::Fd*, std::string*>, 2> sources) {
  for (;;) {
    std::array<pollfd, 2> waits{};
    for (std::size_t i = 0; i < waits.size(); ++i)
      waits[i] = {*sources[i].first ? sources[i].first->get() : -1, POLLIN, 0};
    if (waits[0].fd < 0 && waits[1].fd < 0) return;
    detail::retry_on_signal([&] { return ::poll(waits.data(), waits.size(), -1); });
    for (std::size_t i = 0; i < waits.size(); ++i) {
      if (waits[i].revents == 0) continue;
      std::array<char, 4096> buffer{};
      const ssize_t got = detail::retry_on_signal([&] { return ::read(waits[i].fd, buffer.data(), buffer.size()); });
      if (got > 0) {
        sources[i].second->append(buffer.data(), static_cast<std::size_t>(got));
      } else {
        sources[i].first->reset();
      }
    }
  }
}

}  // namespace

std::string built_file(const std::string& name) {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / name).string();
}

std::string source_file(const std::string& name) {
  return TANDEM_SOURCE_DIR "/" + name;
}

RunningTool::RunningTool(const std::vector<std::string>& arguments, const ToolStreams& streams) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  std::vector<detail::Fd> writing_ends;
  const auto connect = [&](int fd, const std::optional<int>& given, detail::Fd& reading_end) {
    if (given && *given < 0) {
      posix_spawn_file_actions_addclose(&actions, fd);
    } else if (given) {
      posix_spawn_file_actions_adddup2(&actions, *given, fd);
    } else {
      auto [read, write] = make_pipe();
      posix_spawn_file_actions_adddup2(&actions, write.get(), fd);
      reading_end = std::move(read);
      writing_ends.push_back(std::move(write));
    }
  };
  connect(STDOUT_FILENO, streams.out_fd, out_);
  connect(STDERR_FILENO, streams.err_fd, err_);

  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  const std::string program = built_file("cli/tandem");
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const int error = ::posix_spawn(&pid_, program.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) detail::throw_system_error(error, "cannot run " + program);
}

RunningTool::~RunningTool() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

ToolRun RunningTool::finish() {
  ToolRun run;
  read_all({{{&out_, &run.out}, {&err_, &run.err}}});
  int status = 0;
  detail::retry_on_signal([&] { return ::waitpid(pid_, &status, 0); });
  pid_ = -1;
  run.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return run;
}

ToolRun run_tool(const std::vector<std::string>& arguments, const ToolStreams& streams) {
  return RunningTool(arguments, streams).finish();
}

TemporaryFile::TemporaryFile(const std::string& content) : path_("/tmp/tandem_test_XXXXXX") {
  const detail::Fd file(::mkstemp(path_.data()));
  if (!file || ::write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()))
    detail::throw_errno("cannot write " + path_);
}

TemporaryFile::~TemporaryFile() {
  ::unlink(path_.c_str());
}

}  // namespace tandem::testing
