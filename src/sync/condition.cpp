#include <tandem/condition.hpp>

#include <fmt/format.h>

#include <cstring>

#include "core/kill_point.hpp"
#include "sync/wait_list.hpp"

namespace tandem {
namespace detail {
namespace {

WaitListState& state_of(const SharedObjectPtr& object) {
  if (!object) throw StaleHandle("use of a condition that was moved from");
  return *static_cast<WaitListState*>(object->data());
}

/// `node`, or the first behind it that has been told nothing.
std::uint64_t waiting_from(const LockedWaitList& list, std::uint64_t node) {
  while (node != 0 && list.outcome(node) != 0) node = get(LockedWaitList::at(node).next);
  return node;
}

/// Takes dead threads off the list; what they had been told goes to the next. In the model: PassOn.
void pass_on_from_the_dead(LockedWaitList& list) {
  for (std::uint64_t node = get(list->first); node != 0;) {
    const std::uint64_t looked_at = node;
    node = get(LockedWaitList::at(node).next);
    if (Owner(get(LockedWaitList::at(looked_at).owner)).life() == Owner::Life::Alive) continue;
    const std::uint64_t notified = list.outcome(looked_at);
    list.remove(looked_at);
    // In one change: a notification is never nobody's. It is for those who waited when it was given.
    const std::uint64_t next = waiting_from(list, get(list->first));
    if (next != 0 && get(LockedWaitList::at(next).entered) <= notified) list.tell(next, notified);
    list.change().commit();
    TANDEM_KILL_POINT("condition.passed_on");
  }
}

/// A thread's place in the list for the length of a wait.
class Waiting {
 public:
  explicit Waiting(WaitListState& state) : state_(state) {
    LockedWaitList list(state);
    list.ensure_spare();
    node_ = list.enter();
    list.change().commit();
    TANDEM_KILL_POINT("condition.entered");
  }
  ~Waiting() { static_cast<void>(leave()); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  void sleep(const Deadline& deadline) {
    LockedWaitList list(state_);
    static_cast<void>(list.wait(node_, deadline, [&] { pass_on_from_the_dead(list); }));
  }
  /// Whether it was notified. Not before the lock is held again: until then the notification can still be passed on.
  // In the model: Leave.
  bool leave() {
    if (node_ == 0) return false;
    LockedWaitList list(state_);
    const bool notified = list.outcome(node_) != 0;
    list.remove(std::exchange(node_, 0));
    list.change().commit();
    TANDEM_KILL_POINT("condition.left");
    return notified;
  }

 private:
  WaitListState& state_;
  std::uint64_t node_ = 0;
};

// Before main(), so that every process of the family can take conditions apart.
[[maybe_unused]] const bool destroyer_is_set =
    (set_destroyer(ObjectKind::Condition, [](void* body) { static_cast<WaitListState*>(body)->destroy(); }), true);

}  // namespace

Waiters::Waiters()
    : object_(make_object(
          ObjectKind::Condition, sizeof(WaitListState),
          [](void* body, const void*) {
            std::memset(body, 0, sizeof(WaitListState));
            static_cast<WaitListState*>(body)->initialise();
          },
          nullptr)) {}

bool Waiters::wait(LockCore& lock, const Deadline& deadline) {
  WaitListState& state = state_of(object_);
  if (!lock.owned()) throw NotOwner("wait() for a condition whose lock the calling thread does not hold");
  Waiting waiting(state);
  const std::size_t times = lock.release_all();
  TANDEM_KILL_POINT("condition.released");
  waiting.sleep(deadline);
  TANDEM_KILL_POINT("condition.acquire");
  const Acquired acquired = lock.acquire_again(times);
  const bool notified = waiting.leave();
  if (acquired.owner_died()) lock.throw_if_chosen();
  return notified;
}

std::size_t Waiters::notify(const LockCore& lock, std::size_t count) {
  WaitListState& state = state_of(object_);
  if (!lock.owned()) throw NotOwner("notify() of a condition whose lock the calling thread does not hold");
  LockedWaitList list(state);
  if (list->look.due()) pass_on_from_the_dead(list);
  std::size_t told = 0;
  for (std::uint64_t node = get(list->first); told < count; ++told) {
    node = waiting_from(list, node);
    if (node == 0) break;
    // What it is told is how many had come by now; not 0, for it is one of them.
    list.tell(node, get(list->entered));
    list.change().commit();
    TANDEM_KILL_POINT("condition.notified");
  }
  return told;
}

std::size_t Waiters::count() const {
  LockedWaitList list(state_of(object_));
  if (list->look.due()) pass_on_from_the_dead(list);
  return get(list->waiting);
}

}  // namespace detail

std::string Condition::to_string() const {
  return fmt::format("<Condition({}, {} waiting)>", core().to_string(), waiting());
}

Condition::Parts Condition::parts() const {
  if (core().kind() == detail::LockCore::Kind::Plain) return {Lock(core().object()), waiters_};
  return {RLock(core().object()), waiters_};
}

Condition::Condition(Parts parts)
    : LockMembers(std::visit([](const auto& lock) { return lock.core(); }, std::get<0>(parts))),
      waiters_(std::get<1>(std::move(parts))) {}

}  // namespace tandem
