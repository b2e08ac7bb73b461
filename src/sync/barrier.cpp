#include <tandem/barrier.hpp>

#include <fmt/format.h>

#include <cstring>
#include <exception>
#include <span>
#include <stdexcept>

#include "core/kill_point.hpp"
#include "ipc/futex.hpp"
#include "sync/wait_list.hpp"

namespace tandem {
namespace detail {
namespace {

enum Phase : std::uint64_t { kFilling = 0, kActing = 1, kBroken = 2 };
enum Outcome : std::uint64_t { kPassed = 1, kBrokenRound = 2 };

/// The body of a barrier; behind it, the action as a Cargo. All words are guarded by the list's lock. In the list are
/// those who wait for the last of their round; how many have come is how many of them have been told nothing, so that a
/// kill between two of those who are told leaves nothing that does not agree.
///
///   Filling --the last comes--> Acting --its action returns, all are told--> Filling
///   any --one waits too long, dies, throws, calls abort()--> Broken --reset()--> Filling
struct BarrierState {
  WaitListState list;
  std::uint64_t parties;    // Constant.
  std::int64_t timeout_ns;  // Constant. Negative: for ever.
  Word phase;
  Word round;      // Grows with each end of a round, however it ended.
  Word actor;      // While Acting: who does it, as an Owner.
  WaitPoint gate;  // Who comes while Acting waits here.

  Cargo& action() noexcept { return *reinterpret_cast<Cargo*>(this + 1); }
};
static_assert(sizeof(BarrierState) % 16 == 0, "what follows is aligned to 16");

BarrierState& state_of(const SharedObjectPtr& object) {
  if (!object) throw StaleHandle("use of a barrier that was moved from");
  return *static_cast<BarrierState*>(object->data());
}

[[noreturn]] void throw_broken() {
  throw BrokenBarrier("the barrier is broken: one of its threads gave up, died, or called abort() or reset()");
}

/// A barrier's lock, and the steps of a round.
class LockedBarrier {
 public:
  explicit LockedBarrier(BarrierState& state) : state_(state), list_(state.list) {}

  BarrierState* operator->() const { return &state_; }
  void lock() { list_.lock(); }
  void unlock() { list_.unlock(); }
  bool in(Phase phase) const { return get(state_.phase) == phase; }
  std::size_t arrived() const { return get(state_.list.waiting) + (in(kActing) ? 1 : 0); }

  /// Waits until no action runs. False if the deadline passed first.
  bool pass_gate(const Deadline& deadline) {
    while (in(kActing)) {
      if (deadline.passed()) return false;
      const WaitPoint::Ticket ticket = state_.gate.prepare();
      unlock();
      TANDEM_KILL_POINT("barrier.gate");
      static_cast<void>(state_.gate.sleep(ticket, deadline));
      lock();
      look_if_due();
    }
    return true;
  }

  /// Enters the calling thread and waits for the last. What it was told; empty if the deadline passed first, and then
  /// the barrier is broken.
  std::optional<std::uint64_t> wait(Deadline deadline) {
    list_.ensure_spare();
    const std::uint64_t node = list_.enter();
    commit();
    TANDEM_KILL_POINT("barrier.entered");
    const auto look = [this] { look_for_the_dead(); };
    bool told = list_.wait(node, deadline, look);
    // All have come: this round cannot be given up any more, only the death of who completes it can break it.
    if (!told && in(kActing)) told = list_.wait(node, Deadline::never(), look);
    if (!told) break_round();
    const std::uint64_t outcome = list_.outcome(node);
    list_.remove(node);
    commit();
    TANDEM_KILL_POINT("barrier.left");
    return told ? std::optional(outcome) : std::nullopt;
  }

  /// Begins to complete the round, in the calling thread's name; its number.
  std::uint64_t begin_acting() {
    set(state_.actor, Owner::self().word());
    set(state_.phase, kActing);
    commit();
    TANDEM_KILL_POINT("barrier.acting");
    return get(state_.round);
  }
  bool acts(std::uint64_t round) const { return in(kActing) && get(state_.round) == round; }
  void complete() {
    tell_all(kPassed);
    enter_phase(kFilling);
  }
  void break_round() {
    enter_phase(kBroken);
    tell_all(kBrokenRound);
  }
  void reset() {
    // Broken first: then whoever is killed on the way leaves a round that the others know to be over.
    break_round();
    enter_phase(kFilling);
  }

  void look_if_due() {
    if (state_.list.look.due()) look_for_the_dead();
  }

 private:
  void set(Word& word, std::uint64_t value) { list_.change().set(word, value); }
  void commit() { list_.change().commit(); }

  void enter_phase(Phase phase) {
    set(state_.phase, phase);
    set(state_.round, get(state_.round) + 1);
    commit();
    TANDEM_KILL_POINT("barrier.phase");
    if (state_.gate.announce()) state_.gate.wake_all();
  }

  void tell_all(Outcome outcome) {
    for_each_node([&](std::uint64_t node) {
      if (list_.outcome(node) != 0) return;
      list_.tell(node, outcome);
      commit();
      TANDEM_KILL_POINT("barrier.told");
    });
  }

  static bool is_dead(const Word& owner) { return Owner(get(owner)).life() != Owner::Life::Alive; }

