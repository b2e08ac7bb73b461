#include "core/demangle.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>

namespace tandem::detail {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

}  // namespace

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> readable(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                             &std::free);
  if (status != 0 || readable == nullptr) return name;
  std::string text = readable.get();
  // Nobody wrote these: the standard library's own versions, and std::string in full.
  replace_all(text, "std::__cxx11::", "std::");
  replace_all(text, "std::basic_string<char, std::char_traits<char>, std::allocator<char> >", "std::string");
  return text;
}

std::string_view bare_function_name(std::string_view name) {
  // The name ends where the parameters begin, or the template arguments in front of them; it begins behind the last
  // space before that. A return type may have both kinds of brackets too.
  std::size_t begin = 0;
  std::size_t end = name.npos;
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    if (depth == 0 && (c == '(' || c == '<') && i > begin) {
      const std::string_view word = name.substr(begin, i - begin);
      if (word.ends_with("operator")) return word;
      if (c == '(' && word != "decltype" && !word.ends_with(':'))
        return end == name.npos ? word : name.substr(begin, end - begin);
      if (c == '<' && end == name.npos) end = i;
    }
    if (c == '(' || c == '<' || c == '{') ++depth;
    if (c == ')' || c == '>' || c == '}') --depth;
    if (depth == 0 && c == ' ') {
      begin = i + 1;
      end = name.npos;
    }
  }
  return name.substr(begin, end == name.npos ? end : end - begin);
}

}  // namespace tandem::detail
