#include "python_peer.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>

namespace tandem::bench {
namespace {

/// The Python program and the socket to it. Ended with this one, for it reads the end of its requests.
class Interpreter {
 public:
  static bool installed() { return std::filesystem::exists(kPython); }
  static Interpreter& instance() {
    static Interpreter interpreter;
    return interpreter;
  }

  double ask(const std::string& request) {
    const std::string line = request + '\n';
    if (::send(socket_, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) fail();
    std::string answer;
    for (char letter = 0; letter != '\n'; answer += letter)
      if (::read(socket_, &letter, 1) != 1) fail();
    return std::stod(answer);
  }

  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

 private:
  static constexpr const char* kPython = "/usr/bin/python3";

  Interpreter() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail();
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    const char* const arguments[] = {kPython, TANDEM_BENCH_DIR "/python_peers.py", nullptr};
    const int error = ::posix_spawn(&pid_, kPython, &actions, nullptr, const_cast<char* const*>(arguments), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    socket_ = ends[0];
    if (error != 0) fail();
  }
  ~Interpreter() {
    ::close(socket_);
    ::waitpid(pid_, nullptr, 0);
  }
  [[noreturn]] static void fail() { throw std::runtime_error("the Python program that is measured beside ended"); }

  int socket_ = -1;
  pid_t pid_ = 0;
};

}  // namespace

std::function<double()> python(const std::string& name, Cores cores, long argument) {
  if (!Interpreter::installed()) return {};
  const char* const where = cores == Cores::Free ? "free" : cores == Cores::One ? "one" : "two";
  return
      [request = name + ' ' + where + ' ' + std::to_string(argument)] { return Interpreter::instance().ask(request); };
}

std::function<double()> mpi4py(const std::string& what, long calls) {
  if (!std::filesystem::exists("/usr/lib/python3/dist-packages/mpi4py") || !std::filesystem::exists("/usr/bin/mpirun"))
    return {};
  // It does not run for root unless told twice, nor three programs on two cores, which it would each keep busy; and it
  // wants ssh, for machines that there are none of.
  const std::string command =
      "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 /usr/bin/mpirun -n 3 --oversubscribe --bind-to none "
      "--mca plm isolated --mca mpi_yield_when_idle 1 /usr/bin/python3 -m mpi4py.futures " TANDEM_BENCH_DIR
      "/mpi_peer.py " +
      what + ' ' + std::to_string(calls);
  return [command] {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> program(::popen(command.c_str(), "re"), ::pclose);
    double reached = 0;
    if (!program || std::fscanf(program.get(), "%lf", &reached) != 1)
      throw std::runtime_error("mpi4py, which is measured beside, gave no figure");
    return reached;
  };
}

}  // namespace tandem::bench
