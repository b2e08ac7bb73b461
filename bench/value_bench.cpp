// What shared data costs, beside the same within one process: a counter that is added to and read, and a struct.
#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include <tandem/array.hpp>
#include <tandem/raw_value.hpp>
#include <tandem/value.hpp>

namespace {

// A number under a std::mutex: what one would write without Tandem.
template <class T>
class MutexValue {
 public:
  void operator+=(T by) {
    const std::lock_guard guard(mutex_);
    value_ += by;
  }
  T get() {
    const std::lock_guard guard(mutex_);
    return value_;
  }
  template <class Change>
  void update(Change change) {
    const std::lock_guard guard(mutex_);
    change(value_);
  }

 private:
  std::mutex mutex_;
  T value_{};
};

template <class T>
class AtomicValue {
 public:
  void operator+=(T by) { value_ += by; }
  T get() const { return value_.load(); }

 private:
  std::atomic<T> value_{};
};

// One for all threads of a run.
template <class V>
V& shared() {
  static V& value = *new V;
  return value;
}

template <class V>
void Add(benchmark::State& state) {
  V& value = shared<V>();
  for (auto _ : state) value += 1;
}
BENCHMARK(Add<AtomicValue<std::int64_t>>)->ThreadRange(1, 2);
BENCHMARK(Add<tandem::RawValue<std::int64_t>>)->ThreadRange(1, 2);
BENCHMARK(Add<MutexValue<std::int64_t>>)->ThreadRange(1, 2);
BENCHMARK(Add<tandem::Value<std::int64_t>>)->ThreadRange(1, 2);

template <class V>
void Read(benchmark::State& state) {
  V& value = shared<V>();
  for (auto _ : state) benchmark::DoNotOptimize(value.get());
}
BENCHMARK(Read<AtomicValue<std::int64_t>>)->ThreadRange(1, 2);
BENCHMARK(Read<tandem::RawValue<std::int64_t>>)->ThreadRange(1, 2);
BENCHMARK(Read<MutexValue<std::int64_t>>)->ThreadRange(1, 2);
BENCHMARK(Read<tandem::Value<std::int64_t>>)->ThreadRange(1, 2);

using Kilobyte = std::array<std::uint64_t, 128>;

template <class V>
void ChangeOneKilobyte(benchmark::State& state) {
  V& value = shared<V>();
  for (auto _ : state) value.update([](Kilobyte& words) { ++words[5]; });
}
BENCHMARK(ChangeOneKilobyte<MutexValue<Kilobyte>>);
BENCHMARK(ChangeOneKilobyte<tandem::Value<Kilobyte>>);

void SumOfAnArray(benchmark::State& state) {
  const tandem::RawArray<int> numbers(100'000);
  for (auto _ : state) {
    int sum = 0;
    for (const int number : numbers) sum += number;
    benchmark::DoNotOptimize(sum);
  }
}
BENCHMARK(SumOfAnArray);

}  // namespace

BENCHMARK_MAIN();
