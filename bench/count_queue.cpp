// Puts and takes items in threads that take turns, with marks between, for bench/count to count instructions and lines
// of the cache under valgrind. Not a benchmark: the threads never run at once.
#include <sys/resource.h>

#include <charconv>
#include <cstdint>
#include <iostream>
#include <semaphore>
#include <string_view>
#include <thread>
#include <vector>

#include <tandem/init.hpp>
#include <tandem/queue.hpp>

#ifdef TANDEM_BENCH_TBB
#include <oneapi/tbb/concurrent_queue.h>
#endif

namespace {

constexpr std::size_t kCapacity = 1024;

// A store to one of these tells who works from there on: a side of its own line each, then nobody.
constexpr int kSides = 8;
struct alignas(64) Mark {
  volatile int stored;
};
Mark marks[kSides + 1];

struct Ours {
  void put(std::uint64_t item) { queue.put(item); }
  std::uint64_t get() { return queue.get(); }
  tandem::Queue<std::uint64_t> queue{kCapacity};
};

#ifdef TANDEM_BENCH_TBB
struct Tbb {
  Tbb() { queue.set_capacity(kCapacity); }
  void put(std::uint64_t item) { queue.push(item); }
  std::uint64_t get() {
    std::uint64_t item = 0;
    queue.pop(item);
    return item;
  }
  oneapi::tbb::concurrent_bounded_queue<std::uint64_t> queue;
};
#endif

/// Producers and consumers, each as many as `pairs`, in turns of `gathered` items.
template <class AnyQueue>
void take_turns(int pairs, int gathered, int turns) {
  AnyQueue queue;
  std::vector<std::thread> threads;
  const int sides = 2 * pairs;
  std::vector<std::binary_semaphore*> may_go;
  for (int side = 0; side < sides; ++side) may_go.push_back(new std::binary_semaphore(0));
  for (int side = 0; side < sides; ++side) {
    threads.emplace_back([&, side] {
      for (int turn = 0; turn < turns; ++turn) {
        may_go[side]->acquire();
        marks[side].stored = 1;
        for (int i = 0; i < gathered; ++i) {
          if (side < pairs) {
            queue.put(static_cast<std::uint64_t>(i));
          } else {
            volatile std::uint64_t item = queue.get();
            static_cast<void>(item);
          }
        }
        marks[kSides].stored = 1;
        may_go[(side + 1) % sides]->release();
      }
    });
  }
  may_go[0]->release();
  for (std::thread& thread : threads) thread.join();
  for (std::binary_semaphore* semaphore : may_go) delete semaphore;
}

/// Instructions alone: a put and a get while `waiting` items wait.
template <class AnyQueue>
void keep_waiting(int waiting, int calls) {
  AnyQueue queue;
  std::uint64_t number = 0x9e3779b97f4a7c15u;
  const auto next = [&number] {
    number ^= number << 13;
    number ^= number >> 7;
    return number ^= number << 17;
  };
  for (int i = 0; i < waiting; ++i) queue.put(next());
  marks[0].stored = 1;
  for (int i = 0; i < calls; ++i) {
    queue.put(next());
    volatile std::uint64_t item = queue.get();
    static_cast<void>(item);
  }
  marks[kSides].stored = 1;
}

/// Page faults and microseconds in the kernel for each item of a size, of which two wait at once.
void move_large(int bytes, int calls) {
  tandem::Queue<std::vector<std::byte>> queue;
  const std::vector<std::byte> item(static_cast<std::size_t>(bytes));
  std::vector<std::byte> taken;
  const auto move_two = [&] {
    queue.put(item);
    queue.put(item);
    taken = queue.get();
    taken = queue.get();
  };
  const auto usage = [] {
    rusage now{};
    ::getrusage(RUSAGE_SELF, &now);
    return now;
  };
  move_two();
  const rusage before = usage();
  for (int i = 0; i < calls; ++i) move_two();
  const rusage after = usage();
  const double items = 2.0 * calls;
  const auto microseconds = [](timeval time) {
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
  };
  std::cout << static_cast<double>(after.ru_minflt - before.ru_minflt) / items << ' '
            << (microseconds(after.ru_stime) - microseconds(before.ru_stime)) / items << ' '
            << (microseconds(after.ru_utime) - microseconds(before.ru_utime)) / items << std::endl;
}

int number_in(std::string_view text) {
  int number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  if (argc != 5) {
    std::cerr << "usage: count_queue (ours | tbb) PAIRS ITEMS TURNS, or (fifo | lifo | priority) waiting ITEMS CALLS,\n"
                 "or bytes each SIZE CALLS\n";
    return 2;
  }
  const std::string_view kind = argv[1];
  const int pairs = number_in(argv[2]), items = number_in(argv[3]), turns = number_in(argv[4]);
  if (kind == "bytes") {
    move_large(items, turns);
    return 0;
  }
  std::cout << std::hex << reinterpret_cast<std::uintptr_t>(&marks[0]) << std::endl;
  if (kind == "ours" && pairs >= 1 && 2 * pairs <= kSides) take_turns<Ours>(pairs, items, turns);
#ifdef TANDEM_BENCH_TBB
  if (kind == "tbb" && pairs >= 1 && 2 * pairs <= kSides) take_turns<Tbb>(pairs, items, turns);
#endif
  if (kind == "fifo") keep_waiting<tandem::Queue<std::uint64_t>>(items, turns);
  if (kind == "lifo") keep_waiting<tandem::LifoQueue<std::uint64_t>>(items, turns);
  if (kind == "priority") keep_waiting<tandem::PriorityQueue<std::uint64_t>>(items, turns);
}
