#include "thread/body_name.hpp"

#include <dlfcn.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/demangle.hpp"
#include "core/stack.hpp"
#include "core/symbol_file.hpp"

namespace tandem::detail {
namespace {

constexpr std::string_view kAnonymous = "(anonymous namespace)::";

// "ns::work<int>" becomes "work".
std::string last_part(std::string_view name) {
  name = name.substr(0, name.find('<'));
  const std::size_t colon = name.rfind(':');
  return std::string(colon == std::string_view::npos ? name : name.substr(colon + 1));
}

}  // namespace

std::string function_name(const void* function) {
  Dl_info info{};
  // What the dynamic linker knows costs next to nothing, but a program does not usually show it its functions.
  if (::dladdr(function, &info) != 0 && info.dli_sname != nullptr && info.dli_saddr == function)
    return last_part(bare_function_name(demangle(info.dli_sname)));
  RawStack stack;
  stack.frame_count = 1;
  stack.pcs[0] = reinterpret_cast<std::uintptr_t>(function);
  const auto trace = std::make_unique<StackTrace>();
  resolve_stack(stack, *trace);
  if (trace->frame_count != 1 || trace->frames[0].module == StackFrame::kNoModule) return {};
  const StackFrame& frame = trace->frames[0];
  const std::vector<SourcePlace> places = SymbolFile(trace->modules[frame.module]).places_at(frame.address);
  // The last one is the function itself, those before are what was inlined at its beginning.
  return places.empty() ? std::string() : last_part(bare_function_name(places.back().function));
}

std::string class_name(const std::type_info& info) {
  std::string type = demangle(info.name());
  for (std::size_t at = 0; (at = type.find(kAnonymous)) != std::string::npos;) type.erase(at, kAnonymous.size());
  // A lambda is "{lambda()#1}" to g++ and "$_0" or "'lambda'()" to clang.
  const bool says_nothing = type.starts_with("std::") || type.find_first_of("{$'*&") != std::string::npos;
  return says_nothing ? std::string() : last_part(type);
}

}  // namespace tandem::detail