  void look_for_the_dead() noexcept {
    bool broken = in(kBroken) || (in(kActing) && is_dead(state_.actor));
    bool some_are_dead = false;
    for_each_node([&](std::uint64_t node) {
      if (!is_dead(LockedWaitList::at(node).owner)) return;
      some_are_dead = true;
      broken = broken || list_.outcome(node) == 0;
    });
    // Also if it is broken already: who broke it may have died before all were told. And before the dead are removed:
    // who dies here must not take with it that one of the round was dead.
    if (broken && !in(kBroken)) break_round();
    if (broken) tell_all(kBrokenRound);
    if (!some_are_dead) return;
    for_each_node([&](std::uint64_t node) {
      // One that has died since the look above, and has been told nothing, is left for the next look.
      if (list_.outcome(node) == 0 || !is_dead(LockedWaitList::at(node).owner)) return;
      list_.remove(node);
      commit();
      TANDEM_KILL_POINT("barrier.dead_removed");
    });
  }

  /// Calls `action(node)` for each in the list, which it may take off.
  template <class Action>
  void for_each_node(Action action) {
    for (std::uint64_t node = get(state_.list.first); node != 0;) {
      const std::uint64_t next = get(LockedWaitList::at(node).next);
      action(node);
      node = next;
    }
  }

  BarrierState& state_;
  LockedWaitList list_;
};

/// Completes a round: runs the action, then lets the others go.
void complete_round(LockedBarrier& barrier) {
  const std::uint64_t round = barrier.begin_acting();
  const Cargo& action = barrier->action();
  if (action.size_bytes != 0) {
    barrier.unlock();
    std::exception_ptr error;
    try {
      Decoder decoder(action.bytes(), action.size_bytes);
      static_cast<void>(run_call(decoder));
    } catch (...) {
      error = std::current_exception();
    }
    barrier.lock();
    if (error && barrier.acts(round)) barrier.break_round();
    if (error) std::rethrow_exception(error);
    if (!barrier.acts(round)) throw_broken();
  }
  barrier.complete();
}

void destroy_barrier(void* body) {
  auto& state = *static_cast<BarrierState*>(body);
  state.list.destroy();
  ArenaChange change(Arena::instance());
  state.action().drop_references(change);
}

// Before main(), so that every process of the family can take barriers apart.
[[maybe_unused]] const bool destroyer_is_set = (set_destroyer(ObjectKind::Barrier, destroy_barrier), true);

SharedObjectPtr make_barrier(const BarrierOptions& options, const Encoder* action) {
  if (options.parties < 1)
    throw std::invalid_argument(fmt::format("a barrier needs at least one party, not {}", options.parties));
  if (options.timeout && *options.timeout < std::chrono::nanoseconds::zero())
    throw std::invalid_argument("a barrier's timeout must not be negative");
  struct Argument {
    const BarrierOptions& options;
    std::span<const std::byte> action;
    std::size_t references;
  };
  const Argument argument{options, action != nullptr ? action->bytes() : std::span<const std::byte>(),
                          action != nullptr ? action->objects().size() : 0};
  SharedObjectPtr barrier = make_object(
      ObjectKind::Barrier, sizeof(BarrierState) + Cargo::total_bytes(argument.action.size(), argument.references),
      [](void* body, const void* raw) {
        const auto& wanted = *static_cast<const Argument*>(raw);
        std::memset(body, 0, sizeof(BarrierState));
        auto& state = *static_cast<BarrierState*>(body);
        state.list.initialise();
        state.parties = static_cast<std::uint64_t>(wanted.options.parties);
        state.timeout_ns = wanted.options.timeout ? wanted.options.timeout->count() : -1;
        state.action().initialise(wanted.action.size(), wanted.references);
        if (!wanted.action.empty()) std::memcpy(state.action().bytes(), wanted.action.data(), wanted.action.size());
      },
      &argument);
  if (action != nullptr) static_cast<BarrierState*>(barrier->data())->action().add_references(action->objects());
  return barrier;
}

}  // namespace
}  // namespace detail

using detail::LockedBarrier;
using detail::state_of;

Barrier::Barrier(const BarrierOptions& options, const detail::Encoder* action)
    : object_(detail::make_barrier(options, action)) {}

std::size_t Barrier::wait() {
  const std::int64_t timeout_ns = state_of(object_).timeout_ns;
  const auto index = wait_before(timeout_ns < 0 ? detail::Deadline::never()
                                                : detail::Deadline::after(std::chrono::nanoseconds(timeout_ns)));
  if (!index) detail::throw_broken();
  return *index;
}

std::optional<std::size_t> Barrier::wait_before(const detail::Deadline& deadline) {
  LockedBarrier barrier(state_of(object_));
  barrier.look_if_due();
  if (!barrier.pass_gate(deadline)) return std::nullopt;
  if (barrier.in(detail::kBroken)) detail::throw_broken();
  const std::size_t index = barrier.arrived();
  if (index + 1 == barrier->parties) {
    detail::complete_round(barrier);
    return index;
  }
  const auto outcome = barrier.wait(deadline);
  if (outcome == detail::kBrokenRound) detail::throw_broken();
  return outcome ? std::optional(index) : std::nullopt;
}

void Barrier::reset() {
  LockedBarrier(state_of(object_)).reset();
}

void Barrier::abort() {
  LockedBarrier barrier(state_of(object_));
  if (!barrier.in(detail::kBroken)) barrier.break_round();
}

std::size_t Barrier::parties() const {
  return state_of(object_).parties;
}

std::size_t Barrier::waiting() const {
  LockedBarrier barrier(state_of(object_));
  barrier.look_if_due();
  return barrier.arrived();
}

bool Barrier::broken() const {
  LockedBarrier barrier(state_of(object_));
  barrier.look_if_due();
  return barrier.in(detail::kBroken);
}

std::string Barrier::to_string() const {
  LockedBarrier barrier(state_of(object_));
  barrier.look_if_due();
  if (barrier.in(detail::kBroken)) return "<Barrier(broken)>";
  return fmt::format("<Barrier({} of {} have come)>", barrier.arrived(), barrier->parties);
}

}  // namespace tandem
