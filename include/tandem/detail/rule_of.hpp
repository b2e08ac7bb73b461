/// Decides at compile time how a type travels, or why it does not.
#pragma once

#include <type_traits>

#include <tandem/detail/handle.hpp>
#include <tandem/detail/members.hpp>
#include <tandem/detail/rule.hpp>
#include <tandem/detail/standard_rule.hpp>

namespace tandem::detail {

/// Converts to what must not be copied as bytes, and to nothing else: an aggregate of type T that takes one of these as
/// an initializer has such a member.
template <class T>
struct RefusedMember {
  template <class U>
    requires(!std::is_same_v<U, T> && !kTriviallyPortable<U>)
  operator U() const;  // Never defined: only asked for in unevaluated expressions.
};

template <class T>
consteval Rule class_rule() {
  if constexpr (kHasCerealFunctions<T>) {
    return Rule::Cereal;
  } else if constexpr (!std::is_trivially_copyable_v<T>) {
    return kIsClosure<T> ? Rule::Closure : Rule::NoRule;
  } else if constexpr (std::is_empty_v<T>) {
    return Rule::Empty;
  } else if constexpr (kIsClosure<T>) {
    return Rule::Closure;
  } else if constexpr (!std::is_union_v<T> && !std::is_copy_assignable_v<T> && !std::is_move_assignable_v<T>) {
    return Rule::NotAssignable;  // A reference among the members is one cause: it cannot be told from a const member.
  } else if constexpr (std::is_aggregate_v<T> && alignof(T) >= alignof(void*)) {  // Otherwise no address fits in it.
    switch (look_for_member<T, RefusedMember<T>>()) {
      case MemberSearch::Found:
        return Rule::AddressInside;
      case MemberSearch::TooMany:
        return Rule::TooManyMembers;
      case MemberSearch::None:
        return Rule::Bytes;
    }
  } else {
    return Rule::Bytes;
  }
}

template <class T>
consteval Rule rule_of() {
  if constexpr (Handle<T>) {
    return Rule::Handle;
  } else if constexpr (CompositeHandle<T>) {
    return Rule::Parts;
  } else if constexpr (std::is_reference_v<T> || std::is_function_v<T>) {
    return Rule::Reference;
  } else if constexpr (std::is_pointer_v<T>) {
    using To = std::remove_cv_t<std::remove_pointer_t<T>>;
    if constexpr (std::is_function_v<To>) return Rule::Code;
    return std::is_same_v<To, char> ? Rule::CString : Rule::Pointer;
  } else if constexpr (std::is_member_pointer_v<T>) {
    return Rule::MemberPointer;
  } else if constexpr (std::is_same_v<T, bool>) {
    return Rule::Bool;
  } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
    return Rule::Bytes;
  } else if constexpr (std::is_null_pointer_v<T>) {
    return Rule::Empty;
  } else if constexpr (std::is_array_v<T>) {
    return kCopiedAsBytes<std::remove_extent_t<T>> ? Rule::Bytes : with_parts<T>(Rule::Fixed);
  } else if constexpr (!std::is_class_v<T> && !std::is_union_v<T>) {
    return Rule::NoRule;
  } else if constexpr (kIsStandard<T>) {
    return standard_rule<T>();
  } else {
    return class_rule<T>();
  }
}

}  // namespace tandem::detail
