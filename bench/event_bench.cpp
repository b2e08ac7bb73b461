// Event: set, cleared and looked at alone, and handed to and fro between two sides that sleep for it.
#include <atomic>

#include <tandem/event.hpp>
#include <tandem/init.hpp>
#include <tandem/start_method.hpp>

#include "python_peer.hpp"
#include "sides.hpp"

namespace {

using namespace tandem::bench;

/// What a program without Tandem would use between threads.
class StandardEvent {
 public:
  void set() {
    is_set_.store(true);
    is_set_.notify_all();
  }
  void clear() { is_set_.store(false); }
  void wait() { is_set_.wait(false); }
  bool is_set() const { return is_set_.load(); }

 private:
  std::atomic<bool> is_set_{false};
};

template <class AnyEvent>
double set_and_clear() {
  AnyEvent event;
  return nanoseconds_each([&] {
    event.set();
    event.clear();
  });
}

template <class AnyEvent>
double look() {
  AnyEvent event;
  return nanoseconds_each([&] {
    if (event.is_set()) event.clear();
  });
}

/// One event for each direction.
template <class AnyEvent>
std::function<double()> to_and_fro(Place place, Cores cores) {
  return [place, cores] {
    struct Events {
      AnyEvent there, back;
    };
    const Shared<Events> events;
    return microseconds_per_turn(place, cores, [&](int side) {
      AnyEvent& mine = side == 0 ? events->there : events->back;
      AnyEvent& theirs = side == 0 ? events->back : events->there;
      if (side == 0) mine.set();
      theirs.wait();
      theirs.clear();
      if (side != 0) mine.set();
    });
  };
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  tandem::set_fork_thread_policy(tandem::ForkThreadPolicy::Allow);
  return run(argc, argv, [](Table& table, const Options&) {
    table.compare({"Event, set and clear", "ns"}, set_and_clear<tandem::Event>,
                  {{"std::atomic", set_and_clear<StandardEvent>, 1},
                   {"Python multiprocessing.Event", python("event_set_and_clear"), 1}});
    table.compare({"Event, is_set", "ns"}, look<tandem::Event>,
                  {{"std::atomic", look<StandardEvent>}, {"Python multiprocessing.Event", python("event_look"), 1}});
    const std::pair<const char*, Cores> places[] = {{"on one core", Cores::One}, {"on two cores", Cores::Two}};
    for (const auto& [name, cores] : places) {
      table.compare({std::string("Event, to and fro, 2 threads ") + name, "us"},
                    to_and_fro<tandem::Event>(Place::Threads, cores),
                    {{"std::atomic", to_and_fro<StandardEvent>(Place::Threads, cores), 1}});
      table.compare({std::string("Event, to and fro, 2 processes ") + name, "us"},
                    to_and_fro<tandem::Event>(Place::Processes, cores),
                    {{"Python multiprocessing.Event", python("event_to_and_fro", cores), 1}});
    }
  });
}
