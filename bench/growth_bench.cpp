// How the cost of a queue grows: with those who use it, with the items that wait in it, and with the size of an item.
// bench/plots.py draws what this prints; docs/performance.md says what causes each bend.
#include <cstring>
#include <memory>

#include <tandem/init.hpp>
#include <tandem/start_method.hpp>

#include "python_peer.hpp"
#include "queue_peers.hpp"

#ifdef TANDEM_BENCH_TBB
#include <oneapi/tbb/concurrent_priority_queue.h>
#endif

namespace {

using namespace tandem::bench;

constexpr int kRounds = 5;
constexpr int kRoundsIfDear = 3;

// --- with those who put and take

using Word = Small<8>;

template <class AnyQueue>
std::function<double()> flow(Place place, int pairs) {
  return [=] { return messages_per_microsecond<AnyQueue>(place, Cores::Free, pairs); };
}

void measure_sides(Table& table) {
  for (const int pairs : {1, 2, 4, 8, 16, 32, 64}) {
    const std::string to = std::to_string(pairs) + " to " + std::to_string(pairs);
    const int rounds = pairs < 16 ? kRounds : kRoundsIfDear;
    Peer boost{"Boost.Interprocess message_queue", {}}, tbb{"oneTBB concurrent_bounded_queue", {}};
#ifdef TANDEM_BENCH_BOOST
    boost.sample = flow<BoostQueue<Word>>(Place::Processes, pairs);
#endif
#ifdef TANDEM_BENCH_TBB
    tbb.sample = flow<TbbQueue<Word>>(Place::Threads, pairs);
#endif
    table.compare(
        {"Growth, Queue, 8 B, processes " + to,
         "M/s",
         Better::Higher,
         {"queue-processes", "Queue", static_cast<double>(pairs)},
         rounds},
        flow<OurQueue<Word>>(Place::Processes, pairs),
        {boost, {"Python multiprocessing.Queue", python("messages", Cores::Free, 8 * kMostPairs + pairs - 1)}});
    table.compare({"Growth, Queue, 8 B, threads " + to,
                   "M/s",
                   Better::Higher,
                   {"queue-threads", "Queue", static_cast<double>(pairs)},
                   rounds},
                  flow<OurQueue<Word>>(Place::Threads, pairs), {tbb});
  }
}

// --- with what waits

/// Numbers that look like chance, the same in each run.
class Numbers {
 public:
  std::uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    return state_ ^= state_ << 17;
  }

 private:
  std::uint64_t state_ = 0x9e3779b97f4a7c15u;
};

template <class OurQueueType>
struct OurWaiting {
  explicit OurWaiting(std::size_t) {}
  void put(std::uint64_t item) { queue.put(item); }
  std::uint64_t get() { return queue.get(); }
  OurQueueType queue;
};

#ifdef TANDEM_BENCH_TBB
template <class TbbQueueType>
struct TbbWaiting {
  explicit TbbWaiting(std::size_t) {}
  void put(std::uint64_t item) { queue.push(item); }
  std::uint64_t get() {
    std::uint64_t item = 0;
    queue.try_pop(item);
    return item;
  }
  TbbQueueType queue;
};
#endif

#ifdef TANDEM_BENCH_BOOST
struct BoostWaiting {
  explicit BoostWaiting(std::size_t most) : queue(most) {}
  void put(std::uint64_t item) { queue.put({{item}}); }
  std::uint64_t get() {
    Word word;
    queue.get(word);
    return word.words[0];
  }
  BoostQueue<Word> queue;
};
#endif

/// Nanoseconds of a put and a get while `waiting` items wait. The queue is filled once and kept for all rounds.
template <class AnyWaiting>
std::function<double()> put_and_get(std::size_t waiting) {
  struct Filled {
    explicit Filled(std::size_t count) : queue(count + 8) {
      for (std::size_t i = 0; i < count; ++i) queue.put(numbers.next());
    }
    AnyWaiting queue;
    Numbers numbers;
  };
  return [waiting, filled = std::shared_ptr<Filled>()]() mutable {
    if (!filled) filled = std::make_shared<Filled>(waiting);
    constexpr int kRuns = 9, kCalls = 5000;
    return nanoseconds_each<kRuns, kCalls>([&] {
      filled->queue.put(filled->numbers.next());
      std::uint64_t item = filled->queue.get();
      keep(item);
    });
  };
}

void measure_waiting(Table& table) {
  for (const std::size_t waiting : {1, 10, 100, 1000, 10'000, 100'000, 1'000'000}) {
    const auto measure = [&](const char* queue) -> Measure {
      return {std::string("Growth, ") + queue + ", put and get while " + std::to_string(waiting) + " wait",
              "ns",
              Better::Lower,
              {"queue-waiting", queue, static_cast<double>(waiting)},
              kRounds};
    };
    Peer boost{"Boost.Interprocess message_queue", {}}, tbb{"oneTBB concurrent_queue", {}},
        tbb_priority{"oneTBB concurrent_priority_queue", {}};
#ifdef TANDEM_BENCH_BOOST
    boost.sample = put_and_get<BoostWaiting>(waiting);
#endif
#ifdef TANDEM_BENCH_TBB
    tbb.sample = put_and_get<TbbWaiting<oneapi::tbb::concurrent_queue<std::uint64_t>>>(waiting);
    tbb_priority.sample =
        put_and_get<TbbWaiting<oneapi::tbb::concurrent_priority_queue<std::uint64_t, std::greater<std::uint64_t>>>>(
            waiting);
#endif
    table.compare(
        measure("Queue"), put_and_get<OurWaiting<tandem::Queue<std::uint64_t>>>(waiting),
        {boost, tbb, {"Python multiprocessing.Queue", python("put_and_get", Cores::Free, static_cast<long>(waiting))}});
    table.compare(measure("LifoQueue"), put_and_get<OurWaiting<tandem::LifoQueue<std::uint64_t>>>(waiting), {tbb});
    table.compare(measure("PriorityQueue"), put_and_get<OurWaiting<tandem::PriorityQueue<std::uint64_t>>>(waiting),
                  {tbb_priority});
  }
}

