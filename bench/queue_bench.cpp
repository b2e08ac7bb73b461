// Queue: messages from processes to processes and between threads, round trips, and a message to a sleeper.
#include <fcntl.h>
#include <unistd.h>

#include <thread>

#include <tandem/init.hpp>
#include <tandem/start_method.hpp>

#include "python_peer.hpp"
#include "queue_peers.hpp"

namespace {

using namespace tandem::bench;

// Small messages are counted; of large ones what matters is the bytes.
template <class Message>
constexpr bool kCounted = Message::kSize < 4096;
template <class Message>
constexpr const char* kUnit = kCounted<Message> ? "M/s" : "MB/s";

template <class Message>
std::function<double()> in_its_unit(std::function<double()> messages_per_microsecond) {
  if (!messages_per_microsecond || kCounted<Message>) return messages_per_microsecond;
  return [=] { return messages_per_microsecond() * Message::kSize; };
}

template <class AnyQueue>
std::function<double()> flow(Place place, Cores cores, int pairs) {
  return in_its_unit<typename AnyQueue::Message>(
      [=] { return messages_per_microsecond<AnyQueue>(place, cores, pairs); });
}

template <class Message>
Peer boost_peer([[maybe_unused]] Cores cores, [[maybe_unused]] int pairs, double reach) {
  Peer peer{"Boost.Interprocess message_queue", {}, reach};
#ifdef TANDEM_BENCH_BOOST
  peer.sample = flow<BoostQueue<Message>>(Place::Processes, cores, pairs);
#endif
  return peer;
}

template <class Message>
Peer zmq_peer([[maybe_unused]] Cores cores, [[maybe_unused]] int pairs, double reach) {
  Peer peer{"ZeroMQ ipc", {}, reach};
#ifdef TANDEM_BENCH_ZMQ
  peer.sample = flow<ZmqQueue<Message>>(Place::Processes, cores, pairs);
#endif
  return peer;
}

template <class Message>
Peer tbb_peer([[maybe_unused]] int pairs, double reach) {
  Peer peer{"oneTBB concurrent_bounded_queue", {}, reach};
#ifdef TANDEM_BENCH_TBB
  peer.sample = flow<TbbQueue<Message>>(Place::Threads, Cores::Free, pairs);
#endif
  return peer;
}

template <class Message>
void measure_flow(Table& table, const std::string& name, int pairs, double reach, Cores cores = Cores::Free) {
  std::vector<Peer> peers = {boost_peer<Message>(cores, pairs, reach)};
  if (kCounted<Message>) peers.push_back(zmq_peer<Message>(cores, pairs, reach));
  const auto argument = static_cast<long>(Message::kSize) * kMostPairs + pairs - 1;
  peers.push_back({"Python multiprocessing.Queue", in_its_unit<Message>(python("messages", cores, argument)), 25});
  table.compare({name, kUnit<Message>, Better::Higher}, flow<OurQueue<Message>>(Place::Processes, cores, pairs), peers);
}

void measure_flows(Table& table) {
  measure_flow<Small<8>>(table, "Queue, processes 1 to 1, 8 B", 1, 4);
  measure_flow<Small<8>>(table, "Queue, processes 1 to 1, 8 B, on two cores", 1, 4, Cores::Two);
  measure_flow<Small<64>>(table, "Queue, processes 1 to 1, 64 B", 1, 3);
  measure_flow<Small<64>>(table, "Queue, processes 2 to 2, 64 B", 2, 3);
  table.compare({"Queue, processes 1 to 1, 8 B, by hundreds", "M/s", Better::Higher},
                flow<OurBatches<Small<8>>>(Place::Processes, Cores::Free, 1),
                {boost_peer<Small<8>>(Cores::Free, 1, 8), zmq_peer<Small<8>>(Cores::Free, 1, 8)});
  measure_flow<Large<64 * 1024>>(table, "Queue, processes 1 to 1, 64 KiB", 1, 2);
  measure_flow<Large<64 * 1024>>(table, "Queue, processes 2 to 2, 64 KiB", 2, 2);
  measure_flow<Large<1024 * 1024>>(table, "Queue, processes 1 to 1, 1 MiB", 1, 2);
  measure_flow<Large<1024 * 1024>>(table, "Queue, processes 2 to 2, 1 MiB", 2, 2);
  for (const int pairs : {1, 2})
    table.compare({pairs == 1 ? "Queue, threads 1 to 1, 8 B" : "Queue, threads 2 to 2, 8 B", "M/s", Better::Higher},
                  flow<OurQueue<Small<8>>>(Place::Threads, Cores::Free, pairs), {tbb_peer<Small<8>>(pairs, 1)});
}

using Letter = Small<64>;

struct OurPost {
  void send(const Letter& letter) { queue.put(letter); }
  void receive(Letter& letter) { letter = queue.get(); }
  tandem::Queue<Letter> queue;
};

/// The fastest way between processes that the system has: both sides are written and read whole.
class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_, O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
  }
  ~Pipe() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void send(const Letter& letter) {
    if (::write(ends_[1], &letter, sizeof(letter)) != sizeof(letter)) throw std::runtime_error("cannot write");
  }
  void receive(Letter& letter) {
    if (::read(ends_[0], &letter, sizeof(letter)) != sizeof(letter)) throw std::runtime_error("cannot read");
  }

 private:
  int ends_[2];
};

