// How the cost of processes grows with their number: n that idle at the same time, from the first start to the last
// join.
#include <chrono>

#include <tandem/event.hpp>
#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/semaphore.hpp>
#include <tandem/start_method.hpp>

#include "bare_server.hpp"
#include "python_peer.hpp"

namespace {

using namespace tandem::bench;

void idle(tandem::Semaphore ready, tandem::Event end) {
  ready.release();
  end.wait();
}

enum class Figure { MicrosecondsEach, KibibytesEach };

/// Runs `count` workers that idle until all do; what one of them took of time or memory.
double idle_workers(int count, Figure figure) {
  tandem::Semaphore ready(0, tandem::UnitsOfTheDead::StayOut);
  tandem::Event end;
  std::vector<tandem::Process> workers;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) workers.emplace_back(idle, ready, end).start();
  for (int i = 0; i < count; ++i) ready.acquire();
  double memory = 0;
  if (figure == Figure::KibibytesEach)
    for (const tandem::Process& worker : workers) memory += pss_kibibytes(worker.pid().value());
  end.set();
  for (tandem::Process& worker : workers) worker.join();
  const double time = microseconds_since(start);
  for (const tandem::Process& worker : workers) check(worker.exitcode() == 0, "a worker failed");
  return (figure == Figure::MicrosecondsEach ? time : memory) / count;
}

double bare_workers(BareServer& server, int count, Figure figure) {
  const auto start = std::chrono::steady_clock::now();
  BareServer::Group group(server);
  std::vector<pid_t> workers;
  for (int i = 0; i < count; ++i) workers.push_back(group.start());
  double memory = 0;
  if (figure == Figure::KibibytesEach)
    for (const pid_t worker : workers) memory += pss_kibibytes(worker);
  group.end_and_join();
  return (figure == Figure::MicrosecondsEach ? microseconds_since(start) : memory) / count;
}

void measure(Table& table, BareServer& server) {
  constexpr int kMostForPython = 300;
  for (const int count : {1, 3, 10, 30, 100, 300, 1000}) {
    for (const Figure figure : {Figure::MicrosecondsEach, Figure::KibibytesEach}) {
      const bool time = figure == Figure::MicrosecondsEach;
      std::vector<Peer> peers = {
          {"bare fork server", [&server, count, figure] { return bare_workers(server, count, figure); }}};
      if (count <= kMostForPython)
        peers.push_back({"Python, fork", python(time ? "workers_fork" : "memory_fork", Cores::Free, count)});
      table.compare(
          {"Growth, Process by forkserver, " + std::to_string(count) + " at once, " + (time ? "time" : "PSS") +
               " of each",
           time ? "us" : "KiB",
           Better::Lower,
           {time ? "process-time" : "process-memory", "Process by forkserver", static_cast<double>(count)},
           !time          ? 2
           : count <= 100 ? 5
                          : 3},
          [=] { return idle_workers(count, figure); }, peers);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  BareServer server;
  return run(argc, argv, [&](Table& table, const Options&) { measure(table, server); });
}
