/// Looks into an aggregate at compile time: is there a member that a given probe can initialize? Members are not named,
/// so this sees through arrays, base classes, nested aggregates and anonymous unions (their first member).
#pragma once

#include <cstddef>

namespace tandem::detail {

/// Converts to anything: initializes any member.
struct AnyMember {
  template <class U>
  operator U() const;  // Never defined: only asked for in unevaluated expressions.
};

/// The most members that are looked at.
inline constexpr std::size_t kMaxMembers = 24;

/// Whether T{{}, {}, ..., Probe{}} is well-formed, with `kBefore` members in front initialized by {}. C++20 has no way
/// to repeat {} by a pack: hence the rows.
template <class T, class Probe, std::size_t kBefore>
consteval bool takes_at() {
  // clang-format off
  if constexpr (kBefore == 0)     return requires { T{Probe{}}; };
  if constexpr (kBefore == 1)     return requires { T{{},Probe{}}; };
  if constexpr (kBefore == 2)     return requires { T{{},{},Probe{}}; };
  if constexpr (kBefore == 3)     return requires { T{{},{},{},Probe{}}; };
  if constexpr (kBefore == 4)     return requires { T{{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 5)     return requires { T{{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 6)     return requires { T{{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 7)     return requires { T{{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 8)     return requires { T{{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 9)     return requires { T{{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 10)    return requires { T{{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 11)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 12)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 13)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 14)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 15)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 16)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 17)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 18)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 19)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 20)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 21)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 22)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 23)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  if constexpr (kBefore == 24)    return requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},Probe{}}; };
  // clang-format on
}

enum class MemberSearch { Found, None, TooMany };

/// Searches the members of T for one that `Probe` can initialize. TooMany: T has more than kMaxMembers members, or one
/// that
/// {} cannot initialize, behind which nothing can be seen.
template <class T, class Probe, std::size_t kBefore = 0>
consteval MemberSearch look_for_member() {
  if constexpr (!takes_at<T, AnyMember, kBefore>()) {
    return requires { T{}; } ? MemberSearch::None : MemberSearch::TooMany;
  } else if constexpr (takes_at<T, Probe, kBefore>()) {
    return MemberSearch::Found;
  } else if constexpr (kBefore == kMaxMembers) {
    return MemberSearch::TooMany;
  } else {
    return look_for_member<T, Probe, kBefore + 1>();
  }
}

}  // namespace tandem::detail
