/// The ways in which a type travels to another process, and the reasons why it cannot. The concept Portable, the
/// messages for what is refused, the encoder and the decoder all read kRule<T>; rule_of.hpp decides it.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <cereal/cereal.hpp>

#include <tandem/detail/handle.hpp>
#include <tandem/detail/type_text.hpp>

namespace tandem::detail {

class Encoder;
class Decoder;

enum class Rule {
  // How it travels.
  Bytes,    ///< one copy of its memory
  Empty,    ///< nothing to send
  Bool,     ///< one byte, checked
  Code,     ///< a pointer to a function: by module and offset
  Handle,   ///< by the object's id
  Parts,    ///< a handle made of several: each of them
  Fixed,    ///< an array whose elements need more than a copy of their memory
  Product,  ///< std::pair, std::tuple
  Optional,
  Variant,
  Path,      ///< std::filesystem::path
  Block,     ///< std::vector or std::basic_string: all elements in one copy
  Sequence,  ///< any other standard container, element by element
  Map,       ///< the same with keys and values
  ForwardList,
  Adaptor,  ///< std::queue, std::stack, std::priority_queue: their container
  Valarray,
  Cereal,  ///< by the type's own serialize, or save and load
  // Why it does not travel.
  Pointer,
  CString,
  Reference,
  MemberPointer,
  StringView,
  View,
  ReferenceWrapper,
  SmartPointer,
  StdFunction,
  Synchronization,
  Closure,
  AddressInside,
  TooManyMembers,
  NotAssignable,
  UnknownStandard,
  NoRule,
};

consteval bool travels(Rule rule) {
  return rule < Rule::Pointer;
}

template <class T>
consteval Rule rule_of();
/// The rule for T. A container whose elements do not travel has its elements' reason.
template <class T>
inline constexpr Rule kRule = rule_of<std::remove_cv_t<T>>();

/// Whether the type has cereal-style functions of its own, or ones for it are visible: a member or free serialize, a
/// pair of save and load, or the minimal pair.
template <class T>
inline constexpr bool kHasCerealFunctions = cereal::traits::is_output_serializable<T, Encoder>::value &&
                                            cereal::traits::is_input_serializable<T, Decoder>::value;

// ---------------------------------------------------------------------------------------------------------------------
// What a type is made of.

template <class... Ts>
struct TypeList {};

template <class T>
struct PartsOf {
  using Type = TypeList<>;
};
template <class A, class B>
struct PartsOf<std::pair<A, B>> {
  using Type = TypeList<A, B>;
};
template <class... Ts>
struct PartsOf<std::tuple<Ts...>> {
  using Type = TypeList<Ts...>;
};
template <class... Ts>
struct PartsOf<std::variant<Ts...>> {
  using Type = TypeList<Ts...>;
};
template <class T>
struct PartsOf<std::optional<T>> {
  using Type = TypeList<T>;
};
template <class T, std::size_t N>
struct PartsOf<std::array<T, N>> {
  using Type = TypeList<T>;
};
template <class T, std::size_t N>
struct PartsOf<T[N]> {
  using Type = TypeList<T>;
};
template <class T>
  requires(kIsStandard<T> && requires { typename T::mapped_type; })
struct PartsOf<T> {
  using Type = TypeList<typename T::key_type, typename T::mapped_type>;
};
template <class T>
  requires(
      kIsStandard<T> && requires { typename T::value_type; } && !requires { typename T::mapped_type; })
struct PartsOf<T> {
  using Type = TypeList<typename T::value_type>;
};

/// `own` if all parts travel; otherwise the first reason why one does not.
template <class... Ts>
consteval Rule unless_refused(Rule own, TypeList<Ts...>) {
  Rule result = own;
  ((travels(result) && !travels(kRule<Ts>) ? static_cast<void>(result = kRule<Ts>) : static_cast<void>(0)), ...);
  return result;
}
template <class T>
consteval Rule with_parts(Rule own) {
  return unless_refused(own, typename PartsOf<T>::Type{});
}

/// Whether elements of this type may be copied as bytes from input that is not trusted: bool, std::optional and
/// std::variant may not, since not every byte pattern is a value of theirs.
template <class T>
inline constexpr bool kCopiedAsBytes = kRule<T> == Rule::Bytes && std::is_trivially_copyable_v<T>;

template <class... Ts>
consteval bool all_trivially_portable(TypeList<Ts...>);
template <class T>
consteval bool trivially_portable() {
  if constexpr (!std::is_trivially_copyable_v<T>) {
    return false;
  } else {
    constexpr Rule rule = kRule<T>;
    if (rule == Rule::Bytes || rule == Rule::Empty || rule == Rule::Bool) return true;
    if (rule == Rule::Fixed || rule == Rule::Product || rule == Rule::Optional || rule == Rule::Variant)
      return all_trivially_portable(typename PartsOf<T>::Type{});
    return false;
  }
}
/// Whether T moves as a copy of its memory between processes that trust each other: it holds no address, no handle, no
/// view and has no rule of its own, also not inside of its members.
template <class T>
inline constexpr bool kTriviallyPortable = trivially_portable<std::remove_cv_t<T>>();
template <class... Ts>
consteval bool all_trivially_portable(TypeList<Ts...>) {
  return (kTriviallyPortable<Ts> && ...);
}

}  // namespace tandem::detail
