// What the Gil costs, beside std::mutex: taken and given back alone, asked for nothing, and handed from thread to
// thread.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>

#include <tandem/gil.hpp>
#include <tandem/init.hpp>
#include <tandem/thread.hpp>

#include "bench.hpp"

namespace {

using namespace tandem::bench;

constexpr double kHandOverMicroseconds = 30'000;

template <class AnyLock>
double alone() {
  AnyLock lock;
  return nanoseconds_each([&] { const std::lock_guard guard(lock); });
}

double checkpoint_nobody_asks() {
  tandem::Gil gil;
  const std::lock_guard guard(gil);
  return nanoseconds_each([] { tandem::checkpoint(); });
}

/// What a checkpoint is at least: a look at a flag.
double look_at_a_flag() {
  std::atomic<bool> asked{false};
  return nanoseconds_each([&] {
    if (asked.load(std::memory_order_relaxed)) asked.store(false);
  });
}

double unlocked() {
  tandem::Gil gil;
  const std::lock_guard guard(gil);
  return nanoseconds_each([&] { gil.unlocked([] { clobber_memory(); }); });
}

// Each turn is one of the other thread and one of this: two hand-overs. With the shortest interval the one that waits
// asks at once, so that what is measured is the switch and not the interval.
double hand_over_gil() {
  tandem::Gil gil{std::chrono::nanoseconds(1)};
  bool others_turn = false;
  tandem::ThreadOptions under_gil;
  under_gil.gil = gil;
  tandem::Thread other(under_gil, [&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      others_turn = false;
      tandem::checkpoint();
    }
  });
  gil.lock();
  other.start();
  const auto start = std::chrono::steady_clock::now();
  int turns = 0;
  for (; microseconds_since(start) < kHandOverMicroseconds; ++turns) {
    others_turn = true;
    while (others_turn) tandem::checkpoint();
  }
  const double each_us = microseconds_since(start) / turns;
  gil.unlock();
  other.request_stop();
  other.join();
  return each_us;
}

// The same with what a program would use that has no Gil: a mutex, and a condition variable to wait for the turn.
double hand_over_mutex() {
  std::mutex mutex;
  std::condition_variable changed;
  bool others_turn = false;
  bool stop = false;
  tandem::Thread other([&] {
    std::unique_lock guard(mutex);
    while (!stop) {
      changed.wait(guard, [&] { return others_turn || stop; });
      others_turn = false;
      changed.notify_one();
    }
  });
  other.start();
  double each_us = 0;
  {
    std::unique_lock guard(mutex);
    const auto start = std::chrono::steady_clock::now();
    int turns = 0;
    for (; microseconds_since(start) < kHandOverMicroseconds; ++turns) {
      others_turn = true;
      changed.notify_one();
      changed.wait(guard, [&] { return !others_turn; });
    }
    each_us = microseconds_since(start) / turns;
    stop = true;
    changed.notify_one();
  }
  other.join();
  return each_us;
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  return run(argc, argv, [](Table& table, const Options&) {
    table.compare({"Gil, alone", "ns"}, alone<tandem::Gil>, {{"std::mutex", alone<std::mutex>}});
    table.compare({"Gil, checkpoint that nobody asks", "ns"}, checkpoint_nobody_asks,
                  {{"a look at an atomic flag", look_at_a_flag}});
    table.compare({"Gil, unlocked around nothing", "ns"}, unlocked, {{"std::mutex", alone<std::mutex>}});
    table.compare({"Gil, to and fro, 2 threads", "us"}, hand_over_gil,
                  {{"std::mutex and std::condition_variable", hand_over_mutex}});
  });
}
