#include "sides.hpp"

#include <sched.h>

#include <exception>
#include <iostream>
#include <stdexcept>
#include <vector>

#include <tandem/process.hpp>
#include <tandem/thread.hpp>

namespace tandem::bench {
namespace {

/// The calling thread on one of the cores that it may use. Owner, for one scope.
class Pinned {
 public:
  Pinned(Cores cores, int side) {
    ::sched_getaffinity(0, sizeof(before_), &before_);
    if (cores == Cores::Free) return;
    const int wanted = cores == Cores::One ? 0 : side % 2;
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int core = 0, seen = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &before_) && seen++ == wanted) CPU_SET(core, &one);
    if (CPU_COUNT(&one) == 0) throw std::runtime_error("this needs two cores");
    ::sched_setaffinity(0, sizeof(one), &one);
  }
  ~Pinned() { ::sched_setaffinity(0, sizeof(before_), &before_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  cpu_set_t before_;
};

}  // namespace

void run_sides(Place place, Cores cores, int sides, const std::function<void(int)>& body) {
  Shared<std::atomic<int>> arrived(0);
  const auto run_one = [&](int side) {
    const Pinned pinned(cores, side);
    arrived->fetch_add(1);
    while (arrived->load() < sides) ::sched_yield();
    body(side);
  };
  // A side that failed leaves the others waiting for it, so that there is no way on.
  const auto run_or_end = [&](int side) {
    try {
      run_one(side);
    } catch (const std::exception& error) {
      std::cerr << "a side of a benchmark failed: " << error.what() << std::endl;
      std::_Exit(1);
    }
  };
  std::vector<Thread> threads;
  std::vector<Process> processes;
  for (int side = 1; side < sides; ++side) {
    if (place == Place::Threads) {
      threads.emplace_back(run_or_end, side).start();
    } else {
      processes.emplace_back(fork, ProcessOptions{.keep_stderr_tail = false}, run_or_end, side).start();
    }
  }
  run_or_end(0);
  for (Thread& thread : threads) thread.join();
  for (Process& process : processes) {
    process.join();
    if (process.exitcode() != 0) throw std::runtime_error("a side of a benchmark failed");
  }
}

}  // namespace tandem::bench
