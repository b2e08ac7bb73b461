// Condition: a turn handed to and fro between two threads and between two processes that sleep for it.
#include <condition_variable>
#include <mutex>

#include <tandem/condition.hpp>
#include <tandem/init.hpp>
#include <tandem/lock.hpp>
#include <tandem/start_method.hpp>

#include "python_peer.hpp"
#include "sides.hpp"

#ifdef TANDEM_BENCH_BOOST
#include <boost/interprocess/sync/interprocess_condition.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#endif

namespace {

using namespace tandem::bench;

// Each has `pass(mine)`: waits until it is this side's turn, and makes it the other's.

class Ours {
 public:
  void pass(int mine) {
    const std::unique_lock guard(changed_);
    changed_.wait([&] { return turn_ == mine; });
    turn_ = 1 - mine;
    changed_.notify();
  }

 private:
  tandem::Condition changed_{tandem::Lock()};
  int turn_ = 0;
};

class Standard {
 public:
  void pass(int mine) {
    std::unique_lock guard(mutex_);
    changed_.wait(guard, [&] { return turn_ == mine; });
    turn_ = 1 - mine;
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int turn_ = 0;
};

#ifdef TANDEM_BENCH_BOOST
class Boost {
 public:
  void pass(int mine) {
    boost::interprocess::scoped_lock guard(mutex_);
    changed_.wait(guard, [&] { return turn_ == mine; });
    turn_ = 1 - mine;
    changed_.notify_one();
  }

 private:
  boost::interprocess::interprocess_mutex mutex_;
  boost::interprocess::interprocess_condition changed_;
  int turn_ = 0;
};
#endif

template <class AnyTurn>
std::function<double()> to_and_fro(Place place, Cores cores) {
  return [place, cores] {
    const Shared<AnyTurn> turn;
    return microseconds_per_turn(place, cores, [&](int side) { turn->pass(side); });
  };
}

Peer boost_peer([[maybe_unused]] Cores cores) {
  Peer peer{"Boost.Interprocess", {}, 1};
#ifdef TANDEM_BENCH_BOOST
  peer.sample = to_and_fro<Boost>(Place::Processes, cores);
#endif
  return peer;
}

template <class AnyCondition>
double notify_nobody();

template <>
double notify_nobody<tandem::Condition>() {
  tandem::Condition changed{tandem::Lock()};
  return nanoseconds_each([&] {
    const std::unique_lock guard(changed);
    changed.notify();
  });
}

template <>
double notify_nobody<std::condition_variable>() {
  std::mutex mutex;
  std::condition_variable changed;
  return nanoseconds_each([&] {
    const std::unique_lock guard(mutex);
    changed.notify_one();
  });
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  tandem::set_fork_thread_policy(tandem::ForkThreadPolicy::Allow);
  return run(argc, argv, [](Table& table, const Options&) {
    table.compare({"Condition, lock and notify nobody", "ns"}, notify_nobody<tandem::Condition>,
                  {{"std::condition_variable", notify_nobody<std::condition_variable>}});
    const std::pair<const char*, Cores> places[] = {{"on one core", Cores::One}, {"on two cores", Cores::Two}};
    for (const auto& [name, cores] : places) {
      table.compare({std::string("Condition, to and fro, 2 threads ") + name, "us"},
                    to_and_fro<Ours>(Place::Threads, cores),
                    {{"std::condition_variable", to_and_fro<Standard>(Place::Threads, cores), 1}});
      table.compare(
          {std::string("Condition, to and fro, 2 processes ") + name, "us"}, to_and_fro<Ours>(Place::Processes, cores),
          {boost_peer(cores), {"Python multiprocessing.Condition", python("condition_to_and_fro", cores), 1}});
    }
  });
}
