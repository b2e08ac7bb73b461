#include <tandem/detail/semaphore_core.hpp>

#include <fmt/format.h>

#include <cstring>
#include <new>

#include "core/kill_point.hpp"
#include "ipc/futex.hpp"
#include "sync/units.hpp"

namespace tandem::detail {
namespace {

UnitsState& state_of(const SharedObjectPtr& object) {
  if (!object) throw StaleHandle("use of a semaphore that was moved from");
  return *static_cast<UnitsState*>(object->data());
}

}  // namespace

SemaphoreCore::SemaphoreCore(Kind kind, std::int64_t value, UnitsOfTheDead of_the_dead) {
  if (value < 0) throw std::invalid_argument(fmt::format("a semaphore cannot begin with {} units", value));
  if (value > UnitsState::kMaxUnits)
    throw std::invalid_argument(
        fmt::format("a semaphore holds at most {} units, not {}", UnitsState::kMaxUnits, value));
  if (of_the_dead != UnitsOfTheDead::ComeBack && of_the_dead != UnitsOfTheDead::StayOut)
    throw std::invalid_argument("no such UnitsOfTheDead");
  struct Argument {
    std::uint32_t value;
    std::uint32_t bound;
    bool comes_back;
  };
  const Argument argument{static_cast<std::uint32_t>(value),
                          kind == Kind::Bounded ? static_cast<std::uint32_t>(value) : UnitsState::kMaxUnits,
                          of_the_dead == UnitsOfTheDead::ComeBack};
  object_ = make_object(
      kind == Kind::Bounded ? ObjectKind::BoundedSemaphore : ObjectKind::Semaphore, sizeof(UnitsState),
      [](void* body, const void* raw) {
        const auto& wanted = *static_cast<const Argument*>(raw);
        std::memset(body, 0, sizeof(UnitsState));
        auto* state = static_cast<UnitsState*>(body);
        state->bound = wanted.bound;
        state->comes_back = wanted.comes_back ? 1 : 0;
        static_cast<void>(state->word.compare_exchange({}, UnitsWord().with(wanted.value, false).bits()));
      },
      &argument);
}

// In the model: Load, PassOn, Flag, Enqueue, Sleep.
bool SemaphoreCore::acquire(const Deadline& deadline) {
  UnitsState& state = state_of(object_);
  const std::uint32_t place = state.place_of_this_process(*object_);
  for (bool slept = false;;) {
    const UnitsWord now = state.load();
    if (now.units() > 0) {
      // Who has slept says again that others may sleep behind it.
      if (!state.change(now, 1, place, now.sleepers() || slept)) continue;
      TANDEM_KILL_POINT("semaphore.acquired");
      // Releases that came while this thread was woken have woken nobody else.
      if (slept && now.units() > 1) state.wake(1);
      return true;
    }
    // Also by those who only try: otherwise who polls would never learn that nobody is left to release a unit.
    if (state.look.due()) {
      state.take_back_from_the_dead();
      if (state.load().units() > 0) continue;
    }
    const bool gives_up = deadline.passed();
    if (gives_up && !slept) return false;
    // Also by one who has slept and gives up: the wake-up that it may have got was meant for any of the sleepers.
    if (!now.sleepers() && !state.change(now, 0, 0, true)) continue;
    if (gives_up) return false;
    TANDEM_KILL_POINT("semaphore.sleep");
    // SYNC(semaphore-sleep): no units and kSleepers. A release changes the units, so that a thread which has not slept
    // yet does not sleep through it.
    static_cast<void>(futex_wait(state.word.low_word(), 1, deadline));
    slept = true;
    sweep_family_if_due();
    TANDEM_KILL_POINT("semaphore.woken");
  }
}

// In the model: Load, Wake.
void SemaphoreCore::release(std::size_t units) {
  UnitsState& state = state_of(object_);
  if (units == 0) throw std::invalid_argument("release() of 0 units of a semaphore");
  const std::uint32_t place = state.place_of_this_process(*object_);
  UnitsWord now;
  do {
    now = state.load();
    if (units > state.bound - now.units())
      throw OverRelease(
          fmt::format("release({}) of a semaphore that has {} of at most {} units", units, now.units(), state.bound));
  } while (!state.change(now, -static_cast<std::int64_t>(units), place, false));
  TANDEM_KILL_POINT("semaphore.released");
  if (now.sleepers()) state.wake(units);
}

std::size_t SemaphoreCore::value() const {
  UnitsState& state = state_of(object_);
  // Also by who only looks: otherwise who polls would never see the units of a dead process come back.
  if (state.look.due()) state.take_back_from_the_dead();
  return state.load().units();
}

std::size_t SemaphoreCore::bound() const {
  return state_of(object_).bound;
}

std::string SemaphoreCore::to_string() const {
  const UnitsState& state = state_of(object_);
  if (state.bound == UnitsState::kMaxUnits) return fmt::format("<Semaphore(value={})>", value());
  return fmt::format("<BoundedSemaphore(value={}/{})>", value(), state.bound);
}

}  // namespace tandem::detail
