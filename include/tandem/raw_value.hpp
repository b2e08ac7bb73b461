/// One value that threads and processes share without a lock.
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <memory>
#include <tuple>

#include <tandem/detail/shared_elements.hpp>
#include <tandem/detail/value_steps.hpp>
#include <tandem/shareable.hpp>

namespace tandem {

/// One value shared by threads and by processes, without a lock. Handle: copies refer to one value.
///
///   tandem::RawValue<std::int64_t> bytes_done;
///   bytes_done += 4096;                          // one instruction, also while others do the same
///
/// A value of 1, 2, 4 or 8 bytes is an atomic: every member is one step. A larger one is plain memory, which has get()
/// and set() alone: its users see to it that nobody writes while another reads or writes.
/// Threads and processes: every member may be called at once from any thread of any process of the family, and in a
/// signal handler; a larger value as just said.
/// Killed peers: concern nobody: an atomic step happens or does not. A larger value may be left half written.
/// Memory ordering: sequentially consistent.
/// Errors: std::system_error from the constructor if the arena is full.
/// Cost: that of std::atomic. Never waits: += and so on are one instruction for integers and a loop of
/// compare-and-swap for numbers with a fraction, as update() is.
template <Shareable T>
class RawValue {
 public:
  using value_type = T;

  RawValue()
    requires std::default_initializable<T>
      : RawValue(T()) {}
  explicit RawValue(const T& initial) : memory_(1, sizeof(T), kAlignment, std::addressof(initial)) {}

  /// Copies the value out: what happens to it later does not change the copy.
  [[nodiscard]] T get() const {
    if constexpr (kIsAtomic) {
      return atomic().load();
    } else {
      return *memory();
    }
  }
  operator T() const { return get(); }
  void set(const T& value) {
    if constexpr (kIsAtomic) {
      atomic().store(value);
    } else {
      std::construct_at(memory(), value);
    }
  }
  T operator=(const T& value) {
    set(value);
    return value;
  }
  /// Sets it and returns what it was.
  T exchange(const T& value)
    requires detail::UseAValueWithALockSinceItIsLargerThanAWord<T>
  {
    return atomic().exchange(value);
  }

  /// Sets what `change` returns for the value or, if that is nothing, has made of its argument, and returns that. Calls
  /// it again with the newer value if another was faster. If `change` throws, the value stays as it was.
  template <std::invocable<T&> Change>
    requires detail::UseAValueWithALockSinceItIsLargerThanAWord<T>
  T update(Change change) {
    T before = atomic().load();
    for (;;) {
      const T next = detail::changed<T>(before, change);
      if (atomic().compare_exchange_weak(before, next)) return next;
    }
  }

  // Each returns the new value, but for the second form of ++ and --, which return the old one.
  T operator+=(T by)
    requires detail::UseUpdateSinceItIsNoNumber<T> && detail::UseAValueWithALockSinceItIsLargerThanAWord<T>
  {
    return detail::sum_of(atomic().fetch_add(by), by);
  }
  T operator-=(T by)
    requires detail::UseUpdateSinceItIsNoNumber<T> && detail::UseAValueWithALockSinceItIsLargerThanAWord<T>
  {
    return detail::difference_of(atomic().fetch_sub(by), by);
  }
  T operator++()
    requires detail::UseUpdateSinceItIsNoNumber<T> && detail::UseAValueWithALockSinceItIsLargerThanAWord<T>
  {
    return *this += T(1);
  }
  T operator++(int)
    requires detail::UseUpdateSinceItIsNoNumber<T> && detail::UseAValueWithALockSinceItIsLargerThanAWord<T>
  {
    return atomic().fetch_add(T(1));
  }
  T operator--()
    requires detail::UseUpdateSinceItIsNoNumber<T> && detail::UseAValueWithALockSinceItIsLargerThanAWord<T>
  {
    return *this -= T(1);
  }
  T operator--(int)
    requires detail::UseUpdateSinceItIsNoNumber<T> && detail::UseAValueWithALockSinceItIsLargerThanAWord<T>
  {
    return atomic().fetch_sub(T(1));
  }
  T operator&=(T mask)
    requires detail::UseUpdateSinceItIsNoInteger<T> && detail::UseAValueWithALockSinceItIsLargerThanAWord<T>
  {
    return static_cast<T>(atomic().fetch_and(mask) & mask);
  }
  T operator|=(T mask)
    requires detail::UseUpdateSinceItIsNoInteger<T> && detail::UseAValueWithALockSinceItIsLargerThanAWord<T>
  {
    return static_cast<T>(atomic().fetch_or(mask) | mask);
  }
  T operator^=(T mask)
    requires detail::UseUpdateSinceItIsNoInteger<T> && detail::UseAValueWithALockSinceItIsLargerThanAWord<T>
  {
    return static_cast<T>(atomic().fetch_xor(mask) ^ mask);
  }

 private:
  friend struct detail::HandleAccess;
  using Parts = std::tuple<detail::SharedElements>;
  Parts parts() const { return {memory_}; }
  explicit RawValue(const Parts& parts) : memory_(std::get<0>(parts)) {}

  static constexpr bool kIsAtomic = detail::UseAValueWithALockSinceItIsLargerThanAWord<T>;
  // A struct of two halves of a word is aligned to less than the word that it is written as.
  static constexpr std::size_t kAlignment = kIsAtomic && alignof(T) < sizeof(T) ? sizeof(T) : alignof(T);
  T* memory() const { return static_cast<T*>(memory_.data()); }
  std::atomic_ref<T> atomic() const {
    static_assert(std::atomic_ref<T>::is_always_lock_free, "a lock of the library would not reach other processes");
    return std::atomic_ref<T>(*memory());
  }

  detail::SharedElements memory_;
};

}  // namespace tandem
