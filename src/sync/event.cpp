#include <tandem/event.hpp>

#include <climits>
#include <cstring>

#include <tandem/error.hpp>

#include "core/kill_point.hpp"
#include "ipc/family.hpp"
#include "ipc/futex.hpp"
#include "ipc/wait_source.hpp"
#include "sync/event_state.hpp"

namespace tandem {
namespace detail {

// In the model: Announce.
std::uint32_t EventState::announce_sleeper() noexcept {
  std::uint32_t now = load();
  while ((now & (kSet | kSleepers)) == 0 &&
         !word.compare_exchange_weak(now, now | kSleepers, std::memory_order_relaxed, std::memory_order_acquire)) {
  }
  return (now & kSet) != 0 ? now : now | kSleepers;
}

// In the model: Set, Wake.
void EventState::set() noexcept {
  std::uint32_t now = word.load(std::memory_order_relaxed);
  std::uint32_t wanted = 0;
  do {
    wanted = (now & kSet) != 0 ? now : (now & ~kSleepers) + kOnce + kSet;
    // SYNC(event): release here, acquire in load(). Also if it is set already: what was done before this call counts
    // too.
  } while (!word.compare_exchange_weak(now, wanted, std::memory_order_release, std::memory_order_relaxed));
  TANDEM_KILL_POINT("event.set");
  if ((now & kSleepers) != 0) futex_wake(word, INT_MAX);
}

EventState& event_state_of(const SharedObjectPtr& object) {
  if (!object) throw StaleHandle("use of an event that was moved from");
  return *static_cast<EventState*>(object->data());
}

namespace {

class EventWaitSource final : public WaitSource {
 public:
  explicit EventWaitSource(SharedObjectPtr object) : object_(std::move(object)) {}
  bool ready() override { return (event_state_of(object_).load() & EventState::kSet) != 0; }
  std::optional<FutexWait> prepare() override {
    EventState& state = event_state_of(object_);
    const std::uint32_t now = state.announce_sleeper();
    if ((now & EventState::kSet) != 0) return std::nullopt;
    return FutexWait{&state.word, now};
  }

 private:
  const SharedObjectPtr object_;
};

}  // namespace

std::shared_ptr<WaitSource> event_wait_source(const SharedObjectPtr& event) {
  static_cast<void>(event_state_of(event));
  return std::make_shared<EventWaitSource>(event);
}

}  // namespace detail

using detail::event_state_of;
using detail::EventState;

Event::Event()
    : object_(detail::make_object(
          detail::ObjectKind::Event, sizeof(EventState),
          [](void* body, const void*) { std::memset(body, 0, sizeof(EventState)); }, nullptr)) {}

void Event::set() {
  event_state_of(object_).set();
}

void Event::clear() {
  event_state_of(object_).clear();
}

bool Event::is_set() const {
  return (event_state_of(object_).load() & EventState::kSet) != 0;
}

// In the model: Load, Enqueue, Sleep, Again.
bool Event::wait_before(const detail::Deadline& deadline) {
  EventState& state = event_state_of(object_);
  const std::uint32_t first = state.load();
  if ((first & EventState::kSet) != 0) return true;
  if (!deadline.is_now() && detail::spin_briefly([&] { return EventState::passed(first, state.load()); })) return true;
  for (;;) {
    if (deadline.passed()) return false;
    const std::uint32_t now = state.announce_sleeper();
    if (EventState::passed(first, now)) return true;
    TANDEM_KILL_POINT("event.sleep");
    static_cast<void>(detail::futex_wait(state.word, now, deadline));
    detail::sweep_family_if_due();
    TANDEM_KILL_POINT("event.woken");
    if (EventState::passed(first, state.load())) return true;
  }
}

std::string Event::to_string() const {
  return is_set() ? "<Event(set)>" : "<Event(not set)>";
}

}  // namespace tandem
