// What a ProcessExecutor costs beside Python's multiprocessing.Pool and mpi4py.futures: single tasks, a map over small
// items, one call at a time, and large arguments and results.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <tandem/executor.hpp>
#include <tandem/init.hpp>

#include "bench.hpp"
#include "python_peer.hpp"

namespace {

using namespace tandem::bench;
using Clock = std::chrono::steady_clock;

constexpr int kWorkers = 2;
constexpr int kTasks = 200'000;
constexpr int kItems = 4'000'000;
constexpr int kCalls = 5'000;
constexpr int kMebibytes = 400;

int add_one(int number) {
  return number + 1;
}
std::vector<std::byte> echo(std::vector<std::byte> data) {
  return data;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}
void check(bool good) {
  if (!good) throw std::runtime_error("a result is wrong");
}

double tasks() {
  tandem::ProcessExecutor executor(kWorkers);
  for (const int result : executor.map(add_one, std::vector<int>(1000))) check(result == 1);
  std::vector<tandem::Future<int>> futures;
  futures.reserve(kTasks);
  const auto begin = Clock::now();
  for (int task = 0; task < kTasks; ++task) futures.push_back(executor.submit(add_one, task));
  std::int64_t sum = 0;
  for (tandem::Future<int>& future : futures) sum += future.get();
  const double seconds = seconds_since(begin);
  check(sum == std::int64_t{kTasks} * (kTasks + 1) / 2);
  return kTasks / seconds / 1e6;
}

double map() {
  std::vector<int> input(kItems);
  std::iota(input.begin(), input.end(), 0);
  tandem::ProcessExecutor executor(kWorkers);
  for (const int result : executor.map(add_one, std::vector<int>(1000))) check(result == 1);
  std::vector<int> results;
  results.reserve(kItems);
  const auto begin = Clock::now();
  for (const int result : executor.map(add_one, input)) results.push_back(result);
  const double seconds = seconds_since(begin);
  check(results.size() == input.size() && results.back() == kItems);
  return kItems / seconds / 1e6;
}

double call() {
  tandem::ProcessExecutor executor(kWorkers);
  executor.submit(add_one, 1).get();
  return median_microseconds(kCalls, [&] { check(executor.submit(add_one, 1).get() == 2); });
}

double mebibytes() {
  const std::vector<std::byte> data(1 << 20);
  tandem::ProcessExecutor executor(kWorkers);
  for (int warm = 0; warm < 4; ++warm) executor.submit(echo, data).get();
  constexpr int kAtOnce = 4;
  std::vector<tandem::Future<std::vector<std::byte>>> futures(kAtOnce);
  const auto begin = Clock::now();
  for (int at = 0; at < kMebibytes + kAtOnce; ++at) {
    tandem::Future<std::vector<std::byte>>& place = futures[at % kAtOnce];
    if (at >= kAtOnce) check(std::move(place).get().size() == data.size());
    if (at < kMebibytes) place = executor.submit(echo, data);
  }
  return 2.0 * kMebibytes * static_cast<double>(data.size()) / seconds_since(begin) / 1e9;
}

void measure(Table& table, const Options&) {
  table.compare({"ProcessExecutor, int to int, submit with futures", "M/s", Better::Higher}, tasks,
                {{"Python Pool.imap_unordered, chunk 1", python("pool_tasks", Cores::Free, 20'000), 15}});
  table.compare({"ProcessExecutor, int to int, map with automatic chunks", "M/s", Better::Higher}, map,
                {{"Python Pool.map", python("pool_map", Cores::Free, 1'000'000), 10}});
  table.compare({"ProcessExecutor, one call at a time, p50", "us"}, call,
                {{"Python Pool.apply", python("pool_apply", Cores::Free, 2'000), 10}});
  table.compare({"ProcessExecutor, 1 MiB in and 1 MiB out", "GB/s", Better::Higher}, mebibytes,
                {{"mpi4py.futures", mpi4py("mebibytes", 400), 4},
                 {"Python Pool.imap_unordered, chunk 1", python("pool_mebibytes", Cores::Free, 100), 4}});
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  return run(argc, argv, measure);
}
