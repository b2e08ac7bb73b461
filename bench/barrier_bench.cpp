// Barrier: rounds of two threads and of two processes.
#include <pthread.h>

#include <barrier>

#include <tandem/barrier.hpp>
#include <tandem/init.hpp>
#include <tandem/start_method.hpp>

#include "python_peer.hpp"
#include "sides.hpp"

namespace {

using namespace tandem::bench;

struct Ours : tandem::Barrier {
  Ours() : Barrier(2) {}
};
struct Standard : std::barrier<> {
  Standard() : barrier(2) {}
  void wait() { arrive_and_wait(); }
};
/// What the C library offers between processes. Boost.Interprocess has no barrier.
class Posix {
 public:
  Posix() {
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&barrier_, &attributes, 2);
    pthread_barrierattr_destroy(&attributes);
  }
  void wait() { pthread_barrier_wait(&barrier_); }

 private:
  pthread_barrier_t barrier_;
};

template <class AnyBarrier>
std::function<double()> rounds(Place place, Cores cores) {
  return [place, cores] {
    const Shared<AnyBarrier> barrier;
    return microseconds_per_turn(place, cores, [&](int) { barrier->wait(); });
  };
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  tandem::set_fork_thread_policy(tandem::ForkThreadPolicy::Allow);
  return run(argc, argv, [](Table& table, const Options&) {
    const std::pair<const char*, Cores> places[] = {{"on one core", Cores::One}, {"on two cores", Cores::Two}};
    for (const auto& [name, cores] : places) {
      table.compare({std::string("Barrier, 2 threads ") + name, "us"}, rounds<Ours>(Place::Threads, cores),
                    {{"std::barrier", rounds<Standard>(Place::Threads, cores), 1}});
      table.compare({std::string("Barrier, 2 processes ") + name, "us"}, rounds<Ours>(Place::Processes, cores),
                    {{"POSIX pthread_barrier_t", rounds<Posix>(Place::Processes, cores), 1},
                     {"Python multiprocessing.Barrier", python("barrier_rounds", cores), 1}});
    }
  });
}
