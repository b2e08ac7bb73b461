// Semaphore: a unit taken and given back alone, and one unit fought for by two threads and by two processes.
#include <semaphore.h>

#include <semaphore>
#include <stdexcept>

#include <tandem/init.hpp>
#include <tandem/semaphore.hpp>
#include <tandem/start_method.hpp>

#include "python_peer.hpp"
#include "sides.hpp"

#ifdef TANDEM_BENCH_BOOST
#include <boost/interprocess/sync/interprocess_semaphore.hpp>
#endif

namespace {

using namespace tandem::bench;

struct ComeBack : tandem::Semaphore {
  ComeBack() : Semaphore(1, tandem::UnitsOfTheDead::ComeBack) {}
};
struct StayOut : tandem::Semaphore {
  StayOut() : Semaphore(1, tandem::UnitsOfTheDead::StayOut) {}
};
struct Standard : std::counting_semaphore<> {
  Standard() : counting_semaphore(1) {}
};
/// What the C library offers between processes.
class Posix {
 public:
  Posix() { sem_init(&semaphore_, 1, 1); }
  void acquire() {
    while (sem_wait(&semaphore_) != 0) {
    }
  }
  void release() { sem_post(&semaphore_); }

 private:
  sem_t semaphore_;
};
#ifdef TANDEM_BENCH_BOOST
struct Boost : boost::interprocess::interprocess_semaphore {
  Boost() : interprocess_semaphore(1) {}
  void acquire() { wait(); }
  void release() { post(); }
};
#endif

template <class AnySemaphore>
double alone() {
  const Shared<AnySemaphore> semaphore;
  return nanoseconds_each([&] {
    semaphore->acquire();
    clobber_memory();
    semaphore->release();
  });
}

template <class AnySemaphore>
double fought_for(Place place) {
  struct Guarded {
    AnySemaphore semaphore;
    alignas(64) std::uint64_t counter = 0;  // As most of what is guarded, not in the same cache line.
  };
  const Shared<Guarded> guarded;
  const Throughput done = throughput(place, Cores::Free, [&](int) {
    guarded->semaphore.acquire();
    ++guarded->counter;
    guarded->semaphore.release();
  });
  if (guarded->counter != done.calls) throw std::runtime_error("a semaphore with one unit let two in at once");
  return done.millions_per_second;
}

template <class AnySemaphore>
std::function<double()> fought_for_by(Place place) {
  return [place] { return fought_for<AnySemaphore>(place); };
}

template <class Ours>
void measure(Table& table, const std::string& name) {
  std::vector<Peer> peers = {{"std::counting_semaphore", alone<Standard>, 0.5}, {"POSIX sem_t", alone<Posix>}};
  std::vector<Peer> between_processes = {{"POSIX sem_t", fought_for_by<Posix>(Place::Processes), 1}};
#ifdef TANDEM_BENCH_BOOST
  peers.push_back({"Boost.Interprocess", alone<Boost>});
  between_processes.push_back({"Boost.Interprocess", fought_for_by<Boost>(Place::Processes), 1});
#else
  peers.push_back({"Boost.Interprocess", {}});
  between_processes.push_back({"Boost.Interprocess", {}});
#endif
  peers.push_back({"Python multiprocessing.Semaphore", python("semaphore_alone")});
  between_processes.push_back({"Python multiprocessing.Semaphore", python("semaphore_fought_for"), 1});
  table.compare({name + ", alone", "ns"}, alone<Ours>, peers);
  table.compare({name + ", 2 threads", "M/s", Better::Higher}, fought_for_by<Ours>(Place::Threads),
                {{"std::counting_semaphore", fought_for_by<Standard>(Place::Threads), 1}});
  table.compare({name + ", 2 processes", "M/s", Better::Higher}, fought_for_by<Ours>(Place::Processes),
                between_processes);
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  tandem::set_fork_thread_policy(tandem::ForkThreadPolicy::Allow);
  return run(argc, argv, [](Table& table, const Options&) {
    measure<ComeBack>(table, "Semaphore (ComeBack)");
    measure<StayOut>(table, "Semaphore (StayOut)");
  });
}
