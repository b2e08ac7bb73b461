#include <tandem/detail/value_copies.hpp>

#include <cstring>

#include <tandem/error.hpp>

#include "core/kill_point.hpp"
#include "ipc/family.hpp"
#include "sync/aligned.hpp"

namespace tandem::detail {
namespace {

/// The body of a Value, in front of its two copies. A process killed anywhere leaves `which` on a whole copy.
struct ValueState {
  Word which;              // The copy that counts: 0 or 1. Guarded by the Value's lock.
  std::uint64_t bytes;     // Constant. Of one copy.
  std::uint64_t first;     // Constant. From here to the first copy,
  std::uint64_t distance;  // and from that to the second.
  std::uint64_t own_lock;  // Constant.
  std::uint64_t unused;    // Keeps what follows aligned to 16.

  void* copy(std::uint64_t number) noexcept { return reinterpret_cast<std::byte*>(this) + first + number * distance; }
};
static_assert(sizeof(ValueState) == 48, "layout in shared memory");

struct Argument {
  const void* initial;
  std::size_t bytes;
  std::size_t alignment;
  bool own_lock;
};

void initialise(void* body, const void* raw) {
  const auto& wanted = *static_cast<const Argument*>(raw);
  std::memset(body, 0, sizeof(ValueState));
  auto* state = static_cast<ValueState*>(body);
  state->bytes = wanted.bytes;
  state->first = aligned_distance(body, sizeof(ValueState), wanted.alignment);
  state->distance = round_up(wanted.bytes, wanted.alignment);
  state->own_lock = wanted.own_lock ? 1 : 0;
  std::memcpy(state->copy(0), wanted.initial, wanted.bytes);
}

ValueState& state_of(const SharedObjectPtr& object) {
  if (!object) throw StaleHandle("use of a value that was moved from");
  return *static_cast<ValueState*>(object->data());
}

}  // namespace

ValueCopies::ValueCopies(const void* initial, std::size_t bytes, std::size_t alignment, LockIs lock_is) {
  const Argument argument{initial, bytes, alignment, lock_is == LockIs::Own};
  object_ = make_object(ObjectKind::Value, sizeof(ValueState) + 2 * round_up(bytes, alignment) + alignment, initialise,
                        &argument);
}

const void* ValueCopies::current() const {
  ValueState& state = state_of(object_);
  return state.copy(get(state.which));
}

void ValueCopies::write(const void* bytes) const {
  ValueState& state = state_of(object_);
  const std::uint64_t next = 1 - get(state.which);
  std::memcpy(state.copy(next), bytes, state.bytes);
  TANDEM_KILL_POINT("value.written");
  // SYNC(value): release, so that not even a process that is killed leaves the switch without the bytes. The next to
  // read comes through the lock.
  state.which.store(next, std::memory_order_release);
  TANDEM_KILL_POINT("value.switched");
}

ValueCopies::LockIs ValueCopies::lock_is() const {
  return state_of(object_).own_lock != 0 ? LockIs::Own : LockIs::Given;
}

ValueGuard::ValueGuard(const LockCore& lock, const ValueCopies& copies) : lock_(lock), was_held_(lock.owned()) {
  const ValueCopies::LockIs lock_is = copies.lock_is();
  if (was_held_) return;
  const Acquired acquired = lock_.acquire(Deadline::never(), LockCore::Abandoned::Refuse);
  TANDEM_KILL_POINT("value.locked");
  // The value itself is whole whoever died. Those of a lock that guards more are told, as its maker chose.
  if (acquired.owner_died() && lock_is == ValueCopies::LockIs::Own) lock_.repaired();
}

ValueGuard::~ValueGuard() {
  if (was_held_) return;
  try {
    lock_.release();
  } catch (const NotOwner&) {
    // Another thread has released a Lock that was not its own: there is nothing left to do here.
  }
}

}  // namespace tandem::detail
