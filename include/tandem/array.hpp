/// Elements in a row that threads and processes share, with a lock or without.
#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>

#include <tandem/any_lock.hpp>
#include <tandem/detail/shared_elements.hpp>
#include <tandem/shareable.hpp>

namespace tandem {

/// Elements in a row in memory that threads and processes share, without a lock. Handle: copies refer to one array.
///
///   tandem::RawArray<double> samples(1000);     // zeros
///   tandem::Process p(fill, samples);           // void fill(tandem::RawArray<double> samples)
///   ...
///   std::span<double> first = samples.subspan(0, 10);
///
/// A contiguous range as std::span is, whose size never changes: it converts to std::span and works with the standard
/// algorithms. A span of it is valid as long as a handle to the array is, in this process.
/// Threads and processes: elements are plain memory. Different ones may be used at once; who writes one that others use
/// at that time needs a lock, or std::atomic_ref of that element.
/// Killed peers: what a killed process had written stays, and nobody waits for it.
/// Errors: std::out_of_range from at() and subspan(); std::invalid_argument for a size that no memory can have;
/// std::system_error from the constructor if the arena is full.
/// Units: sizes in elements.
/// Cost: that of std::span.
template <Shareable T>
class RawArray {
 public:
  using value_type = T;
  using size_type = std::size_t;
  using iterator = T*;

  /// Makes `size` elements whose bytes are zero, also where the memory was used before.
  explicit RawArray(std::size_t size) : elements_(size, sizeof(T), alignof(T), nullptr) {}
  RawArray(std::initializer_list<T> elements) : RawArray(std::span<const T>(elements.begin(), elements.size())) {}
  /// Makes a copy of the elements of a range; of those of another array if it is given its span().
  template <std::ranges::forward_range Range>
    requires std::convertible_to<std::ranges::range_reference_t<Range>, T> &&
             (!std::derived_from<std::remove_cvref_t<Range>, RawArray>)
  explicit RawArray(Range&& elements) : elements_(elements_of(elements)) {}

  T& operator[](std::size_t index) const { return data()[index]; }
  /// As operator[], but throws std::out_of_range if there is no such element.
  T& at(std::size_t index) const {
    if (index >= size()) throw_out_of_range("element " + std::to_string(index));
    return data()[index];
  }
  /// `count` elements from `first` on. Throws std::out_of_range if there are fewer.
  std::span<T> subspan(std::size_t first, std::size_t count) const {
    if (first > size() || count > size() - first)
      throw_out_of_range(std::to_string(count) + " elements from " + std::to_string(first) + " on");
    return span().subspan(first, count);
  }
  std::span<T> span() const noexcept { return {data(), size()}; }
  T& front() const { return at(0); }
  T& back() const { return at(size() - 1); }

  T* data() const noexcept { return static_cast<T*>(elements_.data()); }
  T* begin() const noexcept { return data(); }
  T* end() const noexcept { return data() + size(); }
  [[nodiscard]] std::size_t size() const noexcept { return elements_.count(); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  /// Whether both refer to one array.
  friend bool operator==(const RawArray& a, const RawArray& b) noexcept {
    return a.elements_.object() == b.elements_.object();
  }

 private:
  friend struct detail::HandleAccess;
  using Parts = std::tuple<detail::SharedElements>;
  Parts parts() const { return {elements_}; }
  explicit RawArray(const Parts& parts) : elements_(std::get<0>(parts)) {}

  template <class Range>
  static detail::SharedElements elements_of(Range& elements) {
    if constexpr (std::ranges::contiguous_range<Range> && std::same_as<std::ranges::range_value_t<Range>, T>) {
      return {std::ranges::size(elements), sizeof(T), alignof(T), std::ranges::data(elements)};
    } else {
      detail::SharedElements made(static_cast<std::size_t>(std::ranges::distance(elements)), sizeof(T), alignof(T),
                                  nullptr);
      T* next = static_cast<T*>(made.data());
      for (auto&& element : elements) std::construct_at(next++, static_cast<T>(element));
      return made;
    }
  }
  [[noreturn]] void throw_out_of_range(const std::string& what) const {
    throw std::out_of_range("no " + what + " in an array of " + std::to_string(size()));
  }

  detail::SharedElements elements_;
};

/// Elements in a row in memory that threads and processes share, with a lock. Handle: copies refer to one array.
///
///   tandem::Array<int> counts(256);              // zeros, and a new RLock
///   ...
///   std::scoped_lock guard(counts);              // in any process
///   for (int& count : counts) count *= 2;
///
/// It has all members of RawArray and of its lock, see Lock. Reaching an element does not take the lock: who changes
/// what others use holds it, for as many steps as belong together.
/// Killed peers: what a killed process had written stays, be it half of what belongs together: so a process that dies
/// with the lock leaves it abandoned, and the next one is told within about 100 ms, as chosen when the lock was made.
/// With its own lock that is OwnerDied: see OnOwnerDeath::Throw, recover() and repaired().
/// Memory ordering: that of the lock.
/// Errors: those of RawArray and of Lock.
template <Shareable T>
class Array : public RawArray<T>, public detail::Synchronized {
 public:
  /// Makes `size` elements whose bytes are zero, also where the memory was used before.
  explicit Array(std::size_t size) : Array(size, RLock()) {}
  Array(std::size_t size, const AnyLock& lock) : RawArray<T>(size), Synchronized(lock) {}
  Array(std::initializer_list<T> elements) : Array(elements, RLock()) {}
  Array(std::initializer_list<T> elements, const AnyLock& lock) : RawArray<T>(elements), Synchronized(lock) {}
  /// Makes a copy of the elements of a range.
  template <std::ranges::forward_range Range>
    requires std::convertible_to<std::ranges::range_reference_t<Range>, T> &&
             (!std::derived_from<std::remove_cvref_t<Range>, RawArray<T>>)
  explicit Array(Range&& elements) : Array(std::forward<Range>(elements), RLock()) {}
  template <std::ranges::forward_range Range>
    requires std::convertible_to<std::ranges::range_reference_t<Range>, T> &&
                 (!std::derived_from<std::remove_cvref_t<Range>, RawArray<T>>)
  Array(Range&& elements, const AnyLock& lock) : RawArray<T>(std::forward<Range>(elements)), Synchronized(lock) {}

 private:
  friend struct detail::HandleAccess;
  using Parts = std::tuple<AnyLock, RawArray<T>>;
  Parts parts() const { return {get_lock(), *this}; }
  explicit Array(const Parts& parts) : RawArray<T>(std::get<1>(parts)), Synchronized(std::get<0>(parts)) {}
};

template <class T>
Array(std::initializer_list<T>) -> Array<T>;
template <std::ranges::forward_range Range>
Array(Range&&) -> Array<std::ranges::range_value_t<Range>>;

}  // namespace tandem
