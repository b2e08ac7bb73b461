// What the Gil costs, beside std::mutex: taken and given back alone, asked for nothing, and handed from thread to
// thread.
#include <benchmark/benchmark.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>

#include <tandem/gil.hpp>
#include <tandem/thread.hpp>

namespace {

template <class Lock>
void LockAlone(benchmark::State& state) {
  Lock lock;
  for (auto _ : state) {
    const std::lock_guard guard(lock);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(LockAlone<std::mutex>);
BENCHMARK(LockAlone<tandem::Gil>);

void CheckpointWithoutAGil(benchmark::State& state) {
  for (auto _ : state) tandem::checkpoint();
}
BENCHMARK(CheckpointWithoutAGil);

void CheckpointNobodyAsks(benchmark::State& state) {
  tandem::Gil gil;
  const std::lock_guard guard(gil);
  for (auto _ : state) tandem::checkpoint();
}
BENCHMARK(CheckpointNobodyAsks);

void Unlocked(benchmark::State& state) {
  tandem::Gil gil;
  const std::lock_guard guard(gil);
  for (auto _ : state) gil.unlocked([] { benchmark::ClobberMemory(); });
}
BENCHMARK(Unlocked);

// Each iteration is a turn of the other thread and one of this: two hand-overs. With the shortest interval the one that
// waits asks at once, so that what is measured is the switch and not the interval.
void HandOverGil(benchmark::State& state) {
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
  for (auto _ : state) {
    others_turn = true;
    while (others_turn) tandem::checkpoint();
  }
  gil.unlock();
  other.request_stop();
  other.join();
}
BENCHMARK(HandOverGil)->UseRealTime();

// The same with what a program would use that has no Gil: a mutex, and a condition variable to wait for the turn.
void HandOverMutex(benchmark::State& state) {
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
  {
    std::unique_lock guard(mutex);
    for (auto _ : state) {
      others_turn = true;
      changed.notify_one();
      changed.wait(guard, [&] { return !others_turn; });
    }
    stop = true;
    changed.notify_one();
  }
  other.join();
}
BENCHMARK(HandOverMutex)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
