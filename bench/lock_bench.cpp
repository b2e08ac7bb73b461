// Lock and RLock: taken and given back alone, and fought for by two threads and by two processes.
#include <pthread.h>

#include <mutex>
#include <stdexcept>

#include <tandem/init.hpp>
#include <tandem/lock.hpp>
#include <tandem/rlock.hpp>
#include <tandem/start_method.hpp>

#include "python_peer.hpp"
#include "sides.hpp"

#ifdef TANDEM_BENCH_BOOST
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/interprocess_recursive_mutex.hpp>
#endif

namespace {

using namespace tandem::bench;

/// What the C library offers between processes that outlives a killed owner.
class RobustMutex {
 public:
  RobustMutex() {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex_, &attributes);
    pthread_mutexattr_destroy(&attributes);
  }
  void lock() { pthread_mutex_lock(&mutex_); }
  void unlock() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_;
};

template <class AnyLock>
double alone() {
  const Shared<AnyLock> lock;
  return nanoseconds_each([&] {
    lock->lock();
    clobber_memory();
    lock->unlock();
  });
}

/// Two sides that count under the lock, and do `between` rounds of other work without it.
template <class AnyLock>
double fought_for(Place place, Cores cores, int between) {
  struct Guarded {
    AnyLock lock;
    alignas(64) std::uint64_t counter = 0;  // As most of what a lock guards, not in its cache line.
  };
  const Shared<Guarded> guarded;
  const Throughput done = throughput(place, cores, [&](int) {
    guarded->lock.lock();
    ++guarded->counter;
    guarded->lock.unlock();
    for (int i = 0; i < between; ++i) clobber_memory();
  });
  if (guarded->counter != done.calls) throw std::runtime_error("a lock let two in at once");
  return done.millions_per_second;
}

void measure_alone(Table& table) {
  std::vector<Peer> peers = {{"std::mutex", alone<std::mutex>, 0.5}, {"robust pthread mutex", alone<RobustMutex>}};
  std::vector<Peer> recursive = {{"std::recursive_mutex", alone<std::recursive_mutex>, 0.5}};
#ifdef TANDEM_BENCH_BOOST
  peers.push_back({"Boost.Interprocess", alone<boost::interprocess::interprocess_mutex>});
  recursive.push_back({"Boost.Interprocess", alone<boost::interprocess::interprocess_recursive_mutex>});
#else
  peers.push_back({"Boost.Interprocess", {}});
  recursive.push_back({"Boost.Interprocess", {}});
#endif
  peers.push_back({"Python multiprocessing.Lock", python("lock_alone")});
  recursive.push_back({"Python multiprocessing.RLock", python("rlock_alone")});
  table.compare({"Lock, alone", "ns"}, alone<tandem::Lock>, peers);
  table.compare({"RLock, alone", "ns"}, alone<tandem::RLock>, recursive);
}

void measure_fought_for(Table& table) {
  const struct {
    const char* name;
    Cores cores;
    int between;
  } cases[] = {{"", Cores::Free, 0}, {", on two cores", Cores::Two, 0}, {", 100 ns between", Cores::Free, 300}};
  for (const auto& [name, cores, between] : cases) {
    const auto ours = [=](Place place) { return [=] { return fought_for<tandem::Lock>(place, cores, between); }; };
    const auto theirs = [=]<class AnyLock>(Place place, AnyLock*) {
      return [=] { return fought_for<AnyLock>(place, cores, between); };
    };
    table.compare({std::string("Lock, 2 threads") + name, "M/s", Better::Higher}, ours(Place::Threads),
                  {{"std::mutex", theirs(Place::Threads, static_cast<std::mutex*>(nullptr)), 1}});
    std::vector<Peer> peers = {
        {"robust pthread mutex", theirs(Place::Processes, static_cast<RobustMutex*>(nullptr)), 1}};
#ifdef TANDEM_BENCH_BOOST
    peers.push_back({"Boost.Interprocess",
                     theirs(Place::Processes, static_cast<boost::interprocess::interprocess_mutex*>(nullptr)), 1});
#else
    peers.push_back({"Boost.Interprocess", {}});
#endif
    if (between == 0) peers.push_back({"Python multiprocessing.Lock", python("lock_fought_for", cores), 1});
    table.compare({std::string("Lock, 2 processes") + name, "M/s", Better::Higher}, ours(Place::Processes), peers);
  }
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  tandem::set_fork_thread_policy(tandem::ForkThreadPolicy::Allow);
  return run(argc, argv, [](Table& table, const Options&) {
    measure_alone(table);
    measure_fought_for(table);
  });
}
