/// The rules for types of the standard library: a closed list, since many of its small classes hold addresses.
#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <string_view>
#include <type_traits>
#include <utility>

#include <tandem/detail/rule.hpp>

namespace tandem::detail {

template <class T>
concept StandardContainer = requires(T& c, const T& k, typename T::value_type&& v) {
  k.begin();
  c.insert(c.end(), std::move(v));
  { k.size() } -> std::convertible_to<std::size_t>;
};

/// Its elements can be copied in one go; std::valarray has no data().
template <class T>
concept BlockContainer = requires(T& block) {
  block.resize(0);
  block[0];
  requires std::is_same_v<decltype(&block[0]), typename T::value_type*>;
  requires kCopiedAsBytes<typename T::value_type>;
};

consteval bool starts_with_one_of(std::string_view text, std::initializer_list<std::string_view> prefixes) {
  for (std::string_view prefix : prefixes)
    if (text.starts_with(prefix)) return true;
  return false;
}

/// The refusals that name a mend; NoRule for all other types.
consteval Rule standard_refusal(std::string_view text) {
  if (text.starts_with("basic_string_view<")) return Rule::StringView;
  if (starts_with_one_of(text, {"span<", "initializer_list<", "ranges::"})) return Rule::View;
  if (text.starts_with("reference_wrapper<")) return Rule::ReferenceWrapper;
  if (starts_with_one_of(text, {"unique_ptr<", "shared_ptr<", "weak_ptr<"})) return Rule::SmartPointer;
  if (starts_with_one_of(text, {"function<", "move_only_function<", "_Bind", "_Mem_fn", "__bind", "any"}))
    return Rule::StdFunction;
  if (starts_with_one_of(
          text, {"mutex", "recursive_", "timed_mutex", "shared_mutex", "shared_timed_mutex", "unique_lock<",
                 "shared_lock<", "condition_variable", "atomic", "counting_semaphore<", "latch", "barrier<", "thread",
                 "jthread", "stop_", "promise<", "future<", "shared_future<", "packaged_task<"}))
    return Rule::Synchronization;
  return Rule::NoRule;
}

/// Classes without any address inside, although their members are private.
consteval bool is_known_value(std::string_view text) {
  return starts_with_one_of(
             text, {"chrono::", "complex<", "bitset<", "mersenne_twister_engine<", "linear_congruential_engine<",
                    "subtract_with_carry_engine<", "discard_block_engine<", "independent_bits_engine<",
                    "shuffle_order_engine<", "partial_ordering", "weak_ordering", "strong_ordering"}) ||
         text.substr(0, text.find('<')).ends_with("_distribution");
}

template <class T>
consteval Rule standard_rule() {
  constexpr std::string_view text = std_type_text<T>();
  if constexpr (standard_refusal(text) != Rule::NoRule) {
    return standard_refusal(text);
  } else if constexpr (text.starts_with("filesystem::") && requires(const T& p) { p.lexically_normal(); }) {
    return Rule::Path;
  } else if constexpr (text.starts_with("array<")) {
    using Element = typename T::value_type;
    return kCopiedAsBytes<Element> ? Rule::Bytes : with_parts<T>(Rule::Fixed);
  } else if constexpr (starts_with_one_of(text, {"pair<", "tuple<"})) {
    return with_parts<T>(Rule::Product);
  } else if constexpr (text.starts_with("optional<")) {
    return with_parts<T>(Rule::Optional);
  } else if constexpr (text.starts_with("variant<")) {
    return with_parts<T>(Rule::Variant);
  } else if constexpr (starts_with_one_of(text, {"vector<", "basic_string<"}) && BlockContainer<T>) {
    return Rule::Block;
  } else if constexpr (requires { typename T::mapped_type; } && StandardContainer<T>) {
    return with_parts<T>(Rule::Map);
  } else if constexpr (StandardContainer<T>) {
    return with_parts<T>(Rule::Sequence);
  } else if constexpr (requires(T& t) { t.before_begin(); }) {
    return with_parts<T>(Rule::ForwardList);
  } else if constexpr (requires(T& t) {
                         t.pop();
                         typename T::container_type;
                       }) {
    return with_parts<T>(Rule::Adaptor);
  } else if constexpr (text.starts_with("valarray<") && BlockContainer<T>) {
    return Rule::Valarray;
  } else if constexpr (std::is_empty_v<T> && std::is_trivially_copyable_v<T>) {
    return Rule::Empty;
  } else if constexpr (is_known_value(text) && std::is_trivially_copyable_v<T>) {
    return Rule::Bytes;
  } else {
    return kHasCerealFunctions<T> ? Rule::Cereal : Rule::UnknownStandard;
  }
}

}  // namespace tandem::detail
