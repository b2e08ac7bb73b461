/// Two or more threads or processes that begin together, on cores that they are told.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <utility>

#include "bench.hpp"

namespace tandem::bench {

enum class Place { Threads, Processes };
/// Where the sides run: wherever the kernel puts them, all on one core, or by turns on two.
enum class Cores { Free, One, Two };

/// An object in memory that forked children share. Owner.
template <class T>
class Shared {
 public:
  template <class... Args>
  explicit Shared(Args&&... args) {
    void* const memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    object_ = new (memory) T(std::forward<Args>(args)...);
  }
  ~Shared() {
    object_->~T();
    ::munmap(object_, sizeof(T));
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }

 private:
  T* object_;
};

/// Runs body(0) here and body(1) to body(sides - 1) in threads or forked processes, which all begin together. Throws
/// std::runtime_error if one of them fails.
void run_sides(Place place, Cores cores, int sides, const std::function<void(int)>& body);

/// What two sides got done in a fixed time, together. Value.
struct Throughput {
  std::uint64_t calls = 0;
  double millions_per_second = 0;
};

/// Lets two sides call `work(side)` for a fixed time.
template <class Work>
Throughput throughput(Place place, Cores cores, Work work) {
  constexpr std::chrono::milliseconds kTime{30};
  constexpr int kCallsBetweenLooks = 16;
  struct State {
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> calls{0};
    double took_us = 0;
  };
  Shared<State> state;
  run_sides(place, cores, 2, [&](int side) {
    std::uint64_t calls = 0;
    const auto start = std::chrono::steady_clock::now();
    while (!state->stop.load(std::memory_order_relaxed)) {
      for (int i = 0; i < kCallsBetweenLooks; ++i) work(side);
      calls += kCallsBetweenLooks;
      if (side == 0 && std::chrono::steady_clock::now() - start >= kTime) state->stop.store(true);
    }
    state->calls.fetch_add(calls);
    if (side == 0) state->took_us = microseconds_since(start);
  });
  const std::uint64_t calls = state->calls.load();
  return {calls, static_cast<double>(calls) / state->took_us};
}

/// How many microseconds a call of `turn(side)` takes where both sides meet in every call: the median.
template <class Turn>
double microseconds_per_turn(Place place, Cores cores, Turn turn) {
  constexpr std::chrono::milliseconds kTime{30};
  struct State {
    std::atomic<std::uint64_t> last_turn{~std::uint64_t{0}};
    double median_us = 0;
  };
  Shared<State> state;
  run_sides(place, cores, 2, [&](int side) {
    std::vector<double> times;
    const auto start = std::chrono::steady_clock::now();
    for (std::uint64_t number = 0;; ++number) {
      const auto begin = std::chrono::steady_clock::now();
      // Said before the sides meet, so that both end with the same turn.
      if (side == 0 && begin - start >= kTime) state->last_turn.store(number);
      turn(side);
      if (side == 0) times.push_back(microseconds_since(begin));
      if (number >= state->last_turn.load()) break;
    }
    if (side == 0) state->median_us = median(std::move(times));
  });
  return state->median_us;
}

}  // namespace tandem::bench
