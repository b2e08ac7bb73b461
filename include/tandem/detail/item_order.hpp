/// How a PriorityQueue compares items that are bytes.
#pragma once

#include <concepts>
#include <exception>
#include <functional>
#include <new>
#include <optional>
#include <type_traits>

#include <tandem/detail/locked_queue_core.hpp>

namespace tandem::detail {

/// What a PriorityQueue can use as its Compare: every process makes one of its own, so it must not have a state.
template <class Compare>
concept GiveAComparisonWithoutState = std::is_empty_v<Compare> && std::default_initializable<Compare>;
/// std::less takes anything and fails inside; so it is asked whether there is a `<`.
template <class Compare, class T>
concept GiveItLessThanOrAComparison =
    std::predicate<const Compare&, const T&, const T&> &&
    (!(std::same_as<Compare, std::less<T>> || std::same_as<Compare, std::less<>>) || requires(const T& a, const T& b) {
      { a < b } -> std::convertible_to<bool>;
    });

/// The item as a value; empty if it cannot be decoded, as whoever takes it will be told.
template <class T>
std::optional<T> decode_to_compare(ItemView view) {
  if constexpr (kTriviallyPortable<T>) {
    return view.decode<T>();
  } else {
    try {
      return view.decode<T>();
    } catch (const std::bad_alloc&) {
      throw;  // Says nothing about the item.
    } catch (const UsedWhileComparing&) {
      throw;
    } catch (const std::exception&) {
      return std::nullopt;
    }
  }
}

/// Whether `a` comes before `b`. Items that cannot be decoded come before all others, so that they leave the queue.
template <class T, class Compare>
bool comes_before(const std::optional<T>& a, const std::optional<T>& b) {
  if (!a.has_value() || !b.has_value()) return !a.has_value() && b.has_value();
  return static_cast<bool>(Compare()(*a, *b));
}

/// A CountWins that decodes `item` once, and each rival once.
template <class T, class Compare>
std::size_t count_wins(ItemView item, Rivals rivals) {
  const std::optional<T> mine = decode_to_compare<T>(item);
  for (std::size_t wins = 0;; ++wins) {
    const std::optional<Rival> rival = rivals();
    if (!rival) return wins;
    const std::optional<T> other = decode_to_compare<T>(rival->item);
    // Of equal ones, the one that was put first comes first.
    if (rival->is_older ? !comes_before<T, Compare>(mine, other) : comes_before<T, Compare>(other, mine)) return wins;
  }
}

}  // namespace tandem::detail