// --- with the size of an item

constexpr std::size_t kMebibyte = 1 << 20;

/// How many items of a size may wait, and how many one sample sends.
std::size_t capacity_for(std::size_t bytes) {
  return bytes <= 4096 ? 1024 : bytes <= kMebibyte ? 16 : 2;
}
std::uint64_t count_for(std::size_t bytes) {
  return std::clamp<std::uint64_t>(256 * kMebibyte / bytes, 3, 200'000);
}

/// The number of an item at its beginning and its end, as far as there is room.
void stamp(std::byte* item, std::size_t bytes, std::uint64_t number) {
  const std::size_t size = std::min(bytes, sizeof(number));
  std::memcpy(item, &number, size);
  std::memcpy(item + bytes - size, &number, size);
}
void check_stamp(const std::byte* item, std::size_t bytes, std::uint64_t number) {
  const std::size_t size = std::min(bytes, sizeof(number));
  if (std::memcmp(item, &number, size) != 0 || std::memcmp(item + bytes - size, &number, size) != 0)
    throw std::runtime_error("an item was lost or torn");
}

/// MB each second from one process to another. AnyItems has Item, make_item(bytes), data_of(item), put(item),
/// get(item).
template <class AnyItems>
std::function<double()> megabytes_per_second(std::size_t bytes) {
  return [bytes] {
    using Clock = std::chrono::steady_clock;
    const Shared<Clock::time_point> begin;
    const Shared<double> took_us(0.0);
    AnyItems items(bytes);
    const std::uint64_t count = count_for(bytes);
    run_sides(Place::Processes, Cores::Free, 2, [&](int side) {
      auto item = AnyItems::make_item(bytes);
      if (side == 0) *begin = Clock::now();
      for (std::uint64_t number = 0; number < count; ++number) {
        if (side == 0) {
          stamp(AnyItems::data_of(item), bytes, number);
          items.put(item);
        } else {
          items.get(item);
          check_stamp(AnyItems::data_of(item), bytes, number);
        }
      }
      if (side == 1) *took_us = microseconds_since(*begin);
    });
    return static_cast<double>(count) * static_cast<double>(bytes) / *took_us;
  };
}

using Bytes = std::vector<std::byte>;

struct OurItems {
  explicit OurItems(std::size_t bytes) : queue(capacity_for(bytes)) {}
  static Bytes make_item(std::size_t bytes) { return Bytes(bytes); }
  static std::byte* data_of(Bytes& item) { return item.data(); }
  void put(const Bytes& item) { queue.put(item); }
  void get(Bytes& item) { item = queue.get(); }
  tandem::Queue<Bytes> queue;
};

#ifdef TANDEM_BENCH_BOOST
struct BoostItems {
  explicit BoostItems(std::size_t bytes) : queue(capacity_for(bytes), bytes) {}
  static Bytes make_item(std::size_t bytes) { return Bytes(bytes); }
  static std::byte* data_of(Bytes& item) { return item.data(); }
  void put(const Bytes& item) { queue->send(item.data(), item.size(), 0); }
  void get(Bytes& item) {
    boost::interprocess::message_queue::size_type size = 0;
    unsigned priority = 0;
    queue->receive(item.data(), item.size(), size, priority);
  }
  UnnamedBoostQueue queue;
};
#endif

std::string size_text(std::size_t bytes) {
  for (const auto& [unit, name] :
       {std::pair(std::size_t{1} << 30, " GiB"), {kMebibyte, " MiB"}, {std::size_t{1024}, " KiB"}})
    if (bytes >= unit) return std::to_string(bytes / unit) + name;
  return std::to_string(bytes) + " B";
}

void measure_sizes(Table& table, bool large) {
  std::vector<std::size_t> sizes = {1, 16, 64, 256, 1024, 4096, 16 * 1024, 64 * 1024, 256 * 1024};
  for (const std::size_t mebibytes : {1, 4, 16, 64, 256}) sizes.push_back(mebibytes * kMebibyte);
  if (large) sizes.push_back(1024 * kMebibyte);
  for (const std::size_t bytes : sizes) {
    Peer boost{"Boost.Interprocess message_queue", {}};
#ifdef TANDEM_BENCH_BOOST
    boost.sample = megabytes_per_second<BoostItems>(bytes);
#endif
    table.compare(
        {"Growth, Queue, items of " + size_text(bytes),
         "MB/s",
         Better::Higher,
         {"queue-bytes", "Queue of std::vector", static_cast<double>(bytes)},
         bytes <= kMebibyte        ? kRounds
         : bytes <= 16 * kMebibyte ? kRoundsIfDear
                                   : 2},
        megabytes_per_second<OurItems>(bytes),
        {boost, {"Python multiprocessing.Queue", python("megabytes", Cores::Free, static_cast<long>(bytes))}});
  }
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  tandem::set_fork_thread_policy(tandem::ForkThreadPolicy::Allow);
  return run(argc, argv, [](Table& table, const Options& options) {
    measure_sides(table);
    measure_waiting(table);
    measure_sizes(table, options.large);
  });
}
