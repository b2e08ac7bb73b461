// What executors tell of what they use, in each place.
#include <time.h>

#include <chrono>
#include <ranges>

#include <tandem/executor.hpp>

#include "support/executor_places.hpp"

namespace tandem::testing {
namespace {

using namespace std::chrono_literals;

// The time that the calling thread has had a core.
std::chrono::nanoseconds own_cpu_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// Not on the wall clock: others may have the core all that time.
int compute_for_20_ms(int value) {
  const auto until = own_cpu_time() + 20ms;
  while (own_cpu_time() < until) continue;
  return value;
}

template <class Place>
class WorkerUsageTest : public ExecutorPlaceTest<Place> {};
TYPED_TEST_SUITE(WorkerUsageTest, ExecutorPlaces, ExecutorPlaceNames);

TYPED_TEST(WorkerUsageTest, WorkersTellTheirCpuTimeAndMemory) {
  auto executor = this->make(1);
  std::chrono::nanoseconds before{};
  for (int round = 0; round < 2; ++round) {
    executor.for_each(MapOptions{.chunk_size = 1}, compute_for_20_ms, std::views::iota(0, 10));
    const std::vector<WorkerInfo> workers = executor.workers();
    ASSERT_EQ(workers.size(), 1u);
    // Ticks of the kernel are 10 ms.
    EXPECT_GT(workers[0].cpu_time, before);
    EXPECT_GT(workers[0].memory_bytes, 100'000u);
    before = workers[0].cpu_time;
  }
}

TYPED_TEST(WorkerUsageTest, CountersTellTheRate) {
  auto executor = this->make(1);
  EXPECT_EQ(executor.counters().per_second, 0);
  executor.for_each(MapOptions{.chunk_size = 1}, compute_for_20_ms, std::views::iota(0, 5));
  EXPECT_GT(executor.counters().per_second, 0);
  EXPECT_LE(executor.counters().per_second, 50);
}

}  // namespace
}  // namespace tandem::testing
