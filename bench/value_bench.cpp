// Value and Array: a number that is added to and read, a struct that is changed, a sum, beside the same within one
// process.
#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <numeric>
#include <stdexcept>

#include <tandem/array.hpp>
#include <tandem/init.hpp>
#include <tandem/raw_value.hpp>
#include <tandem/start_method.hpp>
#include <tandem/value.hpp>

#include "python_peer.hpp"
#include "sides.hpp"

namespace {

using namespace tandem::bench;

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

template <class Number>
double add() {
  Number number;
  return nanoseconds_each([&] { number += 1; });
}

template <class Number>
double read() {
  Number number;
  return nanoseconds_each([&] {
    auto value = number.get();
    keep(value);
  });
}

template <class Number>
std::function<double()> add_by_two(Place place) {
  return [place] {
    const Shared<Number> number;
    const Throughput done = throughput(place, Cores::Free, [&](int) { *number += 1; });
    if (static_cast<std::uint64_t>(number->get()) != done.calls) throw std::runtime_error("an addition was lost");
    return done.millions_per_second;
  };
}

using Kilobyte = std::array<std::uint64_t, 128>;

template <class Struct>
double change_one_kilobyte() {
  Struct value;
  return nanoseconds_each([&] { value.update([](Kilobyte& words) { ++words[5]; }); });
}

template <class Numbers>
double sum() {
  const Numbers numbers(100'000);
  return median_microseconds(50, [&] {
    int total = std::accumulate(numbers.begin(), numbers.end(), 0);
    keep(total);
  });
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  tandem::set_fork_thread_policy(tandem::ForkThreadPolicy::Allow);
  using Value = tandem::Value<std::int64_t>;
  using RawValue = tandem::RawValue<std::int64_t>;
  using Mutex = MutexValue<std::int64_t>;
  using Atomic = AtomicValue<std::int64_t>;
  return run(argc, argv, [](Table& table, const Options&) {
    table.compare({"Value, add", "ns"}, add<Value>,
                  {{"number under a std::mutex", add<Mutex>}, {"Python multiprocessing.Value", python("value_add")}});
    table.compare({"RawValue, add", "ns"}, add<RawValue>, {{"std::atomic", add<Atomic>}});
    table.compare({"Value, read", "ns"}, read<Value>, {{"number under a std::mutex", read<Mutex>}});
    table.compare({"RawValue, read", "ns"}, read<RawValue>, {{"std::atomic", read<Atomic>}});
    const Measure threads{"Value, add, 2 threads", "M/s", Better::Higher};
    table.compare(threads, add_by_two<Value>(Place::Threads),
                  {{"number under a std::mutex", add_by_two<Mutex>(Place::Threads)}});
    const Measure raw_processes{"RawValue, add, 2 processes", "M/s", Better::Higher};
    table.compare(raw_processes, add_by_two<RawValue>(Place::Processes),
                  {{"std::atomic in shared memory", add_by_two<Atomic>(Place::Processes)}});
    table.compare({"Value, change a struct of 1 KiB", "ns"}, change_one_kilobyte<tandem::Value<Kilobyte>>,
                  {{"struct under a std::mutex", change_one_kilobyte<MutexValue<Kilobyte>>}});
    table.compare({"RawArray, sum of 100,000", "us"}, sum<tandem::RawArray<int>>,
                  {{"std::vector", sum<std::vector<int>>}});
  });
}
