/// The messages for what cannot travel: each names the type and the mend.
#pragma once

#include <tandem/detail/rule_of.hpp>

namespace tandem::detail {

// A constraint that is not met is reported by its name and the type: so the names are the mends.
template <class T>
concept SendTheValueNotAPointerToIt = kRule<T> != Rule::Pointer;
template <class T>
concept SendStdStringNotCharPointer = kRule<T> != Rule::CString;
template <class T>
concept SendACopyNotAReference = kRule<T> != Rule::Reference && kRule<T> != Rule::ReferenceWrapper;
template <class T>
concept SendALambdaNotAMemberPointer = kRule<T> != Rule::MemberPointer;
template <class T>
concept SendStdStringNotStringView = kRule<T> != Rule::StringView;
template <class T>
concept SendTheContainerNotAViewOfIt = kRule<T> != Rule::View;
template <class T>
concept SendTheValueNotASmartPointerToIt = kRule<T> != Rule::SmartPointer;
template <class T>
concept SendAFunctionNotStdFunction = kRule<T> != Rule::StdFunction;
template <class T>
concept SendATandemHandleNotAStdLock = kRule<T> != Rule::Synchronization;
template <class T>
concept PassValuesAsArgumentsNotCaptures = kRule<T> != Rule::Closure;
template <class T>
concept GiveItSerializeSinceItHoldsAnAddress = kRule<T> != Rule::AddressInside;
template <class T>
concept GiveItSerializeSinceItHasTooManyMembers = kRule<T> != Rule::TooManyMembers;
template <class T>
concept GiveItSerializeSinceItCannotBeAssigned = kRule<T> != Rule::NotAssignable;
template <class T>
concept SendWhatThisStandardTypeIsMadeOf = kRule<T> != Rule::UnknownStandard;
template <class T>
concept GiveItASerializeMember = kRule<T> != Rule::NoRule;

template <class T>
consteval void explain() {
  constexpr Rule rule = kRule<T>;
  static_assert(
      rule != Rule::Pointer,
      "a pointer refers to memory of this process: send the value that it points to, or a Tandem handle; or start "
      "with tandem::fork, which takes anything");
  static_assert(
      rule != Rule::CString,
      "const char* refers to memory of this process: send std::string, as in std::string(\"text\") or \"text\"s");
  static_assert(
      rule != Rule::Reference,
      "a reference refers to memory of this process: send a copy, and a Tandem handle for what is to come back");
  static_assert(
      rule != Rule::ReferenceWrapper,
      "std::reference_wrapper (std::ref) refers to memory of this process: send a copy, and a Tandem handle for "
      "what is to come back");
  static_assert(rule != Rule::MemberPointer,
                "a pointer to a member is not portable: send a capture-less lambda that uses the member");
  static_assert(rule != Rule::StringView, "std::string_view refers to memory of this process: send std::string");
  static_assert(rule != Rule::View,
                "a span or view refers to memory of this process: send the container itself, such as std::vector");
  static_assert(
      rule != Rule::SmartPointer,
      "std::unique_ptr, std::shared_ptr and std::weak_ptr refer to memory of this process: send the value that it "
      "points to, or std::optional of it, or a Tandem handle");
  static_assert(
      rule != Rule::StdFunction,
      "std::function, std::bind and std::any hide what they hold: send a function or a capture-less lambda, and its "
      "values as arguments");
  static_assert(
      rule != Rule::Synchronization,
      "locks, atomics, threads and futures of the standard library work within one process: send a Tandem handle "
      "such as tandem::Queue, or the value alone");
  static_assert(rule != Rule::Closure,
                "a capturing lambda does not travel to another process: pass values as arguments, or use tandem::fork");
  static_assert(
      rule != Rule::AddressInside,
      "a member of this type refers to memory of this process (a pointer, a view) or has its own serialize: give "
      "the type a serialize member that sends the values, or replace the member");
  static_assert(
      rule != Rule::TooManyMembers,
      "this type has too many members, or one without a default, to be checked for pointers: give it a serialize "
      "member");
  static_assert(
      rule != Rule::NotAssignable,
      "this type has a reference or const member and cannot be assigned: give it a serialize member, or make the "
      "members plain values");
  static_assert(rule != Rule::UnknownStandard,
                "this type of the standard library is not known to travel: send the values that it is made of");
  static_assert(
      rule != Rule::NoRule,
      "this type has no rule to travel by: give it a member `template <class Archive> void serialize(Archive& "
      "archive) { archive(first, second); }` that names all its members");
}

template <class T>
consteval bool require_portable();

template <class... Ts>
consteval void require_parts(TypeList<Ts...>) {
  (static_cast<void>(require_portable<std::remove_cv_t<Ts>>()), ...);
}

/// Fails to compile, with a message that names the mend, unless T travels; for use inside of static_assert. The
/// compiler names the type beside the message: the innermost one that is to blame.
template <class T>
consteval bool require_portable() {
  using Parts = typename PartsOf<T>::Type;
  // The rule of a container is that of its first bad part, which then is the one to name.
  if constexpr (!travels(kRule<T>) && !std::is_same_v<Parts, TypeList<>> && !travels(with_parts<T>(Rule::Bytes)))
    require_parts(Parts{});
  else
    explain<T>();
  return true;
}

}  // namespace tandem::detail
