// Sums 0 to 99,999,999 on one thread, two threads, two processes: 01, 02 and 03 differ by one word from one to the
// next.
#include <tandem/tandem.hpp>

#include <cstdint>
#include <iostream>
#include <vector>

void work(std::int64_t begin, std::int64_t end, tandem::Queue<std::int64_t> result) {
  std::int64_t total = 0;
  for (std::int64_t i = begin; i < end; ++i) total += i;
  result.put(total);
}

int main() {
  tandem::init();  // The first line of main, for programs that start processes.
  constexpr std::int64_t count = 2, numbers = 100'000'000;

  tandem::Queue<std::int64_t> result;
  std::vector<tandem::Process> workers;
  for (std::int64_t i = 0; i < count; ++i)
    workers.emplace_back(work, numbers * i / count, numbers * (i + 1) / count, result);
  for (auto& worker : workers) worker.start();
  for (auto& worker : workers) worker.join();  // Joining before reading never deadlocks: the queue grows.

  result.close();
  std::int64_t total = 0;
  for (std::int64_t part : result) total += part;  // Ends when the queue is closed and drained.
  std::cout << total << '\n';
}
