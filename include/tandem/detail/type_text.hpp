/// The text of a type at compile time, as the compiler writes it: what tells a closure from a class with a name, and
/// the types of the standard library from those of users.
#pragma once

#include <string_view>

namespace tandem::detail {

template <class T>
consteval std::string_view type_text() {
  std::string_view text = __PRETTY_FUNCTION__;
  text.remove_prefix(text.find("T = ") + 4);
  // g++ goes on with the meaning of std::string_view; clang ends here. Both may have brackets inside the type.
  const std::size_t more = text.rfind("; std::string_view = ");
  return text.substr(0, more != text.npos ? more : text.rfind(']'));
}

/// The name of a type of the standard library without "std::" and without inline namespaces, as in
/// "basic_string<char>". Empty for any other type. Nested types keep what they are nested in: "chrono::duration<long>".
template <class T>
consteval std::string_view std_type_text() {
  std::string_view text = type_text<T>();
  if (text.starts_with("__gnu_")) return text;  // For example the iterators of std::vector.
  if (!text.starts_with("std::")) return {};
  text.remove_prefix(5);
  while (text.starts_with("__")) {
    const std::size_t end = text.find("::");
    if (end == text.npos || text.substr(0, end).find_first_of("<( ") != text.npos) break;
    text.remove_prefix(end + 2);
  }
  return text;
}

template <class T>
inline constexpr bool kIsStandard = !std_type_text<T>().empty();

/// Whether T is the type of a lambda expression.
template <class T>
inline constexpr bool kIsClosure = [] {
  const std::string_view text = type_text<T>();
  const std::size_t gnu = text.rfind("::<lambda(");
  const std::size_t clang = text.rfind("(lambda at ");
  // A class declared inside of a lambda has the lambda in its text as well, but goes on after it.
  if (gnu != text.npos) return text.ends_with('>') && text.find(">::", gnu) == text.npos;
  return clang != text.npos && text.ends_with(')');
}();

}  // namespace tandem::detail
