#include <tandem/detail/lock_core.hpp>

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>

#include "ipc/family.hpp"
#include "sync/owner_lock.hpp"

namespace tandem::detail {
namespace {

/// The body of a Lock or an RLock. A process killed anywhere leaves `lock` free or held in its name; `depth` means
/// nothing unless it is held, and the next owner sets it anew.
struct LockState {
  OwnerLock lock;
  Word depth;                    // How often the owner of a recursive lock has it. Only the owner looks and writes.
  std::uint32_t kind;            // Constant: a LockCore::Kind
  std::uint32_t on_owner_death;  // and an OnOwnerDeath.

  bool recursive() const noexcept { return kind == static_cast<std::uint32_t>(LockCore::Kind::Recursive); }
  OwnerLock::OwnedBy owned_by() const noexcept {
    return recursive() ? OwnerLock::OwnedBy::Thread : OwnerLock::OwnedBy::Process;
  }
  void set_depth(std::uint64_t times) noexcept { depth.store(times, std::memory_order_relaxed); }
};
static_assert(sizeof(LockState) == 32, "layout in shared memory");

LockState& state_of(const SharedObjectPtr& object) {
  if (!object) throw StaleHandle("use of a lock that was moved from");
  return *static_cast<LockState*>(object->data());
}

OwnerLock::Abandoned what_to_do(const LockState& state, LockCore::Abandoned abandoned) {
  switch (static_cast<OnOwnerDeath>(state.on_owner_death)) {
    case OnOwnerDeath::Tell:
      return OwnerLock::Abandoned::Take;
    case OnOwnerDeath::Throw:
      return abandoned == LockCore::Abandoned::Take ? OwnerLock::Abandoned::Take : OwnerLock::Abandoned::Refuse;
    case OnOwnerDeath::Break:
      break;
  }
  return OwnerLock::Abandoned::Break;
}

[[noreturn]] void throw_owner_died(const LockState& state) {
  const char* const name = state.recursive() ? "RLock" : "Lock";
  if (state.lock.word() == OwnerLock::kBroken)
    throw OwnerDied(fmt::format("a process died with this {}, which is broken for ever since", name));
  throw OwnerDied(fmt::format(
      "a process died with this {}: what it guards may be half changed; take it with recover() to mend that", name));
}

[[noreturn]] void throw_not_owner(const LockState& state, const char* member) {
  if (state.lock.word() == OwnerLock::kBroken) throw_owner_died(state);
  throw NotOwner(fmt::format("{}() of {} that {}", member, state.recursive() ? "an RLock" : "a Lock",
                             OwnerLock::is_free(state.lock.word()) ? "nobody holds" : "another thread holds"));
}

std::string describe(std::uint64_t word) {
  const Owner owner(word);
  const auto [pid, tid] = owner.numbers();
  if (pid == 0) return "a process that is gone";
  if (tid == 0) return fmt::format("process {}, a thread that has ended", pid);
  if (owner == Owner::self()) return fmt::format("this thread: process {}, thread {}", pid, tid);
  if (pid == ::getpid()) return fmt::format("this process {}, thread {}", pid, tid);
  return fmt::format("process {}, thread {}", pid, tid);
}

// What the word says, after a look whether its owner is dead: also by who only looks, who otherwise would never learn
// it.
std::uint64_t look_at(LockState& state) {
  state.lock.look_if_due(state.owned_by());
  return state.lock.word();
}

}  // namespace

LockCore::LockCore(Kind kind, OnOwnerDeath on_owner_death) {
  struct Argument {
    Kind kind;
    OnOwnerDeath on_owner_death;
  };
  if (on_owner_death < OnOwnerDeath::Throw || on_owner_death > OnOwnerDeath::Break)
    throw std::invalid_argument("no such OnOwnerDeath");
  const Argument argument{kind, on_owner_death};
  object_ = make_object(
      kind == Kind::Plain ? ObjectKind::Lock : ObjectKind::RLock, sizeof(LockState),
      [](void* body, const void* raw) {
        const auto& wanted = *static_cast<const Argument*>(raw);
        std::memset(body, 0, sizeof(LockState));
        auto* state = static_cast<LockState*>(body);
        state->kind = static_cast<std::uint32_t>(wanted.kind);
        state->on_owner_death = static_cast<std::uint32_t>(wanted.on_owner_death);
      },
      &argument);
}

Acquired LockCore::acquire(const Deadline& deadline, Abandoned abandoned) const {
  LockState& state = state_of(object_);
  if (state.recursive() && state.lock.held_here()) {
    state.set_depth(get(state.depth) + 1);
    const bool abandoned_before = (state.lock.word() & OwnerLock::kAbandoned) != 0;
    return Acquired(abandoned_before ? Acquired::How::AfterDeath : Acquired::How::Normally);
  }
  if (state.lock.take_at_once()) [[likely]] {
    state.set_depth(1);
    return Acquired(Acquired::How::Normally);
  }
  switch (state.lock.acquire(deadline, what_to_do(state, abandoned), state.owned_by())) {
    case OwnerLock::Result::Got:
      state.set_depth(1);
      return Acquired(Acquired::How::Normally);
    case OwnerLock::Result::GotAbandoned:
      state.set_depth(1);
      return Acquired(Acquired::How::AfterDeath);
    case OwnerLock::Result::TimedOut:
      return Acquired(Acquired::How::TimedOut);
    case OwnerLock::Result::Refused:
      break;
  }
  throw_owner_died(state);
}

void LockCore::release() const {
  LockState& state = state_of(object_);
  if (state.recursive()) {
    if (!state.lock.held_here()) throw_not_owner(state, "release");
    if (const std::uint64_t times = get(state.depth); times > 1) return state.set_depth(times - 1);
  }
  if (!state.lock.release()) throw_not_owner(state, "release");
}

void LockCore::unlock() const {
  if (state_of(object_).lock.word() != OwnerLock::kBroken) release();
}

void LockCore::repaired() const {
  LockState& state = state_of(object_);
  if (!state.lock.held_here()) throw_not_owner(state, "repaired");
  state.lock.set_repaired();
}

std::size_t LockCore::release_all() {
  LockState& state = state_of(object_);
  if (!state.lock.held_here()) throw_not_owner(state, "wait");
  const std::uint64_t times = get(state.depth);
  static_cast<void>(state.lock.release());
  return times;
}

Acquired LockCore::acquire_again(std::size_t times) {
  const Acquired acquired = acquire(Deadline::never(), Abandoned::Take);
  state_of(object_).set_depth(times);
  return acquired;
}

void LockCore::throw_if_chosen() const {
  const LockState& state = state_of(object_);
  if (static_cast<OnOwnerDeath>(state.on_owner_death) == OnOwnerDeath::Throw) throw_owner_died(state);
}

bool LockCore::locked() const {
  const std::uint64_t word = look_at(state_of(object_));
  return !OwnerLock::is_free(word) && word != OwnerLock::kBroken;
}

bool LockCore::owner_died() const {
  const std::uint64_t word = look_at(state_of(object_));
  return word == OwnerLock::kBroken || (word & OwnerLock::kAbandoned) != 0;
}

bool LockCore::owned() const {
  return state_of(object_).lock.held_here();
}

std::size_t LockCore::recursion_count() const {
  const LockState& state = state_of(object_);
  return state.lock.held_here() ? get(state.depth) : 0;
}

LockCore::Kind LockCore::kind() const {
  return static_cast<Kind>(state_of(object_).kind);
}

std::string LockCore::to_string() const {
  LockState& state = state_of(object_);
  const char* const name = state.recursive() ? "RLock" : "Lock";
  const std::uint64_t word = look_at(state);
  if (word == OwnerLock::kBroken) return fmt::format("<{}(broken: its owner died)>", name);
  const char* const note = (word & OwnerLock::kAbandoned) != 0 ? ", abandoned by a process that died" : "";
  if (OwnerLock::is_free(word)) return fmt::format("<{}(free{})>", name, note);
  const std::string times = state.recursive() ? fmt::format(" {} times", get(state.depth)) : std::string();
  const char* const sleepers = (word & OwnerLock::kSleepers) != 0 ? ", somebody sleeps for it" : "";
  return fmt::format("<{}(held{} by {}{}{})>", name, times, describe(word), note, sleepers);
}

}  // namespace tandem::detail
