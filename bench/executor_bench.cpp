// What a ThreadExecutor costs beside oneTBB: empty tasks with futures, one call at a time, and a map over many small
// items.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <future>
#include <vector>

#include <tandem/executor.hpp>
#include <tandem/init.hpp>

#ifdef TANDEM_BENCH_TBB
#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#endif

#include "bench.hpp"

namespace {

using namespace tandem::bench;
using Clock = std::chrono::steady_clock;

constexpr int kWorkers = 2;
constexpr int kTasks = 100'000;
constexpr int kCalls = 2'000;
constexpr int kItems = 1'000'000;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Calls `call` many times; the median of the times that it took, in microseconds.
template <class Call>
double median_microseconds(Call call) {
  std::vector<double> times(kCalls);
  for (double& time : times) {
    const auto begin = Clock::now();
    call();
    time = seconds_since(begin) * 1e6;
  }
  std::nth_element(times.begin(), times.begin() + kCalls / 2, times.end());
  return times[kCalls / 2];
}

// About 20 ns: what is worth a call of a function, and far too little for a task of its own.
std::uint64_t mix(std::uint64_t value) {
  for (int round = 0; round < 8; ++round) value = (value ^ (value >> 29)) * 0xbf58476d1ce4e5b9u;
  return value;
}

std::vector<std::uint64_t> items() {
  std::vector<std::uint64_t> all(kItems);
  for (int at = 0; at < kItems; ++at) all[at] = static_cast<std::uint64_t>(at);
  return all;
}

double tasks_executor() {
  tandem::ThreadExecutor executor(kWorkers);
  executor.submit([] {}).get();
  std::vector<tandem::Future<void>> futures;
  futures.reserve(kTasks);
  const auto begin = Clock::now();
  for (int task = 0; task < kTasks; ++task) futures.push_back(executor.submit([] {}));
  for (const auto& future : futures) future.get();
  return kTasks / seconds_since(begin) / 1e6;
}

double call_executor() {
  tandem::ThreadExecutor executor(kWorkers);
  return median_microseconds([&] { executor.submit([] {}).get(); });
}

double map_executor() {
  const std::vector<std::uint64_t> input = items();
  tandem::ThreadExecutor executor(kWorkers);
  executor.submit([] {}).get();
  const auto begin = Clock::now();
  const std::vector<std::uint64_t> results = executor.map(mix, input).to_vector();
  return seconds_since(begin) * 1e3;
}

#ifdef TANDEM_BENCH_TBB
std::future<void> enqueue(tbb::task_arena& arena) {
  std::packaged_task<void()> task([] {});
  std::future<void> future = task.get_future();
  // enqueue() calls a const copy.
  arena.enqueue([task = std::make_shared<std::packaged_task<void()>>(std::move(task))] { (*task)(); });
  return future;
}

double tasks_tbb() {
  tbb::task_arena arena(kWorkers, 0);
  enqueue(arena).get();
  std::vector<std::future<void>> futures;
  futures.reserve(kTasks);
  const auto begin = Clock::now();
  for (int task = 0; task < kTasks; ++task) futures.push_back(enqueue(arena));
  for (auto& future : futures) future.get();
  return kTasks / seconds_since(begin) / 1e6;
}

double call_tbb() {
  tbb::task_arena arena(kWorkers, 0);
  enqueue(arena).get();
  return median_microseconds([&] { enqueue(arena).get(); });
}

double map_tbb() {
  const std::vector<std::uint64_t> input = items();
  tbb::task_arena arena(kWorkers);
  arena.execute([] {});
  const auto begin = Clock::now();
  std::vector<std::uint64_t> results(kItems);
  arena.execute([&] {
    tbb::parallel_for(tbb::blocked_range<std::size_t>(0, kItems), [&](const tbb::blocked_range<std::size_t>& range) {
      for (std::size_t at = range.begin(); at != range.end(); ++at) results[at] = mix(input[at]);
    });
  });
  return seconds_since(begin) * 1e3;
}
#else
const std::function<double()> tasks_tbb, call_tbb, map_tbb;
#endif

void measure(Table& table, const Options&) {
  table.compare({"ThreadExecutor, empty tasks with a future, from one thread", "M/s", Better::Higher}, tasks_executor,
                {{"oneTBB task_arena::enqueue, std::packaged_task", tasks_tbb, 1.0}});
  table.compare({"ThreadExecutor, submit and get, p50", "us"}, call_executor,
                {{"oneTBB task_arena::enqueue, std::packaged_task", call_tbb, 1.0}});
  table.compare({"ThreadExecutor, map over a million small items", "ms"}, map_executor,
                {{"oneTBB parallel_for", map_tbb, 1 / 1.5}});
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
#ifdef TANDEM_BENCH_TBB
  // So that an arena without a place for the calling thread has its workers on two cores too.
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, kWorkers + 1);
#endif
  return run(argc, argv, measure);
}