template <class Post>
std::function<double()> round_trip(Cores cores) {
  return [cores] {
    Post there, back;
    return microseconds_per_turn(Place::Processes, cores, [&, number = std::uint64_t{0}](int side) mutable {
      Letter letter;
      stamp(letter, ++number);
      if (side == 0) there.send(letter);
      (side == 0 ? back : there).receive(letter);
      if (side != 0) back.send(letter);
      if (stamp_of(letter) != number) throw std::runtime_error("another letter came back");
    });
  };
}

/// The median of how long a message takes to one who sleeps for it.
template <class Post>
double to_a_sleeper() {
  constexpr int kLetters = 100;
  const Shared<double> each_us(0.0);
  Post post;
  run_sides(Place::Processes, Cores::Free, 2, [&](int side) {
    Letter letter;
    std::vector<double> times;
    for (int i = 0; i < kLetters; ++i) {
      const auto now = [] {
        return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
      };
      if (side == 0) {
        // Much longer than anybody spins.
        std::this_thread::sleep_for(std::chrono::microseconds(300));
        stamp(letter, now());
        post.send(letter);
      } else {
        post.receive(letter);
        times.push_back(static_cast<double>(now() - stamp_of(letter)) / 1000);
      }
    }
    if (side == 1) *each_us = median(std::move(times));
  });
  return *each_us;
}

void measure_latency(Table& table) {
  const Measure two{"Queue, round trip on two cores, 64 B", "us"}, one{"Queue, round trip on one core, 64 B", "us"};
  table.compare(two, round_trip<OurPost>(Cores::Two),
                {{"pipe", round_trip<Pipe>(Cores::Two), 15},
                 {"Python multiprocessing.Queue", python("round_trip", Cores::Two), 25}});
  table.compare(one, round_trip<OurPost>(Cores::One),
                {{"pipe", round_trip<Pipe>(Cores::One), 0.83},
                 {"Python multiprocessing.Queue", python("round_trip", Cores::One), 25}});
  table.compare({"Queue, one way to a sleeper, 64 B", "us"}, to_a_sleeper<OurPost>,
                {{"pipe", to_a_sleeper<Pipe>, 0.83}});
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  tandem::set_fork_thread_policy(tandem::ForkThreadPolicy::Allow);
  return run(argc, argv, [](Table& table, const Options&) {
    measure_flows(table);
    measure_latency(table);
  });
}
