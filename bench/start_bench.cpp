// What it takes to start and join a thread or a process that does nothing, and the memory of a process that idles.
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <string_view>
#include <thread>

#include <tandem/event.hpp>
#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/semaphore.hpp>
#include <tandem/start_method.hpp>
#include <tandem/thread.hpp>

#include "bare_server.hpp"
#include "python_peer.hpp"

namespace {

using namespace tandem::bench;

constexpr const char* kEndAtOnce = "--end-at-once";
constexpr int kIdleWorkers = 4;

/// Memory that this program has written, in pages of 4 KiB as most memory is. Owner.
class Ballast {
 public:
  explicit Ballast(std::size_t mebibytes) : bytes_(mebibytes << 20) {
    memory_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory_ != MAP_FAILED, "not enough memory");
    ::madvise(memory_, bytes_, MADV_NOHUGEPAGE);
    for (std::size_t at = 0; at < bytes_; at += 4096) static_cast<char*>(memory_)[at] = 1;
  }
  ~Ballast() { ::munmap(memory_, bytes_); }
  Ballast(const Ballast&) = delete;
  Ballast& operator=(const Ballast&) = delete;

 private:
  std::size_t bytes_;
  void* memory_;
};

void do_nothing() {}

void join_checked(tandem::Process& process) {
  process.start();
  process.join();
  check(process.exitcode() == 0, "a child failed");
}

std::function<double()> ours_by(tandem::StartMethod method, int calls) {
  return [=] {
    return median_microseconds(calls, [=] {
      tandem::Process process(tandem::ProcessOptions{.start_method = method}, do_nothing);
      join_checked(process);
    });
  };
}

double ours_by_fork() {
  return median_microseconds(10, [] {
    tandem::Process process(tandem::fork, do_nothing);
    join_checked(process);
  });
}

double bare_fork() {
  return median_microseconds(10, [] {
    const pid_t child = ::fork();
    check(child >= 0, "cannot fork");
    if (child == 0) ::_exit(0);
    int status = 0;
    check(::waitpid(child, &status, 0) == child && status == 0, "a child failed");
  });
}

double bare_spawn() {
  return median_microseconds(5, [] {
    const char* const arguments[] = {"start_bench", kEndAtOnce, nullptr};
    pid_t child = 0;
    check(::posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, const_cast<char* const*>(arguments), environ) == 0,
          "cannot spawn");
    int status = 0;
    check(::waitpid(child, &status, 0) == child && status == 0, "a child failed");
  });
}

void idle(tandem::Semaphore ready, tandem::Event end) {
  ready.release();
  end.wait();
}

double our_idle_memory() {
  tandem::Semaphore ready(0, tandem::UnitsOfTheDead::StayOut);
  tandem::Event end;
  std::vector<tandem::Process> workers;
  for (int i = 0; i < kIdleWorkers; ++i) workers.emplace_back(idle, ready, end).start();
  for (int i = 0; i < kIdleWorkers; ++i) ready.acquire();
  double total = 0;
  for (const tandem::Process& worker : workers) total += pss_kibibytes(worker.pid().value());
  end.set();
  for (tandem::Process& worker : workers) worker.join();
  return total / kIdleWorkers;
}

double bare_idle_memory(BareServer& server) {
  std::vector<pid_t> workers;
  for (int i = 0; i < kIdleWorkers; ++i) workers.push_back(server.start_idle());
  double total = 0;
  for (const pid_t worker : workers) total += pss_kibibytes(worker);
  for (const pid_t worker : workers) ::kill(worker, SIGKILL);
  return total / kIdleWorkers;
}

void measure_threads(Table& table) {
  const auto ours = [] {
    return median_microseconds(100, [] {
      tandem::Thread thread(do_nothing);
      thread.start();
      thread.join();
    });
  };
  const auto standard = [] { return median_microseconds(100, [] { std::thread(do_nothing).join(); }); };
  table.compare({"Thread, start and join", "us"}, ours, {{"std::thread", standard, 1 / 1.2}});
}

void measure_fork_server(Table& table, BareServer& server, const std::string& size, std::size_t mebibytes) {
  const std::string name = "Process by forkserver, parent of " + size;
  if (!table.wants(name)) return;
  const Ballast ballast(mebibytes);
  std::vector<Peer> peers = {
      {"bare fork server", [&] { return median_microseconds(10, [&] { server.start_and_join(); }); }, 1 / 1.3}};
  if (mebibytes <= 10) {
    peers.push_back({"Python, forkserver", python("start_forkserver", Cores::Free, 2)});
    peers.push_back({"Python, fork", python("start_fork", Cores::Free, 5)});
  }
  table.compare({name, "us"}, ours_by(tandem::StartMethod::ForkServer, 10), peers);
}

void measure(Table& table, const Options& options, BareServer& server) {
  measure_threads(table);
  measure_fork_server(table, server, "10 MiB", 10);
  measure_fork_server(table, server, "1 GiB", 1024);
  if (options.large) measure_fork_server(table, server, "4 GiB", 4096);
  table.compare({"Process by spawn", "us"}, ours_by(tandem::StartMethod::Spawn, 5),
                {{"posix_spawn of the same program", bare_spawn, 1 / 1.2},
                 {"Python, spawn", python("start_spawn", Cores::Free, 2)}});
  table.compare({"Process by fork, small parent", "us"}, ours_by_fork,
                {{"fork and waitpid", bare_fork}, {"Python, fork", python("start_fork", Cores::Free, 5)}});
  std::vector<Peer> idlers = {{"child of a bare fork server", [&] { return bare_idle_memory(server); }, 1 / 1.5}};
  for (const char* const method : {"fork", "forkserver", "spawn"})
    idlers.push_back(
        {std::string("Python, ") + method, python(std::string("memory_") + method, Cores::Free, kIdleWorkers)});
  table.compare({"Process that idles, PSS", "KiB"}, our_idle_memory, idlers);
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  if (argc == 2 && argv[1] == std::string_view(kEndAtOnce)) return 0;
  tandem::set_fork_thread_policy(tandem::ForkThreadPolicy::Allow);
  BareServer server;
  return run(argc, argv, [&](Table& table, const Options& options) { measure(table, options, server); });
}
